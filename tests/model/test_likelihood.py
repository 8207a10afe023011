"""Each token is as likely as the model says after the tokens before it, whatever is beside it."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.fakes import random_tokens, tiny_model

from calib_sweep.model import likelihood
from calib_sweep.model.likelihood import sample_perplexities, token_log_probs

LENGTHS = np.array([9, 4, 1, 9, 2])


def slow(model, tokens_NT, lengths_N):
    """One forward pass a token, over the tokens before it alone; softmax in numpy, float64."""
    found_NT = np.full(tokens_NT.shape, np.nan)
    for n, tokens_T in enumerate(tokens_NT):
        for t in range(1, tokens_NT.shape[1] if lengths_N is None else lengths_N[n]):
            before = torch.from_numpy(tokens_T[None, :t])
            logits_V = model(input_ids=before).logits[0, -1].double().numpy()
            logits_V = logits_V - logits_V.max()
            found_NT[n, t] = logits_V[tokens_T[t]] - np.log(np.exp(logits_V).sum())
    return found_NT


@pytest.mark.parametrize("architecture", ["llama", "opt", "gpt2", "mistral", "mixtral"])
@pytest.mark.parametrize("lengths_N", [None, LENGTHS])
def test_log_probs_are_those_of_one_token_at_a_time(architecture, lengths_N):
    model, tokens_NT = tiny_model(architecture), random_tokens(5, 9).numpy()
    expected = slow(model, tokens_NT, lengths_N)
    for batch_tokens in (1, 20, None):
        found = token_log_probs(model, tokens_NT, lengths_N, batch_tokens)
        assert found.dtype == np.float32 and found.shape == (5, 9)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_model_of_two_words_by_hand():
    """After token 0 the odds of token 1 are 3 to 1; after token 1 they are even."""
    asked = []

    def two_words(input_ids, use_cache):
        asked.append(tuple(input_ids.shape))
        table = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
        return SimpleNamespace(logits=table[input_ids])

    two_words.device = torch.device("cpu")
    found = token_log_probs(two_words, np.array([[0, 1, 1], [0, 0, 1]]), np.array([3, 2]), 3)
    logs = np.log([[3 / 4, 1 / 2], [1 / 4, np.nan]])
    np.testing.assert_allclose(found, np.column_stack([[np.nan, np.nan], logs]), rtol=1e-6)
    assert asked == [(1, 2), (1, 2)]
    np.testing.assert_allclose(sample_perplexities(found), [(8 / 3) ** 0.5, 4], rtol=1e-6)


def test_parts_of_the_logits_move_nothing(monkeypatch):
    model, tokens_NT = tiny_model("llama"), random_tokens(4, 7).numpy()
    whole = token_log_probs(model, tokens_NT, None, 100)
    monkeypatch.setattr(likelihood, "MAX_ELEMENTS", 259 * 5)  # five places at once
    np.testing.assert_array_equal(token_log_probs(model, tokens_NT, None, 100), whole)


def test_single_tokens_have_no_likelihood():
    found = token_log_probs(tiny_model("llama"), np.array([[3], [4]]), None, 10)
    assert found.shape == (2, 1) and np.isnan(found).all()
    assert np.isnan(sample_perplexities(found)).all()
