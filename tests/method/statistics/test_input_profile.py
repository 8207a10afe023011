"""What AWQ keeps of a layer's inputs: magnitudes, products, evenly spaced tokens."""

from types import SimpleNamespace

import pytest
import torch
from helpers.random_layers import random_inputs
from torch import tensor

import calib_sweep.method.gpu
from calib_sweep.method.statistics import hessian
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_profile import InputProfile
from calib_sweep.method.statistics.statistic import TENSOR_CORES


def profile_of(inputs_TI, batch=None):
    profile = InputProfile(inputs_TI.shape[1])
    for rows_TI in inputs_TI.split(batch or len(inputs_TI)):
        profile.add(rows_TI)
    return profile


def test_by_hand():
    profile = profile_of(tensor([[1.0, -2.0, 0.0, 4.0], [-3.0, 0.0, 0.0, 4.0]]))
    assert profile.mean_magnitude_I().tolist() == [2, 1, 0, 4]
    assert profile.spaced_products_GCC(2).tolist() == [[[10, -2], [-2, 4]], [[0, 0], [0, 32]]]
    assert profile.weighted_square_sum(tensor([[1.0, 1.0, 1.0, 0.0]])) == 1 + 9


@pytest.mark.parametrize("num_tokens", [512, 1024, 4096])
def test_spaced_tokens_are_the_published_ones_where_the_spacing_is_a_power_of_two(num_tokens):
    inputs_TI = random_inputs(num_tokens)
    published_TI = inputs_TI[0 :: num_tokens // 512]
    assert torch.equal(profile_of(inputs_TI).spaced_TI(), published_TI)


@pytest.mark.parametrize(
    ("num_tokens", "step"), [(0, 1), (3, 1), (511, 1), (1023, 1), (1535, 2), (2047, 2), (2048, 4)]
)
def test_spaced_tokens_are_from_512_to_1024_or_all(num_tokens, step):
    inputs_TI = random_inputs(num_tokens)
    spaced_TI = profile_of(inputs_TI, batch=100).spaced_TI()
    assert torch.equal(spaced_TI, inputs_TI[::step])
    assert len(spaced_TI) == num_tokens or 512 <= len(spaced_TI) <= 1024


@pytest.mark.parametrize("batch", [1, 7, 640])
def test_the_split_into_batches_is_of_no_account(batch):
    inputs_TI = random_inputs(1300)
    whole, parts = profile_of(inputs_TI), profile_of(inputs_TI, batch)
    assert torch.equal(whole.spaced_TI(), parts.spaced_TI())
    torch.testing.assert_close(whole.mean_magnitude_I(), parts.mean_magnitude_I())
    weight_OI = random_inputs(5, seed=1)
    assert whole.weighted_square_sum(weight_OI) == pytest.approx(
        parts.weighted_square_sum(weight_OI)
    )
    assert whole.num_tokens == parts.num_tokens == 1300


@pytest.mark.parametrize("kind", [InputProfile, Hessian])
def test_inputs_divided_by_a_scale_give_the_statistic_of_the_divided_inputs(kind):
    inputs_TI, scale_I = random_inputs(1100), random_inputs(6, 1, seed=2).flatten().exp()
    divided, expected = kind(6), kind(6)
    divided.add(inputs_TI)
    divided.divide_inputs(scale_I)
    expected.add(inputs_TI / scale_I)
    weight_OI = random_inputs(5, seed=1)
    assert divided.weighted_square_sum(weight_OI) == pytest.approx(
        expected.weighted_square_sum(weight_OI), rel=1e-5
    )
    if kind is InputProfile:
        torch.testing.assert_close(divided.mean_magnitude_I(), expected.mean_magnitude_I())
        torch.testing.assert_close(divided.spaced_TI(), expected.spaced_TI())
    else:
        divided.inverse_factor(0.01)
        divided.divide_inputs(scale_I)  # what was factorised before is not of these inputs
        expected.divide_inputs(scale_I)
        torch.testing.assert_close(
            divided.inverse_factor(0.01).upper_II, expected.inverse_factor(0.01).upper_II
        )


def test_inputs_that_are_not_finite_are_seen_and_arguments_left_alone():
    inputs_TI = random_inputs(600)
    before_TI = inputs_TI.clone()
    profile = profile_of(inputs_TI)
    profile.divide_inputs(torch.full((6,), 2.0))
    assert torch.equal(inputs_TI, before_TI) and profile.is_finite()
    inputs_TI[3, 2] = float("nan")
    assert not profile_of(inputs_TI).is_finite()


@pytest.mark.parametrize("kind", [InputProfile, Hessian])
def test_where_tensor_cores_may_be_used_products_are_left_to_them(kind, monkeypatch):
    seen = []

    def add_gram(product_II, inputs_TI):
        seen.append(inputs_TI.dtype)
        product_II += inputs_TI.float().T @ inputs_TI.float()

    kernels = SimpleNamespace(add_gram=add_gram)  # the module itself needs Triton
    monkeypatch.setattr(calib_sweep.method.gpu, "kernels", kernels, raising=False)
    inputs_TI = random_inputs(600).half()
    plain, statistic = kind(6), kind(6)
    plain.add(inputs_TI)
    monkeypatch.setattr(hessian, "may_use_tensor_cores", lambda _: True)
    statistic.add(inputs_TI)
    assert seen == [torch.float16] and statistic.products == TENSOR_CORES
    weight_OI = random_inputs(5, seed=1)
    expected = plain.weighted_square_sum(weight_OI)
    assert statistic.weighted_square_sum(weight_OI) == pytest.approx(expected, rel=1e-5)
    if kind is InputProfile:
        torch.testing.assert_close(statistic.mean_magnitude_I(), plain.mean_magnitude_I())
        assert torch.equal(statistic.spaced_TI(), plain.spaced_TI())
