"""Inputs as floating-point numbers, against hand-computed tokens and a slow reference."""

import math

import pytest
import torch
from helpers.random_layers import correlated_inputs

from calib_sweep.activations.floats import FP8Inputs, MXFP4Inputs, NVFP4Inputs
from calib_sweep.errors import ConfigError
from calib_sweep.method.grids.float_formats import FP8, MXFP4, NVFP4

E2M1 = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
E4M3 = sorted(
    {(1 + m / 8) * 2.0**e for e in range(-6, 9) for m in range(8) if (1 + m / 8) * 2.0**e <= 448}
    | {m * 2.0**-9 for m in range(8)}
)
FORMS = {
    "fp8": FP8Inputs(name="fp8", scaling="dynamic"),
    "fp8 static": FP8Inputs(name="fp8", scaling="static"),
    "mxfp4": MXFP4Inputs(name="mxfp4", scale_rule="ocp"),
    "mxfp4 four_thirds": MXFP4Inputs(name="mxfp4", scale_rule="four_thirds"),
    "nvfp4": NVFP4Inputs(name="nvfp4", scaling="static"),
    "nvfp4 dynamic": NVFP4Inputs(name="nvfp4", scaling="dynamic"),
}


def quantized(form, inputs, seen=None):
    statistic = None
    if form.statistic is not None:
        statistic = form.statistic(inputs.shape[-1])
        statistic.add((inputs if seen is None else seen).reshape(-1, inputs.shape[-1]))
    return form.quantizer(statistic)(inputs)


def nearest(value, numbers):
    """Of two that are as near, the one at an even place: its mantissa is even."""
    number = min(numbers, key=lambda n: (abs(n - abs(value)), numbers.index(n) % 2))
    return math.copysign(number, value)


def reference(row, name, everything):
    """One token, number by number, float64; `everything`: the largest input that was seen."""
    row = [float(x) for x in row]
    if name.startswith("fp8"):
        scale = (everything if "static" in name else max(map(abs, row))) / 448
        return [nearest(x / scale, E4M3) * scale for x in row]
    size, out = (32 if name.startswith("mxfp4") else 16), []
    factor = 448 * 6 / (max(map(abs, row)) if "dynamic" in name else everything)
    for start in range(0, len(row), size):
        group = row[start : start + size]
        largest = max(map(abs, group))
        if size == 32:
            scale = 2.0 ** (math.floor(math.log2(largest)) - 2)
            scale *= 4 / 3 if "four" in name else 1
        else:
            scale = nearest(largest / 6 * factor, E4M3) / factor
        out += [nearest(x / scale, E2M1) * scale for x in group]
    return out


@pytest.mark.parametrize("name", FORMS)
def test_the_formulas(name):
    x_TI = correlated_inputs(12, 64, seed=5)
    got_TI = quantized(FORMS[name], x_TI)
    largest = float(x_TI.abs().max())
    expected_TI = torch.tensor([reference(row, name, largest) for row in x_TI.tolist()])
    # A tie of float64 may fall to the other side in float32.
    is_near = (got_TI - expected_TI).abs() <= 1e-5 * largest
    assert float(is_near.float().mean()) > 0.99
    assert not torch.allclose(got_TI, x_TI)


def test_a_token_by_hand():
    row = torch.zeros(1, 32)
    row[0, :4] = torch.tensor([7.0, -2.4, 0.3, 0.24])
    # A power of two: 7 lies in [4, 8), so a scale of 1, and 7 is clipped to 6.
    assert quantized(FORMS["mxfp4"], row)[0, :4].tolist() == [6.0, -2.0, 0.5, 0.0]
    # 4/3: 7 / (4/3) = 5.25 rounds to 6, so 8; 2.4 / (4/3) = 1.8 to 2; 0.3 / (4/3) = 0.225 to 0.
    assert quantized(FORMS["mxfp4 four_thirds"], row)[0, :4].tolist() == pytest.approx(
        [8.0, -8 / 3, 0.0, 0.0]
    )
    # Steps of 7/6: 7 itself is kept, 2.4 is 2.057 steps: 2; 0.3 is 0.257 steps: half of one.
    assert quantized(FORMS["nvfp4"], row)[0, :4].tolist() == pytest.approx(
        [7.0, -7 / 3, 7 / 12, 0.0]
    )
    # 1.5 * 448 / 64 = 10.5 lies between 10 and 11: 10 has the even mantissa. The largest is kept.
    fp8 = torch.tensor([[64.0, 1.5, -0.01]])
    assert quantized(FORMS["fp8"], fp8)[0].tolist() == pytest.approx(
        [64.0, 10 * 64 / 448, -0.0703125 * 64 / 448]
    )


