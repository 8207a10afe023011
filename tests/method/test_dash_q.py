"""DASH-Q: its formulas in Python numbers, cases by hand, properties, what its paper leaves out."""

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.least_squares import deficient
from helpers.random_layers import correlated_inputs, norms, random_weight
from helpers.shipped import output_error
from torch import tensor

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method import dash_q as module
from calib_sweep.method.dash_q import DashQ
from calib_sweep.method.rtn import RTN
from calib_sweep.method.statistics.importance import importance_of

DEFAULTS = {"bits": 4, "group_size": None, "iterations": 9, "step": 0.5, "ridge": 0.01}


def dash_q(**settings):
    return DashQ(**{**DEFAULTS, **settings})


def rounded(weight, inputs, **settings):
    return dash_q(**settings).compress_weight(weight, norms(inputs)).weight_OI


# The slow reference: one group of one row at a time, float64.


def slow_group(w, h, method):
    """The rounded weights of a group, and the least distance of any code from a tie."""
    top, total = 2**method.bits - 1, sum(h)
    p = [value / total if total else 1 / len(h) for value in h]

    def mean(values):
        return sum(share * value for share, value in zip(p, values, strict=True))

    def codes(scale, offset):
        return [min(max(round((value + offset) / scale), 0), top) for value in w]

    scale, offset, margin = max((max(w) - min(w)) / top, 1e-8), -min(w), 0.5
    mean_w = mean(w)
    for _ in range(method.iterations):
        q = codes(scale, offset)
        margin = min(margin, *(distance_from_tie((value + offset) / scale) for value in w))
        mean_q = mean(q)
        covariance = mean((a - mean_w) * (b - mean_q) for a, b in zip(w, q, strict=True))
        variance = mean((b - mean_q) ** 2 for b in q)
        new_scale = max(covariance / (variance + method.ridge), 1e-8)
        new_offset = new_scale * mean_q - mean_w
        scale = method.step * new_scale + (1 - method.step) * scale
        offset = method.step * new_offset + (1 - method.step) * offset
    margin = min(margin, *(distance_from_tie((value + offset) / scale) for value in w))
    return [scale * q - offset for q in codes(scale, offset)], margin


def distance_from_tie(position):
    return abs(abs(position - round(position)) - 0.5)


def slow_dash_q(weight, inputs, method):
    h = inputs.double().square().sum(dim=0).tolist()
    size = method.group_size or len(h)
    rows, margins = [], []
    for row in weight.double().tolist():
        new, nearest = [], 0.5
        for start in range(0, len(row), size):
            part = slice(start, start + size)
            values, margin = slow_group(row[part], h[part], method)
            new += values
            nearest = min(nearest, margin)
        rows.append(new)
        margins.append(nearest)
    return tensor(rows, dtype=torch.float64), tensor(margins)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bits": 2, "group_size": 8},
        {"bits": 3, "group_size": 10},  # the last group is of 4 columns
        {"bits": 8, "group_size": 12, "iterations": 3},
        {"bits": 2, "group_size": 1},
        {"bits": 2, "group_size": 100},  # wider than the row
        {"bits": 2, "step": 1, "iterations": 1, "ridge": 1.0},
        {"bits": 2, "step": 0.1, "group_size": 8, "iterations": 20},
    ],
    ids=str,
)
@pytest.mark.parametrize("num_tokens", [1, 10, 80])
def test_equals_the_formulas_in_python_numbers(settings, num_tokens):
    weight, inputs = random_weight(24, 24), correlated_inputs(num_tokens, 24)
    if num_tokens == 10:
        inputs = deficient(inputs)  # dead and equal features
    method = dash_q(**settings)
    slow, margin = slow_dash_q(weight, inputs, method)
    clear = margin > 1e-5
    assert clear.double().mean() > 0.8
    new = method.compress_weight(weight, norms(inputs)).weight_OI
    torch.testing.assert_close(new[clear].double(), slow[clear], rtol=1e-4, atol=1e-5)


