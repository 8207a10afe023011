"""Which weights go: three comparison groups, their counts and their tie rules."""

import pytest
import torch
from torch import tensor

from calib_sweep.method.selection.masks import (
    at_or_below_threshold,
    lowest_in_groups,
    lowest_of_all,
    lowest_per_row,
)


def test_the_threshold_weight_itself_goes_too():
    score = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert at_or_below_threshold(score, 0.5).tolist() == [[True, True], [True, False]]


def test_at_sparsity_zero_the_published_threshold_removes_the_smallest():
    score = tensor([[2.0, 1.0], [3.0, 4.0]])
    assert at_or_below_threshold(score, 0.0).tolist() == [[False, True], [False, False]]


def test_ties_at_the_threshold_all_go():
    score = tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
    assert at_or_below_threshold(score, 0.1).tolist() == [[True] * 3, [True, False, False]]


def test_the_threshold_ignores_rows():
    score = tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    assert at_or_below_threshold(score, 3 / 8).tolist() == [[True] * 4, [False] * 4]


@pytest.mark.parametrize("num_zeros", [0, 1, 17, 99, 100])
def test_the_lowest_of_all_are_counted_exactly_and_ties_go_to_the_first(num_zeros):
    score = torch.randint(0, 9, (10, 10), generator=torch.Generator().manual_seed(0)).float()
    first = torch.sort(score.flatten(), stable=True).indices[:num_zeros]
    expected = torch.zeros(100, dtype=torch.bool).index_fill_(0, first, True).view(10, 10)
    assert torch.equal(lowest_of_all(score, num_zeros), expected)


def test_per_row_counts_are_exact_and_rounded_down():
    score = torch.rand(13, 7, generator=torch.Generator().manual_seed(0))
    assert lowest_per_row(score, 0.5).sum(dim=1).tolist() == [3] * 13
    assert lowest_per_row(score, 0.0).sum() == 0


def test_per_row_ties_go_to_the_lower_column():
    score = tensor([[5.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    assert lowest_per_row(score, 0.5).tolist() == [
        [False, True, True, False],
        [True, True, False, False],
    ]


@pytest.mark.parametrize("sparsity", [0.01, 0.3, 0.5, 0.99])
def test_per_row_the_first_of_a_stable_order_go_however_many_ties_there_are(sparsity):
    score = torch.randint(0, 9, (40, 200), generator=torch.Generator().manual_seed(0)).float()
    order = torch.sort(score, dim=1, stable=True).indices[:, : int(200 * sparsity)]
    expected = torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, True)
    assert torch.equal(lowest_per_row(score, sparsity), expected)


@pytest.mark.parametrize(("num_kept", "length"), [(2, 4), (1, 4), (3, 4), (4, 8), (1, 2)])
def test_groups_keep_exactly_their_number_and_the_largest(num_kept, length):
    score = torch.rand(5, 24, generator=torch.Generator().manual_seed(0))
    mask = lowest_in_groups(score, num_kept, length)
    kept = (~mask).reshape(5, -1, length)
    assert (kept.sum(dim=2) == num_kept).all()
    groups = score.reshape(5, -1, length)
    smallest_kept = groups.masked_fill(~kept, 2).amin(dim=2)
    largest_gone = groups.masked_fill(kept, -1).amax(dim=2)
    assert (smallest_kept > largest_gone).all()


def test_of_equal_scores_in_a_group_the_lower_columns_go():
    mask = lowest_in_groups(torch.ones(1, 4), 1, 4)
    assert mask.tolist() == [[True, True, True, False]]
