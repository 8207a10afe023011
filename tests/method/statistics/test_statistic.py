"""Sums over layer inputs, and the factor of the inverse Hessian."""

import pytest
import torch
from helpers.random_layers import random_inputs
from torch import tensor

from calib_sweep.method.gpu.precision import allow_tensor_cores, full_float32
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_norm import InputNorm


def filled(inputs_TI, num_samples=1):
    hessian = Hessian(inputs_TI.shape[1])
    hessian.add(inputs_TI, num_samples)
    return hessian


def test_hessian_is_two_over_the_number_of_samples_times_the_sum():
    hessian = Hessian(2)
    hessian.add(tensor([[1.0, 0.0], [1.0, 1.0]]), num_samples=1)
    hessian.add(tensor([[0.0, 2.0]]), num_samples=3)
    assert hessian.hessian_II().tolist() == [[1.0, 0.5], [0.5, 2.5]]
    assert (hessian.num_tokens, hessian.num_samples) == (3, 4)


def test_input_norm_is_the_root_of_the_mean_over_samples():
    norm = InputNorm(2)
    norm.add(tensor([[1.0, 2.0], [1.0, 0.0]]), num_samples=1)
    norm.add(tensor([[4.0, 2.0], [0.0, 2.0]]), num_samples=2)
    torch.testing.assert_close(norm.norm_I(), tensor([18 / 3, 12 / 3]).sqrt())


@pytest.mark.parametrize("statistic_type", [InputNorm, Hessian])
def test_sums_do_not_depend_on_how_tokens_are_batched(statistic_type):
    inputs = random_inputs(60, 8)
    whole, parts = statistic_type(8), statistic_type(8)
    whole.add(inputs, num_samples=6)
    for part in inputs.split(10):
        parts.add(part)
    torch.testing.assert_close(whole.square_sum_I(), parts.square_sum_I(), rtol=1e-5, atol=0)
    assert (whole.num_tokens, whole.num_samples) == (parts.num_tokens, parts.num_samples)


@pytest.mark.parametrize("statistic_type", [InputNorm, Hessian])
def test_half_precision_inputs_do_not_overflow(statistic_type):
    statistic = statistic_type(1)
    statistic.add(torch.full((10, 1), 6e4, dtype=torch.float16))
    assert statistic.is_finite()
    statistic.add(tensor([[float("inf")]]))
    assert not statistic.is_finite()


def test_factor_is_upper_and_its_square_is_the_inverse():
    hessian = filled(random_inputs(50, 12))
    factor = hessian.inverse_factor(0.01)
    assert torch.equal(factor.upper_II, factor.upper_II.triu())
    assert (factor.upper_II.diagonal() > 0).all()
    damped = hessian.hessian_II().double()
    damped += 0.01 * damped.diagonal().mean() * torch.eye(12)
    expected = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    torch.testing.assert_close(factor.upper_II.double(), expected, rtol=1e-4, atol=1e-6)


def test_dead_features_count_as_one_in_the_mean_that_scales_the_damping():
    inputs = tensor([[3.0, 0.0], [0.0, 0.0]])  # H = diag(18, 0), repaired to diag(18, 1)
    factor = filled(inputs).inverse_factor(0.5)
    assert factor.dead_I.tolist() == [False, True]
    damping = 0.5 * (18 + 1) / 2
    torch.testing.assert_close(
        factor.upper_II.diagonal().square(), tensor([1 / (18 + damping), 1 / (1 + damping)])
    )


def test_features_of_equal_diagonal_keep_their_order():
    inputs = torch.diag(tensor([1.0, 2.0]).repeat(300))
    factor = filled(inputs).inverse_factor(0.01, by_activation=True)
    assert factor.order_I is not None
    assert factor.order_I.tolist() == [*range(1, 600, 2), *range(0, 600, 2)]


def test_factor_is_computed_once_per_damping_and_again_after_more_tokens():
    hessian = filled(random_inputs(50, 6))
    first = hessian.inverse_factor(0.01)
    assert hessian.inverse_factor(0.01) is first
    assert hessian.inverse_factor(0.1) is not first
    hessian.add(random_inputs(5, 6, seed=1))
    assert hessian.inverse_factor(0.01) is not first


def test_the_entries_off_the_diagonal_are_shrunk_before_anything_is_added_to_it():
    inputs = tensor([[2.0, 2.0], [0.0, 2.0]])  # H = 2 x x^T = [[8, 8], [8, 16]]
    factor = filled(inputs).inverse_factor(0.5, off_diagonal=0.25)
    damped = tensor([[8.0 + 6, 2], [2, 16 + 6]])  # half of the mean of 8 and 16
    torch.testing.assert_close(factor.upper_II.T @ factor.upper_II, torch.linalg.inv(damped))
    diagonal = filled(inputs).inverse_factor(0.5, off_diagonal=0).upper_II
    torch.testing.assert_close(diagonal, torch.diag(tensor([14.0, 22.0]).rsqrt()))


