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
