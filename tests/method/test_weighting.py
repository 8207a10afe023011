"""Scales searched by errors that count where inputs are strong, in `rtn` and `gptq`."""

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.random_layers import correlated_inputs, hessian_of, norms, random_weight
from helpers.slow_floats import FP4, slow_snap
from helpers.slow_grids import slow_grid, slow_round
from torch import tensor

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.gptq import GPTQ
from calib_sweep.method.grids.float_grid import Groups
from calib_sweep.method.grids.floats import E2M1
from calib_sweep.method.grids.grid_search import search_grid
from calib_sweep.method.rtn import RTN
from calib_sweep.method.statistics.input_norm import InputNorm

RTN_DEFAULTS = {"bits": 4, "group_size": None, "symmetric": False, "weighting": "inputs"}
GPTQ_DEFAULTS = {
    **RTN_DEFAULTS,
    "mse": False,
    "act_order": False,
    "static_groups": False,
    "group_fit": "published",
    "damping": 0.01,
    "off_diagonal": 1,
    "block_size": 128,
}


def rtn(**settings):
    return RTN(**{**RTN_DEFAULTS, **settings})


def gptq(**settings):
    return GPTQ(**{**GPTQ_DEFAULTS, **settings})


def slow_search(values, importance, bits, symmetric):
    """(scale, zero point, lead over the next best) of a group, in Python numbers.

    The lead is relative: a search that float32 sums could decide the other way is no test.
    """
    scale, zero = slow_grid(values, bits, symmetric)
    errors = []
    for step in range(20):
        share = 1 - step / 20
        grid = share * scale, zero
        parts = [
            m * abs(slow_round(v, grid, bits) - v) ** 3
            for v, m in zip(values, importance, strict=True)
        ]
        errors.append((sum(parts), step, grid))
    (best, _, grid), (second, _, _), *_ = sorted(errors)
    return *grid, (second - best) / max(second, 1e-30)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("group_size", [None, 8, 10])
def test_the_search_finds_the_least_of_its_twenty_weighted_errors(bits, symmetric, group_size):
    weight, inputs = random_weight(12, 24), correlated_inputs(40, 24)
    importance = inputs.double().square().mean(dim=0)
    importance /= importance.mean()
    grid = search_grid(weight, bits, group_size, symmetric, importance.float())
    size, num_clear = group_size or 24, 0
    for row, values in enumerate(weight.double().tolist()):
        for group, start in enumerate(range(0, 24, size)):
            part = slice(start, start + size)
            scale, zero, lead = slow_search(
                values[part], importance[part].tolist(), bits, symmetric
            )
            if lead > 1e-3:
                num_clear += 1
                assert float(grid.scale_OG[row, group]) == pytest.approx(scale, rel=1e-5)
                assert float(grid.zero_point_OG[row, group]) == zero
    assert num_clear > 8


def test_2_by_4_by_hand():
    # Two bits from 0. Row 0: steps of p, at p = 1 codes 0, 1, 2, 3 without an error: p = 1 wins.
    # Row 1: 0, 1, 1, 6, step 2 p. All alike, the 6 counts: p = 1 rounds the ones to 0 or to 2,
    # errors 1 + 1 + 0. Half to even: 1 / 2 -> 0. p = .8: step 1.6, ones at 1.6, .216 each; 6 at
    # 4.8, 1.728: 2.16. p = .85: 1.7, .343 each, .729: 1.415. p = .9: 1.8, .512 each, .216: 1.24.
    # p = .95: 1.9, .729 each, .027: 1.485. So .9 wins; if the 6 never matters, .5: step 1.
    weight = tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 1.0, 6.0]])
    alike = rtn(bits=2).compress_weight(weight, norms(torch.eye(4))).weight_OI
    torch.testing.assert_close(alike, tensor([[0.0, 1.0, 2.0, 3.0], [0.0, 1.8, 1.8, 5.4]]))
    inputs = torch.diag(tensor([1.0, 1.0, 1.0, 0.0]))
    new = rtn(bits=2).compress_weight(weight, norms(inputs)).weight_OI
    torch.testing.assert_close(new[1], tensor([0.0, 1.0, 1.0, 3.0]))


def test_floating_point_grids_are_searched_by_the_same_rule():
    weight, inputs = random_weight(6, 32), correlated_inputs(40, 32)
    importance = inputs.square().mean(dim=0)
    limits = Groups(size=16).searched_limit_OG(weight, E2M1, importance)
    num_clear = 0
    for row, values in enumerate(weight.double().tolist()):
        for group, start in enumerate((0, 16)):
            w, m = values[start : start + 16], importance.tolist()[start : start + 16]
            errors = []
            for step in range(20):
                scale = max(map(abs, w)) * (1 - step / 20) / 6
                parts = [
                    a * abs(slow_snap(v / scale, FP4) * scale - v) ** 3
                    for v, a in zip(w, m, strict=True)
                ]
                errors.append((sum(parts), step, scale * 6))
            (best, _, limit), (second, *_), *_ = sorted(errors)
            if second > best * 1.001:
                num_clear += 1
                assert float(limits[row, group]) == pytest.approx(limit, rel=1e-5)
    assert num_clear > 8
    new = rtn(format="nvfp4").compress_weight(weight, norms(inputs)).weight_OI
    plain = RTN(bits=4, group_size=None, symmetric=False, format="nvfp4")
    assert not torch.equal(new, plain.compress_weight(weight, None).weight_OI)