def test_2_by_4_by_hand():
    # Two bits, one row as a group, h = (1, 1, 1, 1), one full step, no ridge to speak of.
    # Row 0: 0, 1, 2, 3.3: s = 1.1, z = 0; codes 0, 1, 2, 3. E[w] = 1.575, E[q] = 1.5,
    # covariance (1.575 * 1.5 + .575 * .5 + .425 * .5 + 1.725 * 1.5) / 4 = 1.3625, variance 1.25:
    # s = 1.09, z = 1.635 - 1.575 = .06. Codes stay; s q - z = -.06, 1.03, 2.12, 3.21.
    # Row 1: 0, 0, 0, 4: s = 4/3; codes 0, 0, 0, 3; covariance 2.25, variance 1.6875: s = 4/3.
    weight = tensor([[0.0, 1.0, 2.0, 3.3], [0.0, 0.0, 0.0, 4.0]])
    new = rounded(weight, torch.eye(4), bits=2, iterations=1, step=1, ridge=1e-9)
    expected = tensor([[-0.06, 1.03, 2.12, 3.21], [0.0, 0.0, 0.0, 4.0]])
    torch.testing.assert_close(new, expected, rtol=0, atol=1e-6)


def test_the_ridge_is_added_to_the_variance_of_codes_and_half_a_step_goes_half_the_way():
    # Row 1 of above: s' = 2.25 / (1.6875 + .1125) = 1.25, z' = 1.25 * .75 - 1 = -.0625.
    # Half the way from 4/3 and 0: s = 1.2917, z = -.03125. Codes (w + z) / s: 0, 0, 0, 3.
    weight = tensor([[0.0, 0.0, 0.0, 4.0]])
    new = rounded(weight, torch.eye(4), bits=2, iterations=1, ridge=0.1125)
    scale = (4 / 3 + 1.25) / 2
    expected = tensor([[0.03125, 0.03125, 0.03125, 3 * scale + 0.03125]])
    torch.testing.assert_close(new, expected, rtol=0, atol=1e-6)


def test_a_feature_that_inputs_use_more_is_rounded_better():
    weight, inputs = random_weight(64, 32), torch.eye(32)
    even = rounded(weight, inputs, bits=2)
    inputs[5, 5] = 30.0
    uneven = rounded(weight, inputs, bits=2)
    errors = [(new - weight)[:, 5].square().mean() for new in (even, uneven)]
    assert errors[1] < 0.05 * errors[0]


