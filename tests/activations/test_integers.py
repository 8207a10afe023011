"""Inputs as integers, against hand-computed numbers and a slow reference in float64."""

import math

import pytest
import torch
from helpers.random_layers import correlated_inputs

from calib_sweep.activations.integers import IntegerInputs
from calib_sweep.errors import ConfigError
from calib_sweep.method.statistics.input_range import InputRange


def integers(bits=8, symmetric=True, clip_ratio=1.0, scaling="dynamic"):
    return IntegerInputs(
        name="int", bits=bits, symmetric=symmetric, clip_ratio=clip_ratio, scaling=scaling
    )


def quantized(settings, inputs, seen=None):
    statistic = None
    if settings.statistic is not None:
        statistic = settings.statistic(inputs.shape[-1])
        statistic.add(seen if seen is not None else inputs)
    return settings.quantizer(statistic)(inputs)


def reference(row, low, high, settings):
    """The formulas of the file's head, number by number."""
    bits, ratio = settings.bits, settings.clip_ratio
    low, high = min(low, 0.0), max(high, 0.0)
    if settings.symmetric:
        largest = 2 ** (bits - 1) - 1
        scale = max(ratio * max(-low, high), 1e-5) / largest
        return [scale * min(max(round(x / scale), -largest - 1), largest) for x in row]
    highest = 2**bits - 1
    scale = max(ratio * (high - low), 1e-5) / highest
    zero_point = round(-ratio * low / scale)
    codes = [min(max(round(x / scale) + zero_point, 0), highest) for x in row]
    return [scale * (code - zero_point) for code in codes]


def test_a_token_by_hand():
    row = torch.tensor([[-1.0, 0.3, 0.5, 7.0]])
    # 4 bits, symmetric: steps of 7 / 7 = 1; 0.5 goes to the even neighbour, 0.
    assert quantized(integers(4), row).tolist() == [[-1.0, 0.0, 0.0, 7.0]]
    # 2 bits, symmetric: codes -2 to 1, steps of 7.
    assert quantized(integers(2), row).tolist() == [[0.0, 0.0, 0.0, 7.0]]
    # 3 bits, not symmetric: steps of 8 / 7, zero at code round(7 / 8) = 1.
    assert quantized(integers(3, symmetric=False), row)[0].tolist() == pytest.approx(
        [-8 / 7, 0.0, 0.0, 48 / 7]
    )
    # Half of the range: steps of 0.5, and 7 is clipped to 3.5.
    assert quantized(integers(4, clip_ratio=0.5), row).tolist() == [[-1.0, 0.5, 0.5, 3.5]]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("clip_ratio", [0.9, 1.0])
@pytest.mark.parametrize("scaling", ["dynamic", "static"])
def test_the_formulas(bits, symmetric, clip_ratio, scaling):
    settings = integers(bits, symmetric, clip_ratio, scaling)
    x_TI = correlated_inputs(20, 16, seed=1)
    got_TI = quantized(settings, x_TI)
    ends = [(float(x_TI.min()), float(x_TI.max()))] * len(x_TI)
    if scaling == "dynamic":
        ends = [(min(row), max(row)) for row in x_TI.tolist()]
    expected = [
        reference(row, *end, settings) for row, end in zip(x_TI.tolist(), ends, strict=True)
    ]
    step = (max(high - low for low, high in ends)) / (2**bits - 1)
    # A tie of float64 may fall to the other side in float32: one step, rarely.
    differences = (got_TI.double() - torch.tensor(expected, dtype=torch.float64)).abs()
    assert (
        float(differences.max()) < 1.2 * step and float((differences < 1e-4).float().mean()) > 0.99
    )


def test_sixteen_bits_leave_inputs_as_they_are():
    for scaling in ("dynamic", "static"):
        settings = integers(16, scaling=scaling)
        assert settings.statistic is None and settings.quantizer(None) is None
        assert not IntegerInputs.reads_data({"bits": 16, "scaling": scaling})


def test_more_bits_come_nearer():
    x_TI = correlated_inputs(50, 32, seed=0)
    errors = [float((quantized(integers(bits), x_TI) - x_TI).norm()) for bits in range(2, 9)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.02 * float(x_TI.norm())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_and_shape_stay(dtype):
    x_BTI = correlated_inputs(6, 8, seed=0).to(dtype).reshape(2, 3, 8)
    before = x_BTI.clone()
    for scaling in ("dynamic", "static"):
        settings = integers(scaling=scaling)
        seen = x_BTI.reshape(6, 8)
        got = quantized(settings, x_BTI, seen)
        assert got.dtype == dtype and got.shape == x_BTI.shape
    assert torch.equal(x_BTI, before)


def test_every_token_is_quantised_by_itself():
    x_TI = correlated_inputs(9, 8, seed=3)
    settings = integers(4)
    alone = torch.cat([quantized(settings, row) for row in x_TI.split(1)])
    assert torch.equal(quantized(settings, x_TI), alone)
    assert torch.equal(quantized(settings, x_TI.reshape(3, 3, 8)), alone.reshape(3, 3, 8))


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_token_of_zeros_stays_and_one_that_overflowed_is_seen(symmetric):
    settings = integers(4, symmetric)
    assert torch.equal(quantized(settings, torch.zeros(2, 8)), torch.zeros(2, 8))
    row = torch.tensor([[1.0, math.inf, -1.0]])
    assert not bool(torch.isfinite(quantized(settings, row)).all())


def test_static_scales_are_of_the_tokens_that_were_seen_and_clip_others():
    seen = torch.tensor([[-1.0, 0.5], [7.0, 0.0]])
    got = quantized(
        integers(4, scaling="static"), torch.tensor([[100.0, 0.6], [-100.0, 2.4]]), seen
    )
    assert got.tolist() == [[7.0, 1.0], [-8.0, 2.0]]


def test_input_range():
    x_TI = correlated_inputs(30, 8, seed=2)
    whole, first, second = InputRange(8), InputRange(8), InputRange(8)
    whole.add(x_TI, num_samples=3)
    first.add(x_TI[:20], num_samples=2)
    second.add(x_TI[20:], weights_T=torch.full((10,), 0.25))
    assert torch.equal(whole.low_I(), x_TI.amin(0)) and torch.equal(whole.high_I(), x_TI.amax(0))
    first.merge(second)
    assert torch.equal(first.low_I(), whole.low_I()) and torch.equal(first.high_I(), whole.high_I())
    assert torch.equal(whole.magnitude_I(), x_TI.abs().amax(0))
    assert torch.equal(InputRange(8).magnitude_I(), torch.zeros(8))
    scale_I, divided = torch.arange(1.0, 9.0), InputRange(8)
    divided.add(x_TI / scale_I, num_samples=3)
    whole.divide_inputs(scale_I)
    weight_OI = torch.ones(2, 8)
    for got, expected in (
        (whole.low_I(), divided.low_I()),
        (whole.norm_I(), divided.norm_I()),
        (whole.weighted_square_sum(weight_OI), divided.weighted_square_sum(weight_OI)),
    ):
        torch.testing.assert_close(got, expected)


def test_what_is_wrong_is_told_together():
    with pytest.raises(ConfigError) as raised:
        IntegerInputs(name="int", bits=9, symmetric=1, clip_ratio=0, scaling="on")
    assert [problem.split("=")[0] for problem in raised.value.problems] == [
        f"activations.{key}" for key in ("bits", "symmetric", "clip_ratio", "scaling")
    ]
