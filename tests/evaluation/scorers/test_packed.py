"""The engine `packed`: what it asks of a model, and how often it lays out."""

import numpy as np
import pytest
import torch
from helpers.scored import random_llama

from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers import packed
from calib_sweep.evaluation.scorers.packed import PackedScorer, mask


def scorer_of(model, **changes):
    scorer = PackedScorer(model, None, batch_tokens=None, window_tokens=None)
    scorer._context_length = 64
    for name, value in changes.items():
        setattr(scorer, name, value)
    return scorer


def questions(num=20):
    """Two choices of one and of three tokens to each question."""
    draw = np.random.default_rng(0)
    rows = []
    for _ in range(num):
        context = draw.integers(3, 300, 9).tolist()
        rows += [Request(context, draw.integers(3, 300, n).tolist()) for n in (1, 3)]
    return Requests(rows, {"t": [[2 * i, 2 * i + 1] for i in range(num)]})


def test_a_place_is_seen_from_itself_to_its_last_one():
    """Two tokens that two branches see, of one token each; then another item of one token."""
    until_BL = torch.tensor([[3, 3, 2, 3, 4]])
    seen = mask(until_BL, torch.float32)[0] == 0
    expected = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], [0, 0, 0, 0, 1]]
    assert seen.int().tolist() == expected
    assert mask(until_BL, torch.float16).min() == torch.finfo(torch.float16).min


def test_the_head_is_asked_once_at_each_place_that_scores():
    model, asked = random_llama(), []
    model.lm_head.register_forward_hook(lambda _, _inputs, made: asked.append(made.shape[:2]))
    scorer_of(model).loglikelihoods(questions())
    # The end of a question serves both choices; of three tokens two more are predicted.
    assert sum(num for _, num in asked) == 20 * (1 + 2)
    assert {rows for rows, _ in asked} == {1}


def test_answers_are_those_of_single_rows_whatever_shares_a_row():
    model, requests = random_llama(), questions()
    expected = []
    for context, continuation in requests:
        logits = model(torch.tensor([context + continuation[:-1]])).logits[0, len(context) - 1 :]
        targets = torch.tensor(continuation)
        value = logits.log_softmax(-1).gather(1, targets[:, None]).sum()
        expected.append((float(value), bool((logits.argmax(-1) == targets).all())))
    for length in (16, 48, 1024):
        found = scorer_of(model, row_length=length).loglikelihoods(requests)
        assert [a.log_likelihood for a in found] == pytest.approx(
            [v for v, _ in expected], abs=1e-4
        )
        assert [a.is_greedy for a in found] == [is_greedy for _, is_greedy in expected]


def test_rows_are_laid_out_once_for_all_models(monkeypatch):
    made, requests = [], questions()
    original = packed.pack
    monkeypatch.setattr(packed, "pack", lambda *of: made.append(of) or original(*of))
    for seed in (0, 1, 0):
        scorer_of(random_llama(seed)).loglikelihoods(requests)
    assert len(made) == 1


def test_a_request_with_a_row_to_itself_needs_no_mask():
    model, given = random_llama(), []
    model.register_forward_pre_hook(lambda _, of, named: given.append(set(named)), with_kwargs=True)
    page = Requests([Request([1], list(range(3, 60)))])
    alone = scorer_of(model).loglikelihoods(page)
    masked = scorer_of(model, masks_all=True).loglikelihoods(page)
    assert "attention_mask" not in given[0] and "attention_mask" in given[1]
    assert alone[0].log_likelihood == pytest.approx(masked[0].log_likelihood, abs=1e-4)


def test_an_item_at_which_a_model_overflows_ruins_no_other_of_its_row():
    model, requests = random_llama(), questions()
    whole = scorer_of(model).loglikelihoods(requests)
    with torch.no_grad():
        model.model.embed_tokens.weight[299] = torch.nan
    is_ruined = [299 in [*context, *answer[:-1]] for context, answer in requests]
    assert 0 < sum(is_ruined) < 10
    for changes in ({}, {"batch_tokens": 7}, {"row_length": 1024}):
        found = scorer_of(model, **changes).loglikelihoods(requests)
        for answer, expected, is_lost in zip(found, whole, is_ruined, strict=True):
            if is_lost:
                assert np.isnan(answer.log_likelihood)
            else:
                assert answer.log_likelihood == pytest.approx(expected.log_likelihood, abs=1e-4)
                assert answer.is_greedy == expected.is_greedy
