"""Requests in batches as lm-eval makes them."""

from calib_sweep.evaluation.requests import Request
from calib_sweep.evaluation.scorers.hflm import batches, num_scored


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
