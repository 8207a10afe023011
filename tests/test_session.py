"""What is kept between cells: none does again what the first has done, or holds more memory."""

import gc
import sys

import pytest
import torch
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

from calib_sweep.evaluation import tokenised
from calib_sweep.evaluation.requests import Requests
from calib_sweep.results.store import Store

TASKS = ["evaluation.zero_shot.tasks=[mini_facts,mini_story]", "evaluation.zero_shot.num_items=4"]


@pytest.fixture
def world(tiny_world):
    """A grid of data-free methods, and so of nothing to draw, scored on texts and tasks."""
    words = [word for word in tiny_world if word != "evaluation.zero_shot=null"]
    return ["-m", *words, *TASKS, "method=magnitude,rtn", "replicate=0,1"]


@pytest.fixture
def events(monkeypatch):
    """What is done, in order: tokenise, build, lay out; "cell" where one is recorded."""
    found = []

    def note(holder, name, event):
        original = getattr(holder, name)

        def noting(*arguments, **settings):
            found.append(event)
            return original(*arguments, **settings)

        monkeypatch.setattr(holder, name, noting)

    note(tokenised, "_kept", "tokenise")
    note(HFLM, "tok_encode", "tokenise")
    note(ConfigurableTask, "build_all_requests", "build")
    note(Store, "write", "cell")
    kept = Requests.kept

    def laying(own, key, make):
        def noting(rows):
            found.append("lay")
            return make(rows)

        return kept(own, key, noting)

    monkeypatch.setattr(Requests, "kept", laying)
    return found


@pytest.mark.slow
def test_the_last_cell_costs_no_tokenising_no_building_and_no_laying_out(
    run_cli, world, events, tmp_path
):
    assert run_cli(*world, cwd=tmp_path).code == 0
    first, rest = events[: events.index("cell")], events[events.index("cell") :]
    assert {"tokenise", "build", "lay"} == set(first)
    assert rest == ["cell"] * 5  # dense, and two methods twice

    events.clear()  # another process with other cells
    again = [word.replace("replicate=0,1", "replicate=2") for word in world]
    assert run_cli(*again, cwd=tmp_path).code == 0
    assert set(events) == {"build", "lay", "cell"} and events[-2:] == ["cell"] * 2


WARM, NUM_CELLS = 8, 28  # dense included


@pytest.mark.slow
def test_memory_stays_as_it_is_from_cell_to_cell(run_cli, tiny_world, monkeypatch, tmp_path):
    """Python's blocks, and bytes of all tensors, once what is kept between cells is there."""
    cells, blocks, tensors, write = [], [], [], Store.write

    def measuring(store, cell, record):
        write(store, cell, record)
        cells.append(cell.id)
        if len(cells) in (WARM, NUM_CELLS):
            gc.collect()
            blocks.append(sys.getallocatedblocks())
            tensors.append(sum(t.nbytes for t in gc.get_objects() if type(t) is torch.Tensor))

    monkeypatch.setattr(Store, "write", measuring)
    words = [word for word in tiny_world if word != "evaluation.zero_shot=null"]
    sparsities = ",".join(f"0.3{number:02}" for number in range(1, NUM_CELLS))
    grid = ["-m", *words, *TASKS, "method=magnitude", f"method.sparsity={sparsities}"]
    assert run_cli(*grid, cwd=tmp_path).code == 0
    assert len(cells) == NUM_CELLS and 0 < tensors[0] == tensors[1]
    a_cell = (blocks[1] - blocks[0]) / (NUM_CELLS - WARM)
    assert a_cell < 500  # 190, most of it what pytest keeps of the log
