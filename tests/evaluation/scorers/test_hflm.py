"""Requests in batches as lm-eval makes them."""

import pytest
from helpers.fakes import byte_tokenizer, tiny_model

from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers.hflm import HFLMScorer, batches, num_scored


def test_requests_that_differ_in_their_last_token_share_a_row():
    requests = [Request([1, 2], [3]), Request([5, 6, 7], [8]), Request([1, 2], [4])]
    assert list(batches(requests, [0, 1, 2], 4)) == [[1], [0, 2]]
    assert list(batches(requests, [0, 1, 2], 6)) == [[1, 0, 2]]
    assert list(batches(requests, [0, 2], 1)) == [[0, 2]]


def test_the_scored_end_of_a_padded_batch():
    requests = [Request([1] * 9, [2, 3]), Request([1] * 4, [2, 3, 4])]
    # Rows of 10 and 6 inputs; scored are inputs 8 and 9 of one, 3 to 5 of the other.
    assert num_scored(requests, context_length=100) == 10 - 3
    # Cut to 8 inputs from the left: scored are 6 and 7, and 3 to 5.
    assert num_scored(requests, context_length=8) == 8 - 3


def test_equal_rows_of_which_more_or_less_is_scored_are_answered_as_alone():
    """lm-eval makes one request of them, and scores as many tokens as that has."""
    requests = [Request([1, 2, 3, 4], [5, 6]), Request([1, 2], [3, 4, 5, 6])]
    requests += [Request([1, 2, 3, 4, 5], [7]), Request([1, 2, 3, 4, 5], [8])]
    assert list(batches(requests, range(4), 100)) == [[0], [1], [2, 3]]
    scorer = HFLMScorer(tiny_model(), byte_tokenizer(), batch_tokens=100, window_tokens=100)
    together = scorer.loglikelihoods(Requests(requests))
    alone = [scorer.loglikelihoods(Requests([one]))[0] for one in requests]
    assert [a.log_likelihood for a in together] == pytest.approx([a[0] for a in alone], abs=1e-4)
    assert [a.is_greedy for a in together] == [a.is_greedy for a in alone]
