"""The threads of a small model are measured once for a sweep, and kept."""

import json

import pytest
import torch

from calib_sweep.results.store import Store
from calib_sweep.sweep import threads, workforce


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, "s")


def test_one_two_four_and_all_cores_are_tried():
    assert threads.candidates(1) == [1]
    assert threads.candidates(2) == [1, 2]
    assert threads.candidates(6) == [1, 2, 4, 6]
    assert threads.candidates(8) == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("seconds", "num_cells", "cores", "expected"),
    [
        ({1: 1.0, 2: 0.6}, 1, 2, 2),  # one cell: 1.0 or 0.6
        ({1: 1.0, 2: 0.95}, 1, 2, 1),  # nearly as fast
        ({1: 1.0, 2: 1.5}, 1, 2, 1),
        ({1: 1.0, 2: 0.6}, 8, 2, 1),  # 4 rounds of 1.0, or 8 of 0.6
        ({1: 1.0, 2: 0.4}, 8, 2, 2),  # 4.0, or 3.2
        ({1: 1.0, 2: 0.6, 4: 0.4}, 2, 4, 2),  # 1.0, 0.6, or twice 0.4
    ],
)
def test_what_the_whole_sweep_needs_the_least_time_with_is_taken(
    seconds, num_cells, cores, expected
):
    workers = lambda number: min(cores // number, num_cells)  # noqa: E731
    assert threads.fastest(seconds, num_cells, workers) == expected


def test_the_first_choice_counts_for_everybody(store):
    assert threads.kept(store, "abc") is None
    assert threads.keep(store, "abc", 2, {1: 2.0, 2: 1.0}) == 2
    assert threads.keep(store, "abc", 1, {1: 1.0, 2: 2.0}) == 2
    assert threads.kept(store, "abc") == 2 and threads.kept(store, "other") is None
    told = json.loads((store.folder / "threads-abc.json").read_text())
    assert told == {"num_threads": 2, "seconds": {"1": 2.0, "2": 1.0}}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"num_threads": 0}', '{"num_threads": "2"}'])
def test_a_damaged_choice_is_made_again(text, store):
    store.folder.mkdir(parents=True)
    (store.folder / "threads-abc.json").write_text(text)
    assert threads.kept(store, "abc") is None
    assert threads.keep(store, "abc", 4, {}) == 4 and threads.kept(store, "abc") == 4


def test_only_cells_without_a_number_get_one(make_cell):
    model = make_cell().config["model"]
    free, typed = make_cell(num_threads=None), make_cell(num_threads=3)
    other = make_cell(num_threads=None, model={**model, "path": "another"})
    key = threads.model_key(free)
    on_gpu = make_cell(model={**model, "device": "auto"})
    assert threads.model_key(on_gpu) == key != threads.model_key(other)
    probed = threads.probed([free, typed, other], {key: 2})
    assert [cell.config["num_threads"] for cell in probed] == [2, 3, None]
    assert probed[0].dense().config["num_threads"] == 2
    assert probed[0].id == free.id  # it moves no number that tells cells apart


@pytest.fixture
def probing(monkeypatch):
    """`probing({1: s, 2: s})`: two cores, and what passes take; what was probed."""
    probed = []

    def begin(seconds):
        monkeypatch.setattr(workforce, "num_cores", lambda: 2)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

        def time_passes(model, numbers):
            probed.append(numbers)
            return seconds

        monkeypatch.setattr(threads, "time_passes", time_passes)
        return probed

    return begin


@pytest.mark.slow
def test_a_sweep_probes_once_and_records_what_it_ran_with(run_cli, tiny_world, tmp_path, probing):
    probed = probing({1: 0.5, 2: 1.0})
    words = ["-m", *tiny_world, "num_threads=null"]
    ended = run_cli("method=dense", *words, cwd=tmp_path)
    probing({1: 1.0, 2: 0.5})
    again = run_cli("method=magnitude", *words, cwd=tmp_path)
    assert (ended.code, again.code) == (0, 0), ended.err + again.err
    assert probed == [[1, 2]]
    assert numbers(tmp_path) == {("dense", 1), ("magnitude", 1)}
    assert "miniature runs on 1 thread:" in ended.err and "runs on" not in again.err


def numbers(folder):
    records = [json.loads(p.read_text()) for p in folder.glob("results/default/*/record.json")]
    for record in records:
        assert record["config"]["num_threads"] == record["environment"]["num_threads"]
    return {(r["cell"]["method"], r["config"]["num_threads"]) for r in records}


def test_passes_are_timed_and_the_number_of_threads_is_put_back():
    from helpers.fakes import tiny_model

    before = torch.get_num_threads()
    seconds = threads.time_passes(tiny_model(), [1, 2])
    assert list(seconds) == [1, 2] and min(seconds.values()) > 0
    assert torch.get_num_threads() == before
