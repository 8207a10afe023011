"""In which order a worker takes cells: the dense one first, those that somebody died on last."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest

from calib_sweep.results.claim import host_identity
from calib_sweep.results.store import RECORD, Store
from calib_sweep.worker import Worker

DENSE = "dense"


@dataclass(frozen=True)
class NamedCell:
    """All that taking a cell needs of it."""

    id: str
    config: ClassVar = {"save_model": None}

    @property
    def folder_name(self) -> str:
        return self.id

    @property
    def is_dense(self) -> bool:
        return self.id == DENSE

    def dense(self) -> "NamedCell":
        return NamedCell(DENSE)


@pytest.fixture
def worker(tmp_path):
    """A worker over the dense cell, which is done, and three others."""
    cells = [NamedCell(name) for name in (DENSE, "first", "second", "third")]
    worker = Worker(cells, Store(tmp_path, "sweep"), tracking=None)
    finish(worker, DENSE)
    return worker


def finish(worker, name, status="done"):
    folder = worker.store.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    record = {"schema": 1, "cell_id": name, "cell": {}, "scores": {}, "finished_at": "9999"}
    (folder / RECORD).write_text(json.dumps({**record, "status": status}))


def die_on(worker, name, number=0):
    """Leave the claim of a process of this host that is gone."""
    folder = worker.store.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    holder = {"host": host_identity(), "pid": 2**22 + 1, "started": "0"}
    (folder / f"claim.{number}").write_text(json.dumps(holder))


def take_all(worker) -> list[str]:
    """The cells that the worker takes, each finished before it takes the next."""
    names = []
    while taken := worker._take([cell for cell in worker.cells if not worker.is_settled(cell)]):
        cell, claim = taken
        finish(worker, cell.id)
        claim.release()
        names.append(cell.id)
    return names


def test_cells_are_taken_in_the_order_of_the_plan(worker):
    assert take_all(worker) == ["first", "second", "third"]


def test_a_cell_that_somebody_died_on_is_taken_last_and_not_forgotten(worker):
    die_on(worker, "first")
    die_on(worker, "first", number=1)
    die_on(worker, "second")
    assert take_all(worker) == ["third", "first", "second"]


def test_without_a_dense_record_nothing_but_the_dense_cell_is_taken(worker):
    (worker.store.folder / DENSE / RECORD).unlink()
    cell, claim = worker._take(worker.cells)
    assert cell.id == DENSE
    assert worker._take(worker.cells) is None
    claim.release()


def test_cells_whose_dense_cell_failed_are_settled(worker):
    finish(worker, DENSE, status="failed")
    assert all(worker.is_settled(cell) for cell in worker.cells)
