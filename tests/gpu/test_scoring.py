"""Scoring on a GPU: the answers of lm-eval, the same bits twice, and no wait for the host."""

import warnings

import numpy as np
import pytest
import torch
from helpers.fakes import tiny_model
from helpers.scored import scorer_of

from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.windows import Windows

DEVICE = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
WINDOWS = Windows.whole("random", np.random.default_rng(1).integers(3, 90, (9, 64)))


def requests_of(num_items=60):
    draw = np.random.default_rng(0)
    rows, items = [], []
    for _ in range(num_items):
        context = [1, *draw.integers(3, 90, draw.integers(4, 40)).tolist()]
        choices = [draw.integers(3, 90, draw.integers(1, 9)).tolist() for _ in range(4)]
        items.append(list(range(len(rows), len(rows) + 4)))
        rows += [Request(context, choice) for choice in choices]
    return Requests(rows, {"t": items})


def scored(model, requests=None, **settings):
    answers = scorer_of(model, **settings).loglikelihoods(requests or requests_of())
    return np.array([a.log_likelihood for a in answers]), [a.is_greedy for a in answers]


def model_of(dtype=torch.float32):
    return tiny_model().to(DEVICE, dtype)


def test_packed_answers_are_those_of_hflm():
    model = model_of()
    packed, is_greedy = scored(model)
    expected, was_greedy = scored(model, engine="hflm")
    assert np.abs(packed - expected).max() < 1e-4
    assert is_greedy == was_greedy


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_no_further_from_float32_than_hflm_is(dtype):
    """HFLM takes the log-softmax of logits in their own dtype."""
    model = model_of(dtype)
    exact, _ = scored(model_of().to(dtype).float(), engine="hflm")
    packed, hflm = (np.abs(scored(model, engine=e)[0] - exact).mean() for e in ("packed", "hflm"))
    assert packed < 1.5 * hflm


def test_the_same_model_twice_gives_the_same_bits():
    model, requests = model_of(torch.float16), requests_of()
    first, second = scored(model, requests)[0], scored(model, requests)[0]
    assert (first == second).all()


def test_compiled_blocks_score_as_others_do():
    model = model_of()
    plain, compiled = scored(model)[0], scored(model, is_compiled=True)[0]
    assert np.abs(plain - compiled).max() < 1e-3
    parts = [
        torch.cat([part for _, part in scorer_of(model, is_compiled=x).log_probs(WINDOWS)])
        for x in (False, True)
    ]
    assert torch.allclose(*parts, atol=1e-4)


def test_nothing_waits_for_the_host_between_batches():
    """As many waits for many batches as for few."""
    model, waits = model_of(torch.float16), []
    for num_items in (60, 240):
        requests = requests_of(num_items)
        scored(model, requests, batch_tokens=1024)  # laid out, and libraries loaded
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                scored(model, requests, batch_tokens=1024)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits.append(len(told))
    assert waits[0] == waits[1] > 0
