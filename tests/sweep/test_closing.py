"""The last worker out sums up a sweep that no command waits for: one of them, at the end."""

import json
import os
import time

import pytest

from calib_sweep import run
from calib_sweep.analysis.settings import read_settings
from calib_sweep.processes import host_identity
from calib_sweep.results import claim as claims
from calib_sweep.results.claim import try_claim
from calib_sweep.results.record import new_record, utc_now
from calib_sweep.results.store import Store
from calib_sweep.sweep import closing
from calib_sweep.sweep.closing import CLOSING, Closing
from calib_sweep.sweep.queue import Outlook
from calib_sweep.sweep.worker import Worker
from calib_sweep.tracking.base import Trackers


@pytest.fixture
def sweep(tmp_path, monkeypatch, make_cell):
    """`sweep(done)`: what `by_last_worker` answers when so many of three cells are settled."""
    cells = [make_cell().dense(), make_cell(seed=1), make_cell(seed=2)]
    store, written = Store(tmp_path, "first"), []
    store.folder.mkdir()
    from calib_sweep.analysis.report import write

    monkeypatch.setattr(write, "is_current", lambda *_: bool(written))
    monkeypatch.setattr(write, "write_report", lambda *_: written.append("report"))

    class Mirror:
        def log_missing(self, mirrored, _store):
            written.append(f"{len(mirrored)} cells")

        def log_report(self, _store):
            written.append("mirrored")

    class Told(Outlook):
        settled: set = set()  # noqa: RUF012

        def unsettled(self, asked):
            return [cell for cell in asked if cell.id not in self.settled]

    outlook = Told(store, {})

    def end(done):
        outlook.settled = {cell.id for cell in cells[:done]}
        own = Closing(cells=cells, settings=read_settings())
        return own.by_last_worker(outlook, Mirror())

    end.written, end.store = written, store
    return end


def test_nothing_happens_as_long_as_a_cell_is_left(sweep):
    assert [sweep(done) for done in (0, 1, 2)] == [False] * 3
    assert sweep.written == []


def test_the_last_one_reports_then_mirrors_and_leaves_no_claim(sweep):
    assert sweep(3) is True
    assert sweep.written == ["report", "3 cells", "mirrored"]
    assert list(sweep.store.folder.iterdir()) == []


def test_whoever_comes_after_it_does_nothing(sweep):
    assert [sweep(3), sweep(3)] == [True, False]
    assert sweep.written.count("report") == 1


def test_two_that_see_the_end_at_the_same_time_write_one_report(sweep, monkeypatch):
    from calib_sweep.analysis.report import write

    answers = iter([False, True])  # the other one wrote it before we had the claim
    monkeypatch.setattr(write, "is_current", lambda *_: next(answers))
    assert sweep(3) is False
    assert sweep.written == []


def test_whoever_comes_while_it_sums_up_leaves(sweep):
    with try_claim(sweep.store.folder / CLOSING):
        assert sweep(3) is False
    assert sweep.written == []


@pytest.fixture
def detached(tmp_path, monkeypatch, make_cell):
    """`detached()`: the cells that a job of one cell runs, of a grid of a dense cell and three."""
    cells = [make_cell().dense(), *(make_cell(seed=seed) for seed in range(3))]
    store, ran = Store(tmp_path, "first"), []

    def write_record(cell, *_):
        ran.append(cell.seed)
        store.cell_folder(cell).mkdir(exist_ok=True, parents=True)
        record = new_record(cell) | {"status": "done", "finished_at": utc_now()}
        store.write(cell, record)
        return record

    monkeypatch.setattr(run, "run_cell", write_record)
    write_record(cells[0])
    ran.clear()

    def work():
        own = Closing(cells=cells, settings=read_settings())
        Worker(cells, store, Trackers(by_name={}), max_cells=1, closing=own)()
        return ran

    work.store, work.cells = store, cells
    return work


def die_on(store, cell, host=None):
    """Leave the claim of a process that is gone, of this host if no other is said."""
    folder = store.cell_folder(cell)
    folder.mkdir(parents=True, exist_ok=True)
    claim = {"host": host or host_identity(), "pid": 2**22 + 1, "started": "1"}
    (folder / "claim.0").write_text(json.dumps(claim))
    return folder / "claim.0"


def test_the_last_one_runs_what_the_dead_left_beyond_its_number(detached):
    for cell in detached.cells[2:]:
        die_on(detached.store, cell)
    assert detached() == [0, 1, 2]
    assert (detached.store.folder / "report/index.html").exists()


def test_what_others_have_yet_to_begin_is_theirs(detached):
    die_on(detached.store, detached.cells[2])
    assert detached() == [0]
    assert not (detached.store.folder / "report").exists()


def test_what_others_run_is_theirs(detached):
    die_on(detached.store, detached.cells[2])
    with try_claim(detached.store.cell_folder(detached.cells[3])):
        assert detached() == [0]


def test_what_the_dead_left_is_not_among_the_cells_of_who_takes_it_over(detached):
    """Else the last worker's own cell would be left for nobody."""
    dense = detached.store.cell_folder(detached.cells[0])
    (dense / "record.json").unlink()
    die_on(detached.store, detached.cells[0])
    assert detached() == [None, 0]


def test_who_died_on_another_host_a_moment_ago_is_watched_until_that_is_known(
    detached, monkeypatch
):
    monkeypatch.setattr(claims, "STALE_S", 0.4)
    monkeypatch.setattr(closing, "POLL_S", 0.05)
    for cell in detached.cells[2:]:
        die_on(detached.store, cell, "elsewhere")
    assert detached() == [0, 1, 2]
    assert (detached.store.folder / "report/index.html").exists()


def test_who_is_alive_on_another_host_sums_up(detached, monkeypatch):
    monkeypatch.setattr(closing, "POLL_S", 0.05)
    die_on(detached.store, detached.cells[2], "elsewhere")
    beating = die_on(detached.store, detached.cells[3], "elsewhere")
    monkeypatch.setattr(closing, "raise_if_told", lambda: os.utime(beating, (1, time.time())))
    assert detached() == [0]
    assert not (detached.store.folder / "report").exists()
