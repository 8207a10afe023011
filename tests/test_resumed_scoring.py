"""A cell that ends while it is scored: whoever runs it again scores the rest, to the same bytes."""

import json
import os
import signal

import pytest
import torch
from helpers.ranked import in_processes
from helpers.scored import names_of_scored

from calib_sweep.evaluation import kept_parts
from calib_sweep.evaluation.scoring import Scoring
from calib_sweep.places import CONF, ITEMS, REFERENCE, SCORED
from calib_sweep.ranks import ALONE
from calib_sweep.run import run_cell
from calib_sweep.session import Session
from calib_sweep.sweep.plan import compose_command_line, plan_cells, store_of

pytestmark = pytest.mark.slow

LAST = "mini_facts"  # parts are scored in order: a corpus, mini_lastword, this one
SAME = ("scores", "stderr", "metrics", "parts", "versions", "calibration", "compression")


def planned(words, folder):
    composed = compose_command_line(CONF, [*words, f"results_dir={folder}"])
    store = store_of(composed[0].config)
    return store, plan_cells(store, composed)


def run_grid(ranks, words, folder):
    """Run all cells of a grid; return their records in order."""
    torch.set_num_threads(1)
    store, cells = planned(words, folder)
    session = Session(ranks=ranks)
    return [run_cell(cell, store, session) for cell in cells]


def killed_at_last(ranks, words, folder):
    """Run the grid, and be killed when the last part of the last cell begins."""
    kept_parts.EVERY_S, kept_parts.PAUSE = 0.0, 0
    task = Scoring.task

    def kill(self, tasks, name):
        if name == LAST and self.dense is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return task(self, tasks, name)

    Scoring.task = kill
    run_grid(ranks, words, folder)


@pytest.fixture
def words(tiny_world):
    kept = [word for word in tiny_world if "zero_shot" not in word and "divergence" not in word]
    return [
        *(*kept, "method=wanda", "seed=0", "dense_perplexity=false", "evaluation=miniature"),
        *("evaluation.divergence.num_tokens=48", "evaluation.perplexity.max_windows=4"),
        *("evaluation.zero_shot.num_items=6", f"evaluation.zero_shot.tasks=[mini_lastword,{LAST}]"),
    ]


@pytest.fixture
def scored(monkeypatch):
    return names_of_scored(monkeypatch)


def failing_at_last(monkeypatch):
    """Let the last part raise from now on; return what undoes that."""
    task = Scoring.task

    def fail(self, tasks, name):
        if name == LAST:
            raise RuntimeError("no more memory")
        return task(self, tasks, name)

    monkeypatch.setattr(Scoring, "task", fail)
    return lambda: monkeypatch.setattr(Scoring, "task", task)


def without_seconds(record):
    own = json.loads(json.dumps({key: record[key] for key in SAME}))
    own["compression"].pop("seconds")
    return own


def same(found, expected):
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert one["status"] == "done", one.get("error")
        assert without_seconds(one) == without_seconds(other)
        for name in (ITEMS, REFERENCE):
            assert one["files"].get(name) == other["files"].get(name), name


def test_what_a_failed_cell_has_scored_is_not_scored_again(words, tmp_path, scored, monkeypatch):
    expected = run_grid(ALONE, words, tmp_path / "whole")
    whole = list(scored)
    assert not list(tmp_path.glob(f"whole/*/*/{SCORED}"))  # nothing was kept of a fast cell
    monkeypatch.setattr(kept_parts, "EVERY_S", 0.0)
    monkeypatch.setattr(kept_parts, "PAUSE", 0)
    heal = failing_at_last(monkeypatch)
    store, (dense, wanda) = planned(words, tmp_path / "failed")
    assert run_cell(dense, store, Session())["status"] == "failed"
    kept = list((store.cell_folder(dense) / SCORED).iterdir())
    assert len(kept) == 2
    heal()
    scored.clear()
    found = [run_cell(cell, store, Session()) for cell in (dense, wanda)]
    assert scored == [LAST, *whole[:3]]
    same(found, expected)
    assert not list(tmp_path.glob(f"failed/*/*/{SCORED}"))


def test_equal_weights_with_other_scales_of_their_inputs_are_scored_again(
    words, documents, tmp_path, scored, monkeypatch
):
    """Static scales come from the calibration set, and no weight tells of them."""
    monkeypatch.setattr(kept_parts, "EVERY_S", 0.0)
    monkeypatch.setattr(kept_parts, "PAUSE", 0)
    text = tmp_path / "text.jsonl"
    lines = documents.read_text().splitlines()
    text.write_text("\n".join(lines))
    own = [word for word in words if not word.startswith(("method=", "dataset.path="))]
    own += ["method=rtn", "activations=int8", "activations.scaling=static", f"dataset.path={text}"]
    store, (dense, rtn) = planned(own, tmp_path)
    assert run_cell(dense, store, Session())["status"] == "done"
    whole = list(scored)
    heal = failing_at_last(monkeypatch)
    assert run_cell(rtn, store, Session())["status"] == "failed"
    heal()
    text.write_text("\n".join(reversed(lines)))
    scored.clear()
    assert run_cell(rtn, store, Session())["status"] == "done"
    assert scored == whole


def test_ranks_that_are_killed_leave_what_they_scored_to_whoever_comes(words, tmp_path, scored):
    expected = run_grid(ALONE, words, tmp_path / "whole")
    with pytest.raises(Exception, match="SIGKILL"):
        in_processes(2, tmp_path, killed_at_last, words, tmp_path / "killed")
    store, (dense, wanda) = planned(words, tmp_path / "killed")
    assert store.is_done(dense)
    assert store.find(wanda) is None
    scored.clear()
    second = run_cell(wanda, store, Session())
    assert scored == [LAST]
    same([store.find(dense), second], expected)
