"""How a worker waits for cells that others hold, and where one of many jobs begins."""

from types import SimpleNamespace

import pytest

from calib_sweep.results.store import Store
from calib_sweep.sweep import worker as worker_module
from calib_sweep.sweep.queue import Outlook, Queue


def test_a_worker_that_waits_looks_ever_less_often(tmp_path):
    naps = []
    store = Store(tmp_path, "sweep")
    worker, queue = worker_module.Worker([], store, tracking=None), Queue([], Outlook(store, {}))
    for _ in range(40):
        worker._wait(queue, SimpleNamespace(pause=naps.append))
    assert naps[0] == worker_module.FIRST_POLL_S and naps[-1] == worker_module.LONGEST_POLL_S
    assert naps == sorted(naps)


@pytest.mark.parametrize(
    ("job", "max_cells", "expected"),
    [(0, 2, "abcde"), (1, 2, "cdeab"), (2, 2, "eabcd"), (3, 2, "bcdea"), (3, None, "abcde")],
)
def test_one_of_many_jobs_begins_with_its_share(job, max_cells, expected, tmp_path, monkeypatch):
    hydra = SimpleNamespace(
        initialized=lambda: True, get=lambda: SimpleNamespace(job=SimpleNamespace(num=job))
    )
    monkeypatch.setattr(worker_module, "HydraConfig", hydra)
    worker = worker_module.Worker(list("abcde"), Store(tmp_path, "sweep"), None, max_cells)
    assert "".join(worker._from_own_share()) == expected


def test_a_job_that_takes_whatever_is_free_begins_with_its_share_too(tmp_path, monkeypatch):
    job = SimpleNamespace(num=1)
    hydra = SimpleNamespace(initialized=lambda: True, get=lambda: SimpleNamespace(job=job))
    monkeypatch.setattr(worker_module, "HydraConfig", hydra)
    store = Store(tmp_path, "sweep")
    worker = worker_module.Worker(list("abcde"), store, None, max_cells=5, share=2)
    assert "".join(worker._from_own_share()) == "cdeab"


def test_a_worker_has_got_on_if_a_cell_is_settled_or_more_is_kept_of_the_one_it_ran(tmp_path):
    worker = worker_module.Worker([], Store(tmp_path, "sweep"), tracking=None)
    assert worker.got_on()  # it waited, or loaded: nothing is lost
    state = tmp_path / ".state"
    state.mkdir()
    (state / "block0").touch()
    worker._running = tmp_path, worker_module.kept_parts(tmp_path)
    (tmp_path / "log.txt").touch()
    (tmp_path / ".log.txt.1a2b3c4d-7-1.0a1b2c3d.partial").touch()
    assert not worker.got_on()
    (state / "block1").touch()
    assert worker.got_on()
    worker._running, worker._num_run = (tmp_path, worker_module.kept_parts(tmp_path)), 1
    assert worker.got_on()
