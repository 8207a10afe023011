"""Rounding and clipping of AWQ: by hand, and against loops in float64."""

import pytest
import torch
from torch import tensor

from calib_sweep.method.clipped_rounding import ClippedRounding, fit_range
from calib_sweep.method.statistics.input_profile import InputProfile


def method(**settings):
    given = {"bits": 4, "group_size": None, "symmetric": False, "clip_steps": 20, "max_shrink": 0.5}
    return ClippedRounding(**{**given, "scale_I": None, **settings})


def profile_of(inputs_TI):
    profile = InputProfile(inputs_TI.shape[1])
    profile.add(inputs_TI)
    return profile


def random_layer(num_out=8, num_in=32, num_tokens=700, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight_OI = torch.randn(num_out, num_in, generator=generator)
    weight_OI[:, ::7] *= 5  # so that clipping has something to clip
    inputs_TI = torch.randn(num_tokens, num_in, generator=generator)
    inputs_TI[:, ::7] *= 0.1
    return weight_OI, inputs_TI


def rounded(values, bits=4, symmetric=False):
    return fit_range(tensor(values), bits, None, symmetric).round(tensor(values)).tolist()


def test_rounding_by_hand():
    # Range 15, 15 steps of 1 from -3: zero point 3. Half to even: 0.5 -> 0, 1.5 -> 2.
    assert rounded([[-3.0, 0.5, 1.5, 12.0]]) == [[-3, 0, 2, 12]]
    # All above zero: the zero point would be -10, is 0, and what is above the range is clipped.
    assert rounded([[10.0, 12.2, 25.0]]) == [[10, 12, 15]]
    # All below: the zero point would be 25, is 15, and what is below the range is clipped.
    assert rounded([[-10.0, -12.2, -25.0]]) == [[-10, -12, -15]]
    # Symmetric: seven steps of 1 on either side, one more below.
    assert rounded([[-3.4, 0.6, 7.0]], symmetric=True) == [[-3, 1, 7]]


def test_a_group_without_a_range_keeps_the_smallest_one():
    step = 1e-5 / 15
    assert rounded([[0.0, 0.0]]) == [[0, 0]]
    assert rounded([[1.0, 1.0]])[0] == pytest.approx([15 * step] * 2)  # the published quirk


def slow_round(weights, bits, symmetric):
    """The grid of a group of numbers in float64, as a function."""
    levels = 2**bits - 1
    if symmetric:
        scale = max(max(abs(w) for w in weights), 1e-5) / (2 ** (bits - 1) - 1)
        zero = 2 ** (bits - 1)
    else:
        scale = max(max(weights) - min(weights), 1e-5) / levels
        zero = min(max(-round(min(weights) / scale), 0), levels)
    return [scale * (min(max(round(w / scale) + zero, 0), levels) - zero) for w in weights]


def slow_clip(weights, tokens, bits, symmetric):
    """Search of one group in float64, tokens one by one; the rounded weights and their error."""
    highest, best, found = max(abs(w) for w in weights), None, None
    for step in range(10):
        limit = highest * (1 - step / 20)
        new = slow_round([min(max(w, -limit), limit) for w in weights], bits, symmetric)
        error = sum(
            sum((w - v) * x for w, v, x in zip(weights, new, token, strict=True)) ** 2
            for token in tokens
        )
        if best is None or error < best:
            best, found = error, new
    return found, best


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("bits", "group_size"), [(3, 8), (4, 16), (2, None)])
def test_agrees_with_loops_over_tokens(bits, group_size, symmetric):
    weight_OI, inputs_TI = random_layer(num_out=4)
    new = method(bits=bits, group_size=group_size, symmetric=symmetric).compress_weight(
        weight_OI, profile_of(inputs_TI)
    )
    size, num_clipped = group_size or 32, 0
    for start in range(0, 32, size):
        columns = slice(start, start + size)
        tokens = inputs_TI[:, columns].tolist()  # fewer than 1024: all of them
        for row in range(4):
            weights = weight_OI[row, columns].tolist()
            expected, _ = slow_clip(weights, tokens, bits, symmetric)
            assert new.weight_OI[row, columns].tolist() == pytest.approx(expected, abs=1e-5)
            num_clipped += expected != pytest.approx(slow_round(weights, bits, symmetric))
    assert num_clipped > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("group_size", [8, None])
