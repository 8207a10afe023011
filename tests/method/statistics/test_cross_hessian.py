"""Sums over pairs of what a layer sees and what the dense model saw: against plain loops."""

import pytest
import torch
from helpers.random_layers import correlated_inputs, random_inputs

from calib_sweep.method.statistics import gram
from calib_sweep.method.statistics.cross_hessian import CrossHessian, UpperCrossHessian

NUM_IN = 7
SEEN, DENSE = random_inputs(30, NUM_IN, seed=1), random_inputs(30, NUM_IN, seed=2)
WEIGHTS = torch.rand(30, generator=torch.Generator().manual_seed(3)) + 0.1


def slow_cross(dense_TI, seen_TI, num_samples, weights_T=None):
    """D by its definition, float64, one product at a time."""
    num_tokens, num_in = seen_TI.shape
    cross = torch.zeros(num_in, num_in, dtype=torch.float64)
    for t in range(num_tokens):
        weight = 1.0 if weights_T is None else float(weights_T[t])
        for i in range(num_in):
            for j in range(num_in):
                change = float(dense_TI[t, i]) - float(seen_TI[t, i])
                cross[i, j] += 2 / num_samples * weight * change * float(seen_TI[t, j])
    return cross


def paired(dense_TI, seen_TI, num_samples=1, weights_T=None, kind=CrossHessian):
    statistic = kind(seen_TI.shape[1])
    statistic.add_pair(dense_TI, seen_TI, num_samples, weights_T)
    return statistic


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["once", "weighted"])
def test_the_cross_moment_is_of_the_change_with_what_is_seen(weights):
    statistic = paired(DENSE, SEEN, 3, weights)
    expected = slow_cross(DENSE, SEEN, 3, weights)
    torch.testing.assert_close(statistic.cross_II().double(), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(expected, expected.T, atol=0.1)  # so that the sides are told apart


def test_by_hand():
    """x = (1, 0), (0, 2); d = (1, 3), (0, 2): only feature 1 of the first token differs, by 3."""
    seen, dense = torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[1.0, 3], [0, 2]])
    assert paired(dense, seen).cross_II().tolist() == [[0, 0], [6, 0]]
    assert paired(dense, seen, num_samples=2).cross_II().tolist() == [[0, 0], [3, 0]]


def test_it_is_a_hessian_of_what_is_seen():
    statistic, plain = paired(DENSE, SEEN, 2), CrossHessian(NUM_IN)
    plain.add(SEEN, 2)
    assert torch.equal(statistic.hessian_II(), plain.hessian_II())
    assert statistic.num_tokens == 30 and statistic.num_samples == 2
    assert plain.cross_II() is None


def test_batches_and_merged_parts_are_summed():
    whole, parts = paired(DENSE, SEEN, 4), paired(DENSE[:9], SEEN[:9], 1)
    parts.add_pair(DENSE[9:20], SEEN[9:20], 2)
    parts.merge(paired(DENSE[20:], SEEN[20:], 1))
    torch.testing.assert_close(parts.cross_II(), whole.cross_II())
    without = CrossHessian(NUM_IN)
    without.add(SEEN[:9])
    without.merge(paired(DENSE[9:], SEEN[9:], 3))
    expected = slow_cross(DENSE[9:], SEEN[9:], 4)
    torch.testing.assert_close(without.cross_II().double(), expected, rtol=1e-5, atol=1e-6)


def test_rows_that_count_more_often_are_as_good_as_repeated_ones():
    weights = torch.full((30,), 2.0)
    repeated = paired(DENSE.repeat(2, 1), SEEN.repeat(2, 1))
    torch.testing.assert_close(paired(DENSE, SEEN, 1, weights).cross_II(), repeated.cross_II())


def test_inputs_that_are_scaled_are_followed():
    scale = torch.linspace(0.5, 2, NUM_IN)
    statistic = paired(DENSE, SEEN)
    statistic.divide_inputs(scale)
    expected = slow_cross(DENSE / scale, SEEN / scale, 1)
    torch.testing.assert_close(statistic.cross_II().double(), expected, rtol=1e-5, atol=1e-6)


def test_a_dense_input_that_is_no_number_is_told():
    dense = DENSE.clone()
    dense[3, 2] = float("inf")
    assert not paired(dense, SEEN).is_finite() and paired(DENSE, SEEN).is_finite()


def test_no_rows_change_nothing():
    statistic = paired(DENSE[:0], SEEN[:0])
    assert statistic.cross_II() is None and statistic.num_samples == 1


def slow_pull(matrix, upper):
    """striu(A U^T) U in loops."""
    num_in = len(matrix)
    between, pulled = torch.zeros_like(matrix), torch.zeros_like(matrix)
    for i in range(num_in):
        for j in range(i + 1, num_in):
            between[i, j] = sum(matrix[i, k] * upper[j, k] for k in range(num_in))
    for i in range(num_in):
        for j in range(num_in):
            pulled[i, j] = sum(between[i, k] * upper[k, j] for k in range(num_in))
    return pulled


@pytest.mark.parametrize("of_dense", [False, True])
@pytest.mark.parametrize("kind", [CrossHessian, UpperCrossHessian])
def test_what_pulls_columns_agrees_with_loops_in_panels_and_from_half_of_the_moment(
    kind, of_dense, monkeypatch
):
    monkeypatch.setattr(gram, "PANEL", 3)
    statistic = paired(DENSE, SEEN, 2, kind=kind)
    factor = statistic.inverse_factor(0.01)
    matrix = slow_cross(DENSE, SEEN, 2)
    if of_dense:
        matrix = matrix + SEEN.double().T @ SEEN.double()  # 2 / 2 samples, without damping
    expected = slow_pull(matrix, factor.upper_II.double())
    found = statistic.pull_II(factor, of_dense=of_dense)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(found.tril(), torch.zeros_like(found))
    assert statistic.pull_II(factor, of_dense=of_dense) is found  # once for q, k and v
    statistic.add_pair(DENSE, SEEN)
    assert statistic.pull_II(factor, of_dense=of_dense) is not found


def test_the_order_of_the_factor_is_that_of_rows_and_columns():
    statistic = paired(DENSE, SEEN * torch.tensor([1.0, 3, 2, 5, 4, 1, 6]))
    factor = statistic.inverse_factor(0.01, by_activation=True)
    order = factor.order_I.tolist()
    assert order != sorted(order)
    cross = statistic.cross_II().double()
    ordered = torch.tensor([[cross[i, j] for j in order] for i in order])
    expected = slow_pull(ordered, factor.upper_II.double())
    torch.testing.assert_close(statistic.pull_II(factor).double(), expected, rtol=1e-3, atol=1e-4)


def test_half_precision_is_widened_before_it_is_subtracted():
    seen = correlated_inputs(20, NUM_IN).half()
    dense = (seen.float() + 2.0**-13).half() + seen * 0.001
    found = paired(dense, seen).cross_II()
    torch.testing.assert_close(found.double(), slow_cross(dense, seen, 1), rtol=1e-5, atol=1e-6)
