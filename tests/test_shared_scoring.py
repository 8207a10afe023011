"""Cells that real processes share: their scores are, byte for byte, those of one process."""

import json

import pytest
import torch
from helpers.ranked import in_processes

from calib_sweep.places import CONF, ITEMS, REFERENCE
from calib_sweep.ranks import ALONE
from calib_sweep.run import run_cell
from calib_sweep.session import Session
from calib_sweep.sweep.plan import compose_command_line, plan_cells, store_of

SAME = ("scores", "stderr", "metrics", "parts", "versions", "calibration")


def run_grid(ranks, words, folder):
    """Run all cells of a grid; return their records in order."""
    torch.set_num_threads(1)
    composed = compose_command_line(CONF, [*words, f"results_dir={folder}"])
    store = store_of(composed[0].config)
    session = Session(ranks=ranks)
    return [run_cell(cell, store, session) for cell in plan_cells(store, composed)]


@pytest.mark.slow
def test_what_processes_score_together_is_what_one_scores(tiny_world, tmp_path):
    kept = [word for word in tiny_world if "zero_shot" not in word and "divergence" not in word]
    small = ["num_items=7", "max_gen_toks=4", "batch_tokens=128"]
    small += ["tasks=[mini_facts,mini_lastword,mini_answers]"]
    words = [
        *(*kept, "method=magnitude,wanda", "seed=0", "dense_perplexity=true"),
        *("evaluation=miniature_answers", "evaluation.divergence.num_tokens=96"),
        *("evaluation.perplexity.max_windows=5", "evaluation.perplexity.batch_tokens=64"),
        *(f"evaluation.zero_shot.{one}" for one in small),
    ]
    alone = run_grid(ALONE, words, tmp_path / "alone")
    (first, second) = in_processes(2, tmp_path, run_grid, words, tmp_path / "shared")
    assert [one["cell"]["method"] for one in alone] == ["dense", "magnitude", "wanda"]
    for one, *others in zip(alone, first, second, strict=True):
        for other in others:
            assert other["status"] == "done", other.get("error")
            for key in SAME:
                assert json.dumps(other[key]) == json.dumps(one[key]), key
        assert {ITEMS} <= set(one["files"])
        for name in (ITEMS, REFERENCE):
            assert others[0]["files"].get(name) == one["files"].get(name), name