def test_the_scale_of_importance_cancels_and_powers_of_inputs_count():
    weight, inputs = random_weight(8, 16), correlated_inputs(50, 16)
    new = rtn(bits=3).compress_weight(weight, norms(inputs)).weight_OI
    assert torch.equal(rtn(bits=3).compress_weight(weight, norms(4 * inputs)).weight_OI, new)
    other = rtn(bits=3).compress_weight(weight, norms(torch.eye(16))).weight_OI
    assert not torch.equal(other, new)


@pytest.mark.parametrize("bits", [2, 3])
def test_weighted_errors_are_no_larger_than_without_a_search(bits):
    for seed in range(5):
        weight, inputs = random_weight(8, 32, seed), correlated_inputs(60, 32, seed)
        power = inputs.square().mean(dim=0)
        new = rtn(bits=bits, group_size=8).compress_weight(weight, norms(inputs)).weight_OI
        plain = RTN(bits=bits, group_size=8, symmetric=False).compress_weight(weight, None)
        errors = [
            (power * (w - weight).abs().pow(3)).unflatten(1, (4, 8)).sum(dim=2)
            for w in (new, plain.weight_OI)
        ]
        assert (errors[0] <= errors[1] * (1 + 1e-5)).all() and (errors[0] < errors[1]).any()


SOLVED = [
    {},
    {"group_size": 8},
    {"group_size": 8, "static_groups": True},
    {"group_size": 8, "static_groups": True, "act_order": True},
    {"group_size": 8, "act_order": True},
    {"group_size": 8, "block_size": 16, "group_fit": "updated"},
    {"group_size": 8, "block_size": 16, "group_fit": "updated", "act_order": True},
]


@pytest.mark.parametrize("settings", SOLVED, ids=str)
def test_gptq_without_repair_is_rtn_with_the_same_weighting(settings):
    """Features of one power, so that no order is another; then only what a group sees differs."""
    weight, inputs = random_weight(8, 32), correlated_inputs(100, 32)
    if settings.get("act_order") and not settings.get("static_groups"):
        inputs = inputs / inputs.square().sum(dim=0).sqrt() * torch.linspace(3, 1, 32)  # in order
    hessian, statistic = hessian_of(inputs), norms(inputs)
    nearest = rtn(bits=3, group_size=settings.get("group_size"))
    expected = nearest.compress_weight(weight, statistic).weight_OI
    new = gptq(bits=3, off_diagonal=0, **settings).compress_weight(weight, hessian).weight_OI
    torch.testing.assert_close(new, expected)


@pytest.mark.parametrize("settings", SOLVED[4::2], ids=str)
def test_groups_in_the_order_of_activations_are_weighted_in_that_order(settings):
    weight, inputs = random_weight(8, 32), correlated_inputs(100, 32)
    order = inputs.square().sum(dim=0).argsort(descending=True, stable=True)
    method = gptq(bits=3, off_diagonal=0, **settings)
    new = method.compress_weight(weight, hessian_of(inputs)).weight_OI
    sorted_new = rtn(bits=3, group_size=8).compress_weight(
        weight[:, order], norms(inputs[:, order])
    )
    torch.testing.assert_close(new[:, order], sorted_new.weight_OI)


def test_gptq_repairs_on_weighted_grids_too():
    weight, inputs = random_weight(16, 64), correlated_inputs(200, 64)
    new = gptq(bits=3, group_size=16, static_groups=True).compress_weight(
        weight, hessian_of(inputs)
    )
    nearest = rtn(bits=3, group_size=16).compress_weight(weight, norms(inputs))
    errors = [(inputs @ (w - weight).T).square().sum() for w in (new.weight_OI, nearest.weight_OI)]
    assert errors[0] < 0.8 * errors[1]
    torch.testing.assert_close(new.grid.scale_OG, nearest.grid.scale_OG)


def test_rtn_reads_data_only_where_weights_are_asked_for():
    assert rtn().statistic is InputNorm and rtn(weighting=None).statistic is None
    assert RTN.reads_data({"weighting": "inputs"}) and not RTN.reads_data({"weighting": None})
    assert not RTN.reads_data({})
    tokens = random_tokens(4, 24)
    reports = compress(tiny_model(), rtn(bits=3, group_size=16), tokens)
    assert all(report.num_tokens > 0 and report.output_error > 0 for report in reports)
    with pytest.raises(ConfigError, match="needs calibration data"):
        compress(tiny_model(), rtn(), None)


def test_where_nothing_was_seen_all_errors_count_alike_and_the_report_says_so():
    weight = random_weight(4, 16)
    alike = rtn(bits=3).compress_weight(weight, norms(torch.eye(16)))
    unseen = rtn(bits=3).compress_weight(weight, norms(num_in=16))
    assert torch.equal(unseen.weight_OI, alike.weight_OI) and alike.note is None
    assert unseen.note is not None and "no calibration token reached this layer" in unseen.note
    dead = rtn(bits=3).compress_weight(weight, norms(torch.zeros(5, 16)))
    assert torch.equal(dead.weight_OI, alike.weight_OI)
    assert dead.note == "16 dead input features, whose errors do not count"


@pytest.mark.parametrize("make", [rtn, gptq])
def test_wrong_settings_are_refused_by_name(make):
    with pytest.raises(ConfigError, match=r"method\.weighting='outputs'.*null or inputs"):
        make(weighting="outputs")
    with pytest.raises(ConfigError, match=r"method\.weighting='inputs'.*Type method\.mse=false"):
        make(mse=True)
