"""In which order a worker takes cells, what it waits for, and how little it reads meanwhile."""

import json
import shutil
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import pytest

from calib_sweep.errors import StoreError
from calib_sweep.places import RECORD
from calib_sweep.processes import host_identity
from calib_sweep.results.claim import try_claim
from calib_sweep.results.store import Store
from calib_sweep.sweep.queue import MAX_RETURNS, Outlook, Queue, failures

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
def store(tmp_path):
    """A store in which the dense cell is done."""
    store = Store(tmp_path, "sweep")
    finish(store, DENSE)
    return store


def cells(*names):
    return [NamedCell(name) for name in names]


def queue_of(store, names=(DENSE, "first", "second", "third"), failed_before=None):
    return Queue(cells(*names), Outlook(store, failed_before or {}))


def finish(store, name, status="done", finished_at="2026"):
    folder = store.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    record = {"schema": 1, "cell": {"model": "m", "method": name}, "scores": {}, "cell_id": name}
    record |= {"finished_at": finished_at}
    (folder / RECORD).write_text(json.dumps({**record, "status": status}))


def die_on(store, name, number=0):
    """Leave the claim of a process of this host that is gone."""
    folder = store.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    holder = {"host": host_identity(), "pid": 2**22 + 1, "started": "0"}
    (folder / f"claim.{number}").write_text(json.dumps(holder))


def take_all(queue, run=None) -> list[str]:
    """The cells that the queue gives, each run before the next is taken."""
    names = []
    while taken := queue.take():
        cell, claim = taken
        (run or (lambda name: finish(queue.store, name)))(cell.id)
        claim.release()
        queue.settle(cell)
        names.append(cell.id)
    return names


def test_cells_are_taken_in_the_order_of_the_plan(store):
    queue = queue_of(store)
    assert take_all(queue) == ["first", "second", "third"]
    assert len(queue) == 0


def test_a_cell_that_somebody_died_on_is_taken_last_and_not_forgotten(store):
    die_on(store, "first")
    die_on(store, "first", number=1)
    die_on(store, "second")
    assert take_all(queue_of(store)) == ["third", "first", "second"]


@pytest.mark.parametrize("content", ["", "{", '{"host": 1}'])
def test_a_cell_under_what_is_no_claim_is_taken_like_that_of_a_dead_one(store, content):
    (store.folder / "first").mkdir()
    (store.folder / "first" / "claim.0").write_text(content)
    assert take_all(queue_of(store)) == ["second", "third", "first"]
    assert not list(store.folder.glob("*/claim.*"))


def test_without_a_dense_record_nothing_but_the_dense_cell_is_taken(store):
    (store.folder / DENSE / RECORD).unlink()
    queue = queue_of(store)
    cell, claim = queue.take()
    assert cell.id == DENSE
    assert queue_of(store).take() is None
    claim.release()


def test_cells_whose_dense_cell_failed_are_settled(store):
    finish(store, DENSE, status="failed")
    queue = queue_of(store)
    assert queue.take() is None and len(queue) == 0
    assert queue.outlook.unsettled(cells(DENSE, "first")) == []


def test_what_had_failed_before_runs_again_whatever_its_clock_said(store):
    finish(store, "first", status="failed", finished_at="9999")
    finish(store, "second", status="failed", finished_at="1999")
    found = [(cell, store.find(cell)) for cell in cells(DENSE, "first", "second", "third")]
    queue = queue_of(store, failed_before=failures(found))
    assert take_all(queue) == ["first", "second", "third"]


def test_what_has_failed_since_the_command_began_is_not_run_again(store):
    finish(store, "first", status="failed", finished_at="1999")  # the clock was set back
    assert take_all(queue_of(store)) == ["second", "third"]


@pytest.mark.parametrize("deleted", ["record", "folder", "sweep"])
def test_a_dense_cell_that_is_deleted_is_put_back_to_work(store, deleted):
    def run(name):
        if name == "second" and DENSE not in ran:
            shutil.rmtree(store.folder / DENSE) if deleted == "folder" else None
            (store.folder / DENSE / RECORD).unlink() if deleted == "record" else None
            shutil.rmtree(store.folder) if deleted == "sweep" else None
        ran.append(name)
        finish(store, name)

    ran = []
    assert take_all(queue_of(store), run) == ["first", "second", DENSE, "third"]


def test_a_dense_cell_that_keeps_disappearing_ends_the_worker_with_a_reason(store):
    def run(name):
        ran.append(name)
        if name != DENSE:
            finish(store, name)
            shutil.rmtree(store.folder / DENSE, ignore_errors=True)

    ran = []
    with pytest.raises(StoreError, match=r"dense.* has disappeared 3 times"):
        take_all(queue_of(store), run)
    assert Counter(ran)[DENSE] == MAX_RETURNS