def test_clipping_never_adds_to_the_error_of_a_group(seed, group_size):
    weight_OI, inputs_TI = random_layer(seed=seed)
    profile = profile_of(inputs_TI)
    clipped = method(group_size=group_size).compress_weight(weight_OI, profile)
    plain = method(group_size=group_size, max_shrink=0.0).compress_weight(weight_OI, profile)
    size = group_size or 32
    inputs_TGC = inputs_TI.unflatten(1, (-1, size))
    errors = [
        torch.einsum(
            "ogc,tgc->tog", (weight_OI - new.weight_OI).unflatten(1, (-1, size)), inputs_TGC
        )
        .square()
        .sum(dim=0)
        for new in (clipped, plain)
    ]
    assert (errors[0] <= errors[1] * (1 + 1e-5)).all() and (errors[0] < errors[1]).any()


def test_what_is_not_clipped_is_rounded_and_no_more():
    weight_OI, inputs_TI = random_layer()
    new = method(group_size=8, max_shrink=0.0).compress_weight(weight_OI, profile_of(inputs_TI))
    expected = fit_range(weight_OI, 4, 8, False).round(weight_OI)
    assert torch.equal(new.weight_OI, expected)
    assert new.bits == 4 + 20 / 8 and new.note is None
    assert new.grid is not None and torch.equal(new.grid.round(weight_OI), expected)


def test_without_a_token_nothing_is_clipped_and_the_report_says_so():
    weight_OI, _ = random_layer()
    new = method(group_size=8).compress_weight(weight_OI, InputProfile(32))
    expected = fit_range(weight_OI, 4, 8, False).round(weight_OI)
    assert torch.equal(new.weight_OI, expected)
    assert new.note == "no calibration token reached this layer: rounded without clipping"
    kept = method(group_size=8, scale_I=torch.ones(32))
    note = kept.compress_weight(weight_OI, InputProfile(32)).note or ""
    assert "stays in the weights" in note and note.endswith(new.note)


def test_dead_features_are_reported_and_take_part_in_the_grid_alone():
    weight_OI, inputs_TI = random_layer()
    inputs_TI[:, [3, 20]] = 0
    new = method(group_size=8).compress_weight(weight_OI, profile_of(inputs_TI))
    assert new.note == "2 dead input features, whose error counts for nothing"
    assert new.grid is not None and torch.isfinite(new.weight_OI).all()
    torch.testing.assert_close(new.grid.round(new.weight_OI), new.weight_OI)
    kept = method(group_size=8, scale_I=torch.ones(32))
    note = kept.compress_weight(weight_OI, profile_of(inputs_TI)).note or ""
    assert "stays in the weights" in note and note.endswith(new.note)


def test_a_scale_kept_in_the_weights_is_the_scale_moved_out_of_the_inputs():
    weight_OI, inputs_TI = random_layer()
    scale_I = torch.linspace(0.5, 3, 32)
    kept = method(group_size=8, scale_I=scale_I).compress_weight(weight_OI, profile_of(inputs_TI))
    moved = method(group_size=8).compress_weight(
        weight_OI * scale_I, profile_of(inputs_TI / scale_I)
    )
    torch.testing.assert_close(kept.weight_OI, moved.weight_OI / scale_I)
    assert kept.bits == moved.bits + 16 / 8 and "stays in the weights" in (kept.note or "")
    assert moved.note is None and moved.grid is not None and kept.grid is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_worked_on_in_float32_and_arguments_left_alone(dtype):
    weight_OI, inputs_TI = random_layer()
    half_OI, profile = weight_OI.to(dtype), profile_of(inputs_TI)
    before_OI, spaced_TI = half_OI.clone(), profile.spaced_TI().clone()
    new = method(group_size=8).compress_weight(half_OI, profile).weight_OI
    exact = method(group_size=8).compress_weight(half_OI.float(), profile).weight_OI
    assert new.dtype == dtype and torch.equal(new, exact.to(dtype))
    assert torch.equal(half_OI, before_OI) and torch.equal(profile.spaced_TI(), spaced_TI)
