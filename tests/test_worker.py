"""How a worker waits for cells that others hold."""

from calib_sweep import worker as worker_module
from calib_sweep.queue import Outlook, Queue
from calib_sweep.results.store import Store


def test_a_worker_that_waits_looks_ever_less_often(tmp_path, monkeypatch):
    naps = []
    monkeypatch.setattr(worker_module.time, "sleep", naps.append)
    store = Store(tmp_path, "sweep")
    worker, queue = worker_module.Worker([], store, tracking=None), Queue([], Outlook(store, {}))
    for _ in range(40):
        worker._wait(queue)
    assert naps[0] == worker_module.FIRST_POLL_S and naps[-1] == worker_module.LONGEST_POLL_S
    assert naps == sorted(naps)
