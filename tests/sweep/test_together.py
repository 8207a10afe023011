"""A cell of several ranks: handed on, tried once more after a loss, failed after the second."""

import logging
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from calib_sweep.console import CellProgress
from calib_sweep.group.membership import Member
from calib_sweep.results.losses import losses, note_loss
from calib_sweep.results.store import Store
from calib_sweep.sweep.together import follow, lead, losses_among


class Handed(Member):
    """The first of two ranks, of which the other one is made up."""

    def begin(self, task, note):
        self.store.append(task)
        note("noticed")
        return nullcontext()


@pytest.fixture
def place(tmp_path, make_cell):
    """A cell, its store and folder."""
    cell, store = make_cell(ranks_per_cell=2), Store(tmp_path, "default")
    store.cell_folder(cell).mkdir(parents=True)
    return cell, store, store.cell_folder(cell)


@pytest.fixture
def loud():
    """Followers are quiet; what is tested after them is not."""
    loggers = [logging.getLogger(name) for name in ("calib_sweep", "calib_sweep.run")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture
def member():
    return Handed(index=0, count=2, device=torch.device("cpu"), watch=None, store=[])


def test_a_cell_is_handed_to_the_others_and_notes_of_a_loss_go_when_it_is_done(
    place, member, monkeypatch
):
    cell, store, folder = place
    note_loss(folder, "before", "rank 1 is gone")
    seen = []

    def run_cell(*_):
        seen.extend(sorted(losses(folder)))
        return {"status": "done"}

    monkeypatch.setattr("calib_sweep.run.run_cell", run_cell)
    record = lead(cell, store, SimpleNamespace(ranks=member), CellProgress())
    assert record == {"status": "done"}
    ((run, handed, where),) = member.store
    assert run != "before" and handed is cell and where is store
    assert seen == ["noticed", "rank 1 is gone"]
    assert losses(folder) == []


def test_a_cell_whose_ranks_were_lost_twice_has_failed_and_says_why(place, member, monkeypatch):
    cell, store, folder = place
    for run, reason in (("1", "rank 1 is gone"), ("2", "rank 0 gave no sign of life for 60 s")):
        note_loss(folder, run, reason)
        note_loss(folder, run, "what another rank has to say of the same loss")
    assert losses_among([cell, cell.dense()], store) == 2
    monkeypatch.setattr("calib_sweep.run.run_cell", None)
    record = lead(cell, store, SimpleNamespace(ranks=member), CellProgress())
    assert member.store == []
    assert record["status"] == "failed" and store.find(cell) == record
    error = record["error"]
    assert error["type"] == "RanksLostError"
    assert "rank 1 is gone; then rank 0 gave no sign of life for 60 s" in error["message"]
    assert losses(folder) == []  # typed again, it is tried again


def test_a_note_that_is_damaged_counts_and_one_that_goes_meanwhile_does_not(place):
    _, _, folder = place
    note_loss(folder, "1", "rank 1 is gone")
    (folder / "lost-2.json").write_text("")
    (folder / "lost-3.json").symlink_to(folder / "which another rank has taken away")
    assert losses(folder) == ["rank 1 is gone", "lost-2.json does not say why"]


def test_a_loss_that_cannot_be_noted_keeps_nobody_from_ending(tmp_path, caplog):
    note_loss(tmp_path / "gone", "1", "rank 1 is gone")
    assert "(rank 1 is gone) cannot be noted" in caplog.text


def test_cells_of_one_rank_look_for_no_losses(make_cell, tmp_path):
    store, cell = Store(tmp_path, "default"), make_cell()
    store.cell_folder(cell).mkdir(parents=True)
    note_loss(store.cell_folder(cell), "1", "rank 1 is gone")
    assert losses_among([cell], store) == 0


def test_a_follower_runs_what_it_is_handed_with_a_session_of_its_own(place, loud, monkeypatch):
    cell, store, folder = place

    class Follower(Member):
        def tasks(self):
            yield from [("a", cell, store), ("b", cell, store)]

        def on(self, note):
            note("noticed")
            return nullcontext()

    ran = []
    monkeypatch.setattr("calib_sweep.run.run_cell", lambda *given: ran.append(given))
    ranks = Follower(index=1, count=2, device=torch.device("cpu"), watch=None, store=None)
    follow(ranks, builder := object())
    assert [(given[0], given[1]) for given in ran] == [(cell, store)] * 2
    session = ran[0][2]
    assert session is ran[1][2] and session.ranks is ranks and session.builder is builder
    assert len(losses(folder)) == 2
