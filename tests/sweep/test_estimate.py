"""The cost of a sweep, from finished cells of other sizes: scaled by hand, or not known."""

import copy
import json
import sys

import pytest

from calib_sweep.results.store import Store
from calib_sweep.sweep.estimate import measured, predict, work_of

SECONDS = {"load": 2.0, "draw": 1.0, "describe": 4.0, "compress": 20.0, "evaluate": 100.0}
CONFIG = {
    "model": {"path": "small", "device": "cpu"},
    "calibration": {"num_samples": 8, "seq_len": 64},
    "evaluation": {
        "perplexity": {"corpora": ["a", "b"], "max_windows": 10, "seq_len": 64, "batch_tokens": 9},
        "zero_shot": {"tasks": ["x", "y"], "num_items": 50, "batch_size": 4},
    },
}


WEIGHTS = {"small": 1000, "large": 10_000, "elsewhere": None}


def work(needs_data=True, **changed):
    config = copy.deepcopy(CONFIG)
    for key, value in changed.items():
        *path, last = key.split("__")
        node = config
        for name in path:
            node = node[name]
        node[last] = value
    weights = WEIGHTS[config["model"]["path"]]
    return work_of(config, "wanda", needs_data=needs_data, weights=weights)


@pytest.fixture
def known():
    return {work(): SECONDS}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 127),
        ({"model__device": "cuda", "evaluation__zero_shot__batch_size": 64}, 127),
        ({"model__path": "large"}, 1 + 10 * 126),
        ({"calibration__num_samples": 32}, 2 + 1 + 4 * 24 + 100),
        ({"evaluation__perplexity__max_windows": 40}, 27 + 4 * 100),
        ({"evaluation__zero_shot__num_items": 150}, 27 + 3 * 100),
        ({"evaluation__zero_shot__tasks": ["x"]}, 27 + 100),  # the windows are as many
        ({"evaluation__zero_shot": None, "evaluation__perplexity__max_windows": 5}, 27 + 50),
        ({"evaluation__perplexity__seq_len": 128, "model__path": "large"}, 261 + 10 * 2 * 100),
    ],
)
def test_the_time_grows_with_what_is_done(known, changed, expected):
    assert predict(work(**changed), known) == pytest.approx(expected)


@pytest.mark.parametrize(
    "changed",
    [
        {"model__path": "elsewhere"},
        {"evaluation__zero_shot__num_items": None},
        {"evaluation__perplexity__max_windows": None},
    ],
)
def test_what_cannot_be_seen_is_not_made_up(known, changed):
    assert predict(work(**changed), known) is None
    assert predict(work(**changed), {work(**changed): SECONDS}) == 127
    assert predict(work(), {work(**changed): SECONDS}) is None


def test_what_was_not_done_says_nothing_of_it(known):
    only_text = work(evaluation__zero_shot=None)
    assert predict(work(), {only_text: SECONDS}) is None
    assert predict(work(needs_data=False), known) == pytest.approx(2 + 1 + 100)
    assert predict(work(), {work(needs_data=False): SECONDS}) is None


def test_cells_of_another_method_say_nothing(known):
    other = work_of(CONFIG, "gptq", needs_data=True, weights=1000)
    assert predict(other, known) is None


def test_an_equal_cell_is_asked_before_all_others():
    known = {work(): SECONDS, work(model__path="large"): {"evaluate": 5.0}}
    assert predict(work(model__path="large"), known) == 5.0


def test_of_finished_cells_the_records_alone_are_asked(tmp_path, monkeypatch):
    """Whose model may be gone, or bring code; the dense cell's has as many weights as the other."""
    (tmp_path / "planted.py").write_text("raise SystemExit('was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = {**CONFIG, "model": {"_target_": "planted.Model", "path": "gone"}}
    for method, num in (("wanda", 1000), ("dense", 0)):
        cell = {"model": "m", "method": method, "dataset": "text" if num else None}
        record = {"schema": 1, "status": "done", "cell": cell, "scores": {}, "config": config}
        record |= {"timings_s": SECONDS, "compression": {"num_weights": num}}
        folder = tmp_path / "results" / "sweep" / method
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
    known = measured(Store(tmp_path / "results", "other"))
    assert {work.method: work.weights for work in known} == {"wanda": 1000, "dense": 1000}
    assert predict(work(), known) == pytest.approx(127)  # another model of that size
    assert "planted" not in sys.modules
