"""The cost of a sweep, from finished cells of other sizes: scaled by hand, or not known."""

import copy

import pytest

from calib_sweep import estimate
from calib_sweep.estimate import predict, work_of

SECONDS = {"load": 2.0, "draw": 1.0, "describe": 4.0, "compress": 20.0, "evaluate": 100.0}
CONFIG = {
    "model": {"path": "small", "device": "cpu"},
    "calibration": {"num_samples": 8, "seq_len": 64},
    "evaluation": {
        "perplexity": {"corpora": ["a", "b"], "max_windows": 10, "seq_len": 64, "batch_tokens": 9},
        "zero_shot": {"tasks": ["x", "y"], "num_items": 50, "batch_size": 4},
    },
}


@pytest.fixture(autouse=True)
def sizes(monkeypatch):
    weights = {"small": 1000, "large": 10_000, "elsewhere": None}
    monkeypatch.setattr(estimate, "num_weights", lambda model: weights[model["path"]])


def work(needs_data=True, **changed):
    config = copy.deepcopy(CONFIG)
    for key, value in changed.items():
        *path, last = key.split("__")
        node = config
        for name in path:
            node = node[name]
        node[last] = value
    return work_of(config, "wanda", needs_data=needs_data)


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
    other = work_of(CONFIG, "gptq", needs_data=True)
    assert predict(other, known) is None


def test_an_equal_cell_is_asked_before_all_others():
    known = {work(): SECONDS, work(model__path="large"): {"evaluate": 5.0}}
    assert predict(work(model__path="large"), known) == 5.0