def test_factors_of_other_shares_of_the_off_diagonal_are_kept_apart():
    hessian = filled(random_inputs(50, 6))
    whole, half = (hessian.inverse_factor(0.01, off_diagonal=share) for share in (1, 0.5))
    assert hessian.inverse_factor(0.01) is whole
    assert hessian.inverse_factor(0.01, off_diagonal=0.5) is half and half is not whole


def test_failed_factorisation_is_retried_with_ten_times_the_damping():
    inputs = torch.ones(4, 3)  # rank 1, so singular without damping
    factor = filled(inputs).inverse_factor(0.0)
    assert factor.num_retries >= 1 and factor.damping == pytest.approx(
        1e-4 * 10 ** (factor.num_retries - 1)
    )
    damped = filled(inputs).hessian_II() + factor.damping * 8 * torch.eye(3)
    inverse = factor.upper_II.T @ factor.upper_II
    torch.testing.assert_close(inverse @ damped, torch.eye(3), rtol=0, atol=2e-2)
    assert filled(inputs).inverse_factor(0.01).num_retries == 0


def test_several_retries_add_up_to_the_damping_that_is_reported():
    hessian = filled(torch.eye(2))
    hessian._product_II = tensor([[1.0, 1.05], [1.05, 1.0]])  # eigenvalue -0.05
    factor = hessian.inverse_factor(0.001)
    assert factor.num_retries == 2 and factor.damping == pytest.approx(0.1)
    damped = tensor([[2.2, 2.1], [2.1, 2.2]])
    torch.testing.assert_close(factor.upper_II.T @ factor.upper_II, torch.linalg.inv(damped))


def test_undefined_hessian_is_an_error_and_never_another_method():
    with pytest.raises(ArithmeticError, match="not positive definite even with damping"):
        filled(tensor([[float("nan"), 1.0]])).inverse_factor(0.01)


def test_weighted_square_sum_is_the_output_norm():
    inputs, weight = random_inputs(20, 6), random_inputs(4, 6, seed=1)
    expected = float((inputs @ weight.T).square().sum())
    assert filled(inputs).weighted_square_sum(weight) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("sample_tokens", "expected"), [(100, 1100), (1024, 1024), (1500, 1500), (4000, 4000)]
)
@pytest.mark.parametrize("batch_samples", [1, 3])
def test_input_norm_measures_output_errors_on_its_first_whole_samples(
    sample_tokens, expected, batch_samples
):
    inputs, weight = random_inputs(12 * sample_tokens, 6), random_inputs(4, 6, seed=1)
    norm = InputNorm(6)
    for batch in inputs.split(batch_samples * sample_tokens):
        norm.add(batch, len(batch) // sample_tokens)
    first = inputs[:expected] @ weight.T
    assert norm.weighted_square_sum(weight) == pytest.approx(float(first.square().sum()), rel=1e-5)


def test_an_output_error_on_the_first_samples_is_near_that_on_all():
    weight = random_inputs(16, 32, seed=1)
    new = weight.masked_fill(weight.abs() < 0.67, 0)
    inputs = random_inputs(20_000, 32) @ random_inputs(32, 32, seed=2)
    norm, hessian = InputNorm(32), Hessian(32)
    for batch in inputs.split(100):
        norm.add(batch)
        hessian.add(batch)
    shares = [
        s.weighted_square_sum(weight - new) / s.weighted_square_sum(weight) for s in (norm, hessian)
    ]
    assert shares[0] == pytest.approx(shares[1], rel=0.05)


def test_statistics_leave_their_inputs_alone():
    inputs = random_inputs(5, 4)
    before = inputs.clone()
    filled(inputs).inverse_factor(0.01)
    InputNorm(4).add(inputs)
    assert torch.equal(inputs, before)


def test_reading_the_hessian_does_not_change_it():
    hessian = filled(tensor([[1.0, 0.0]]))
    hessian.inverse_factor(0.01)
    assert hessian.hessian_II().tolist() == [[2, 0], [0, 0]]


@pytest.mark.parametrize("found", ["highest", "high", "medium"])
def test_full_float32_restores_what_it_found(found):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(found)
    try:
        with pytest.raises(KeyError), full_float32():
            assert torch.get_float32_matmul_precision() == "highest"
            raise KeyError
        assert torch.get_float32_matmul_precision() == found
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_without_a_gpu_products_are_made_in_float32_whatever_is_allowed(dtype):
    inputs = random_inputs(60, 8).to(dtype)
    plain = filled(inputs)
    with allow_tensor_cores(True):
        allowed = filled(inputs)
    assert torch.equal(plain.hessian_II(), allowed.hessian_II())
    assert plain.products == allowed.products == "float32"
