"""Rounds of workers: they are started again as long as each round gets on."""

from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from calib_sweep.errors import StoreError, WorkerLostError
from calib_sweep.parts.building import Builder
from calib_sweep.places import CHECKPOINT, CONFIG
from calib_sweep.results.store import Store
from calib_sweep.sweep.workforce import Workforce


@pytest.fixture
def rounds(tmp_path, make_cell, monkeypatch):
    """`rounds(kept, error)`: the number of rounds; in so many of them more is kept of a cell."""
    store, cell = Store(tmp_path, "first"), make_cell(ranks_per_cell=1)
    folder = store.cell_folder(cell)
    (folder / CHECKPOINT).mkdir(parents=True)

    def run(kept: int, error: type[Exception] = WorkerLostError) -> int:
        started: list[str] = []

        def start(self, *_):
            name = CONFIG if len(started) >= kept else f"{CHECKPOINT}/block-{len(started)}"
            (folder / name).touch()  # whoever runs a cell writes its configuration
            started.append(name)
            return [JobReturn(status=JobStatus.FAILED, _return_value=error("no"))]

        monkeypatch.setattr(Workforce, "_start", start)
        force = Workforce(None, OmegaConf.create(), [], Builder())
        force.run([cell], store, SimpleNamespace(), {}, None)
        return len(started)

    return run


def test_a_round_that_keeps_more_of_a_cell_is_followed_by_another(rounds):
    assert rounds(kept=2) == 3


def test_a_round_that_keeps_nothing_is_the_last(rounds):
    assert rounds(kept=0) == 1


def test_what_a_worker_refuses_is_not_tried_again_whatever_is_kept(rounds):
    with pytest.raises(StoreError):
        rounds(kept=2, error=StoreError)


@pytest.mark.parametrize("num_lacking", [0, 2])
def test_a_detached_command_is_short_of_workers_that_were_refused(
    tmp_path, make_cell, monkeypatch, caplog, num_lacking
):
    lacking = [JobReturn(status=JobStatus.FAILED, _return_value=WorkerLostError("no"))]
    monkeypatch.setattr(Workforce, "_start", lambda *_: lacking * num_lacking)
    force = Workforce(None, OmegaConf.create("hydra: {launcher: {detach: true}}"), [], Builder())
    force.run([make_cell()], Store(tmp_path, "first"), SimpleNamespace(), {}, None)
    assert force.is_short == bool(num_lacking)
    assert ("2 of them are not on their way" in caplog.text) == bool(num_lacking)