@pytest.mark.parametrize(
    ("name", "grid"),
    [("fp8", FP8()), ("mxfp4", MXFP4()), ("mxfp4 four_thirds", MXFP4(scale_rule="four_thirds"))],
)
def test_a_token_is_rounded_as_a_row_of_weights_is(name, grid):
    x_TI = correlated_inputs(9, 64, seed=1)
    assert torch.equal(quantized(FORMS[name], x_TI), grid.fit(x_TI).round(x_TI))


def test_the_factor_of_nvfp4_is_that_of_all_that_was_seen():
    seen_TI, x_TI = correlated_inputs(20, 32, seed=2), correlated_inputs(5, 32, seed=3)
    grid = NVFP4(tensor_factor=NVFP4().factor_of([seen_TI]))
    assert torch.equal(quantized(FORMS["nvfp4"], x_TI, seen_TI), grid.fit(x_TI).round(x_TI))
    alone = [NVFP4().fit(row).round(row) for row in x_TI.split(1)]
    assert torch.equal(quantized(FORMS["nvfp4 dynamic"], x_TI), torch.cat(alone))


def test_what_is_larger_than_all_that_was_seen_is_clipped():
    seen_TI = torch.full((1, 32), 2.0)
    loud_TI = torch.full((1, 32), 200.0)
    for name in ("fp8 static", "nvfp4"):
        assert torch.equal(quantized(FORMS[name], loud_TI, seen_TI), seen_TI)
    for name in ("fp8", "nvfp4 dynamic"):
        torch.testing.assert_close(quantized(FORMS[name], loud_TI), loud_TI)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_token_by_itself_in_its_dtype_and_zeros_stay(name, dtype):
    x_TI = correlated_inputs(6, 64, seed=0).to(dtype)
    x_TI[1] = 0
    before = x_TI.clone()
    whole = quantized(FORMS[name], x_TI.reshape(2, 3, 64), x_TI)
    assert whole.dtype == dtype and torch.equal(x_TI, before)
    alone = torch.cat([quantized(FORMS[name], row, x_TI) for row in x_TI.split(1)])
    assert torch.equal(whole.reshape(6, 64), alone)
    assert not bool(alone[1].any()) and bool(torch.isfinite(alone).all())


@pytest.mark.parametrize("name", FORMS)
def test_an_input_that_overflowed_is_seen(name):
    x_TI = correlated_inputs(3, 64, seed=0)
    seen, x_TI[1, 2] = x_TI.clone(), torch.nan
    assert bool(torch.isnan(quantized(FORMS[name], x_TI, seen)[1, 2]))


@pytest.mark.parametrize(("name", "length"), [("mxfp4", 32), ("nvfp4", 16)])
def test_groups_have_to_fill_the_inputs(name, length):
    FORMS[name].check_shape("block 0 up_proj", 3 * length)
    with pytest.raises(ConfigError, match=rf"activations='{name}': .* not groups of {length}"):
        FORMS[name].check_shape("block 0 up_proj", 3 * length + 8)


def test_what_is_wrong_is_told():
    for kind, name in ((FP8Inputs, "fp8"), (NVFP4Inputs, "nvfp4")):
        with pytest.raises(ConfigError, match=r"activations\.scaling='on': expected dynamic"):
            kind(name=name, scaling="on")
    with pytest.raises(ConfigError, match=r"activations\.scale_rule='x': expected ocp or four"):
        MXFP4Inputs(name="mxfp4", scale_rule="x")
    assert not MXFP4Inputs.reads_data({"scale_rule": "ocp"})
    assert NVFP4Inputs.reads_data({"scaling": "static"})