def test_a_cell_whose_record_cannot_count_is_run_once(store):
    """Whatever lies there afterwards: a status of another version, half a file, nothing."""
    ran = []
    assert take_all(queue_of(store), ran.append) == ["first", "second", "third"] == ran


def test_cells_of_one_dense_cell_do_not_wait_for_another(store, monkeypatch):
    monkeypatch.setattr(NamedCell, "is_dense", property(lambda cell: cell.id.startswith(DENSE)))
    monkeypatch.setattr(NamedCell, "dense", lambda cell: NamedCell(DENSE + cell.id[-2:]))
    held = try_claim(store.folder / "dense_1")
    queue = queue_of(store, ["dense_1", "a_1", "b_1", "dense_2", "a_2", "b_2"])
    assert take_all(queue) == ["dense_2", "a_2", "b_2"]
    assert len(queue) == 3 and f"on {host_identity().split('/')[0]}" in queue.holders()[0]
    assert not queue.is_with_the_living()  # cells wait for the dense one
    finish(store, "dense_1")
    held.release()
    assert take_all(queue) == ["a_1", "b_1"]


@pytest.mark.parametrize("trouble", [OSError("the disk"), KeyboardInterrupt()])
def test_a_claim_is_given_back_when_the_folder_cannot_be_tidied(store, monkeypatch, trouble):
    def fail(_cell):
        raise trouble

    monkeypatch.setattr(store, "tidy", fail)
    with pytest.raises(type(trouble)):
        queue_of(store).take()
    assert not list(store.folder.glob("*/claim.*"))


@contextmanager
def counting_reads(store):
    """How often each file of the sweep is opened meanwhile, by the kind of file."""
    reads, is_over = Counter(), False

    def listen(event, arguments):
        if event != "open" or is_over or str(arguments[1]).startswith("w"):
            return
        if str(store.folder) in str(arguments[0]):
            name = str(arguments[0]).rpartition("/")[2]
            reads["record" if name == RECORD else "claim" if "claim." in name else "other"] += 1

    sys.addaudithook(listen)  # stays for ever
    try:
        yield reads
    finally:
        is_over = True


def test_reads_grow_with_the_cells_not_with_their_square(store):
    names = [f"cell{number:04}" for number in range(150)]
    with counting_reads(store) as reads:
        assert take_all(queue_of(store, [DENSE, *names])) == names
    # Of each cell its own record before and after the claim, and that of the dense one.
    assert reads["record"] <= 3 * len(names) + 10
    assert reads["claim"] <= 4 * len(names)


def test_two_workers_together_read_little_more_than_one(store):
    names = [f"cell{number:04}" for number in range(100)]
    die_on(store, names[7])
    queues, taken, waiting = [queue_of(store, [DENSE, *names]) for _ in range(2)], [], []
    with counting_reads(store) as reads:
        while queues:
            queue = queues.pop(0)
            if found := queue.take():
                waiting.append((queue, *found))
            if len(waiting) == 2 or not found:  # each holds one while the other takes
                for queue, cell, claim in waiting[:1]:
                    finish(store, cell.id)
                    claim.release()
                    queue.settle(cell)
                    taken.append(cell.id)
                    queues.append(queue)
                del waiting[:1]
    assert sorted(taken) == names and taken.index(names[7]) >= len(names) - 2
    assert reads["record"] <= 2 * (3 * len(names) + 10)


def test_what_others_hold_and_finish_is_seen_without_another_look(store, monkeypatch):
    """The records of others reach whoever asked, by the reads that the queue makes anyway."""
    seen = []
    outlook = Outlook(store, {}, lambda cell, record: seen.append((cell.id, record["cell_id"])))
    queue = Queue(cells(DENSE, "first", "second", "third"), outlook)
    held = try_claim(store.folder / "first")
    cell, claim = queue.take()
    assert cell.id == "second" and queue.held == ["first"]
    assert set(seen) == {(DENSE, DENSE)} and queue.is_open == {"first", "second", "third"}
    finish(store, "first")
    held.release()
    monkeypatch.setattr(queue, "_next_look_back", 0.0)
    _, other = queue.take()
    assert ("first", "first") in seen and queue.held == []
    assert queue.is_open == {"second", "third"}
    claim.release(), other.release()


def test_a_record_that_this_host_does_not_see_yet_is_waited_for(store, monkeypatch):
    queue = queue_of(store, [DENSE, "first"])
    behind = ["first"]
    monkeypatch.setattr(Store, "is_behind", lambda _, cell: cell.id in behind)
    assert queue.take() is None and len(queue) == 1
    assert not list((store.folder / "first").glob("claim.*"))
    behind.clear()
    finish(store, "first")
    assert queue.take() is None and len(queue) == 0