def test_only_the_diagonal_counts_and_its_scale_does_not():
    weight, inputs = random_weight(8, 16), correlated_inputs(50, 16)
    diagonal = inputs.square().sum(dim=0).sqrt().diag()
    new = rounded(weight, inputs, bits=2)
    torch.testing.assert_close(rounded(weight, diagonal, bits=2), new, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(rounded(weight, 1e3 * inputs, bits=2), new, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_it_leaves_less_weighted_error_than_min_max_grids(bits):
    """On the diagonal alone, which is what it minimises; and the start is such a grid."""
    for seed in range(6):
        weight, inputs = random_weight(16, 64, seed), correlated_inputs(200, 64, seed)
        power = inputs.square().mean(dim=0)
        nearest = RTN(bits=bits, group_size=16, symmetric=False).compress_weight(weight, None)
        new = rounded(weight, inputs, bits=bits, group_size=16)
        errors = [((w - weight).square() * power).sum() for w in (new, nearest.weight_OI)]
        assert errors[0] < errors[1]


def test_rows_groups_and_how_many_are_fitted_at_once_do_not_know_of_each_other(monkeypatch):
    weight, inputs = random_weight(20, 24), correlated_inputs(60, 24)
    whole = rounded(weight, inputs, bits=3, group_size=8)
    parts = [rounded(weight[:, c : c + 8], inputs[:, c : c + 8], bits=3) for c in (0, 8, 16)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(module, "ON_CPU", 3 * 24)
    assert torch.equal(rounded(weight, inputs, bits=3, group_size=8), whole)
    monkeypatch.setattr(module, "ON_CPU", 1)
    assert torch.equal(rounded(weight, inputs, bits=3, group_size=8), whole)


def test_a_group_of_dead_features_is_fitted_to_all_its_weights_alike():
    weight, inputs = random_weight(8, 16), correlated_inputs(50, 16)
    inputs[:, 8:] = 0
    new = dash_q(bits=3, group_size=8).compress_weight(weight, norms(inputs))
    alike = rounded(weight[:, 8:], torch.eye(8), bits=3)
    torch.testing.assert_close(new.weight_OI[:, 8:], alike)
    assert new.note == "8 dead input features, whose errors do not count"


def test_a_layer_without_tokens_is_fitted_to_all_weights_alike_and_reported():
    weight = random_weight(8, 16)
    new = dash_q(bits=3).compress_weight(weight, norms(num_in=16))
    torch.testing.assert_close(new.weight_OI, rounded(weight, torch.eye(16), bits=3))
    assert new.note is not None and "no calibration token reached this layer" in new.note


def test_a_group_of_equal_weights_keeps_them():
    weight = torch.full((2, 8), 0.3)
    torch.testing.assert_close(rounded(weight, torch.eye(8), bits=2), weight, rtol=1e-5, atol=0)


def test_zero_need_not_be_on_a_grid_and_bits_count_scale_and_offset_in_half_precision():
    weight = random_weight(4, 32).abs() + 5
    new = dash_q(bits=2, group_size=8).compress_weight(weight, norms(correlated_inputs(50, 32)))
    assert float((new.weight_OI - weight).abs().max()) < 1 and new.bits == 2 + (16 + 16) / 8
    assert new.grid is None and new.damping is None
    shorter = dash_q(bits=2, group_size=24).compress_weight(weight, norms(num_in=32))
    assert shorter.bits == 2 + 2 * (16 + 16) / 32  # two groups of a row


def test_it_computes_in_float32_and_keeps_the_dtype_and_its_arguments():
    weight, inputs = random_weight(6, 16), correlated_inputs(40, 16)
    kept = weight.half().clone()
    new = dash_q(bits=3).compress_weight(weight.half(), norms(inputs)).weight_OI
    expected = rounded(weight.half().float(), inputs, bits=3).half()
    assert new.dtype == torch.float16 and torch.equal(new, expected)
    assert torch.equal(weight.half(), kept)


def test_importance_by_hand():
    statistic = norms(tensor([[1.0, 2.0, 0.0], [1.0, 0.0, 0.0]]))  # sums of squares 2, 4, 0
    assert torch.equal(importance_of(statistic), tensor([1.0, 2.0, 0.0]))
    assert torch.equal(importance_of(norms(torch.zeros(2, 3))), torch.ones(3))


def test_it_is_not_saved_in_packed_form():
    with pytest.raises(ConfigError, match=r"compressed-tensors.*this one is DashQ"):
        dash_q().grid_format()


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"bits": 1}, r"method\.bits=1.*from 2 to 8"),
        ({"group_size": 0}, r"method\.group_size=0"),
        ({"iterations": 0}, r"method\.iterations=0.*iterations=9"),
        ({"step": 0}, r"method\.step=0.*above 0, at most 1"),
        ({"step": 1.5}, r"method\.step=1\.5"),
        ({"ridge": 0}, r"method\.ridge=0.*above 0"),
        ({"ridge": "much"}, r"method\.ridge='much'"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, phrase):
    with pytest.raises(ConfigError, match=phrase):
        dash_q(**settings)


def test_walk_leaves_less_output_error_than_rounding_to_nearest_at_two_bits():
    tokens = random_tokens(4, 24)
    reports = compress(tiny_model(), dash_q(bits=2, group_size=16), tokens)
    nearest = compress(tiny_model(), dash_q(bits=2, group_size=16, step=1e-9), tokens)
    assert all(report.bits == 4 for report in reports)
    # Later blocks see other inputs in the two models; the first block's are the same.
    pairs = [(a.output_error, b.output_error) for a, b in zip(reports, nearest, strict=True)][:7]
    assert sum(a < b for a, b in pairs) >= 6 and sum(a for a, _ in pairs) < sum(b for _, b in pairs)


def test_error_on_correlated_inputs_falls_too():
    weight, inputs = random_weight(32, 128), correlated_inputs(300, 128)
    nearest = RTN(bits=2, group_size=32, symmetric=False).compress_weight(weight, None).weight_OI
    new = rounded(weight, inputs, bits=2, group_size=32)
    assert output_error(weight, new, inputs) < 0.9 * output_error(weight, nearest, inputs)
