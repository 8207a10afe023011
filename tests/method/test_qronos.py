"""Qronos: its published steps one by one in float64, a hand-computed case, properties."""

import pytest
import torch
from helpers.compensated import SlowRounding
from helpers.least_squares import deficient
from helpers.random_layers import correlated_inputs, random_weight, singular_inputs
from torch import tensor

from calib_sweep.errors import ConfigError
from calib_sweep.method.gptq import GPTQ
from calib_sweep.method.qronos import Qronos

DEFAULTS = {
    "bits": 4,
    "group_size": None,
    "symmetric": False,
    "mse": False,
    "act_order": True,
    "spectral_damping": 1e-6,
    "block_size": 128,
}


def qronos(**settings):
    return Qronos(**{**DEFAULTS, **settings})


def paired(dense_TI, seen_TI):
    statistic = Qronos.statistic(seen_TI.shape[1])
    statistic.add_pair(dense_TI, seen_TI)
    return statistic


def compressed(method, weight, dense, seen):
    return method.compress_weight(weight, paired(dense, seen))


def layer(num_tokens=60, num_in=24, seed=0, num_out=16):
    """A weight, what the dense model saw, and that with an error that follows the input."""
    dense = correlated_inputs(num_tokens, num_in, seed)
    lost = 0.3 * correlated_inputs(num_tokens, num_in, seed + 50)
    return random_weight(num_out, num_in, seed + 100), dense, 0.9 * dense + lost


def wide(weight_OI):
    """Grids with room for what corrections add: two large weights in every row."""
    weight_OI[:, 2], weight_OI[:, 7] = 8, -8
    return weight_OI


def slow_qronos(method, weight_OI, dense_TI, seen_TI):
    """G, H, the inverse, the first column, the rest at once, then column by column."""
    num_in, tokens = weight_OI.shape[1], len(seen_TI)
    seen_TI, dense_TI, weight = seen_TI.double(), dense_TI.double(), weight_OI.double()
    hessian, moment = seen_TI.T @ seen_TI / tokens, dense_TI.T @ seen_TI / tokens
    alive = weight.clone()
    alive[:, hessian.diagonal() == 0] = 0
    order = list(range(num_in))
    if method.act_order:
        order.sort(key=lambda i: -float(hessian[i, i]))
    rounding = SlowRounding(method, weight, alive, order)
    hessian, moment = hessian[order][:, order], moment[order][:, order]
    value, target = alive[:, order].clone(), weight[:, order]
    delta = method.spectral_damping * float(torch.linalg.eigvalsh(hessian)[-1])
    inverse = torch.linalg.inv(hessian + delta * torch.eye(num_in))
    past = torch.zeros(len(value), dtype=torch.float64)
    for j in range(1, num_in):
        past += value[:, j] * hessian[0, j]
    value[:, 0] = 0 if hessian[0, 0] == 0 else (target @ moment[:, 0] - past) / hessian[0, 0]
    rounded = torch.empty_like(value)

    def decide(i):
        for row in range(len(value)):
            rounded[row, i] = rounding.nearest(row, i, float(value[row, i]), None)

    decide(0)
    rest = inverse[1:, 1:] - torch.outer(inverse[1:, 0], inverse[1:, 0]) / inverse[0, 0]
    damped = moment + delta * torch.eye(num_in)
    value[:, 1:] = target @ damped[:, 1:] @ rest
    value[:, 1:] -= torch.outer(rounded[:, 0], hessian[0, 1:]) @ rest
    dead = (hessian.diagonal() == 0).nonzero().flatten().tolist()
    value[:, dead] = 0  # here such weights become zero; nothing else depends on them
    upper = torch.linalg.cholesky(rest, upper=True)
    for i in range(1, num_in):
        decide(i)
        error = (value[:, i] - rounded[:, i]) / upper[i - 1, i - 1]
        for j in range(i + 1, num_in):
            value[:, j] -= error * upper[i - 1, j - 1]
    result = torch.empty_like(rounded)
    result[:, order] = rounded
    return result, tensor(rounding.margins)


def assert_equals_reference(weight, dense, seen, margin=1e-3, **settings):
    method = qronos(**settings)
    slow, margins = slow_qronos(method, weight, dense, seen)
    clear = margins > margin
    assert clear.double().mean() > 0.5
    fast = compressed(method, weight, dense, seen).weight_OI
    torch.testing.assert_close(fast[clear].double(), slow[clear], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"act_order": False},
        {"block_size": 7, "bits": 3},
        {"group_size": 8, "block_size": 5},
        {"group_size": 8, "act_order": False, "symmetric": True},
        {"spectral_damping": 1e-3},
    ],
    ids=str,
)
def test_agrees_with_the_published_steps(settings):
    assert_equals_reference(*layer(), **settings)


@pytest.mark.parametrize("num_tokens", [60, 10, 1])
@pytest.mark.parametrize("act_order", [False, True])
def test_agrees_where_the_hessian_is_deficient(num_tokens, act_order):
    weight, dense, seen = layer(num_tokens)
    settings = {"spectral_damping": 1e-2, "act_order": act_order, "block_size": 8}
    assert_equals_reference(weight, dense, deficient(seen), **settings)


def test_a_dead_feature_that_comes_first_is_zero_and_the_others_are_corrected():
    weight, dense, seen = layer()
    seen[:, 0] = 0
    assert_equals_reference(weight, dense, seen, act_order=False)
    new = compressed(qronos(act_order=False), weight, dense, seen)
    assert bool((new.weight_OI[:, 0] == 0).all())
    assert "1 dead input features" in new.note


def test_what_a_dead_feature_was_in_the_dense_model_counts():
    """Here it is what feature 4 is now, so that weights of feature 4 take it over."""
    weight, dense, seen = layer()
    weight, seen[:, 5], dense[:, 5] = wide(weight), 0, seen[:, 4]
    with_it = compressed(qronos(bits=8), weight, dense, seen).weight_OI
    dense[:, 5] = 0
    without = compressed(qronos(bits=8), weight, dense, seen).weight_OI
    gained = (with_it - without).double()
    assert torch.allclose(gained[:, 4], weight[:, 5].double(), atol=0.1)
    others = [i for i in range(24) if i not in (4, 5)]
    assert float(gained[:, others].abs().mean()) < 0.05


# H = 1 for a unit matrix over sqrt(2), times 1 + delta; levels -1, 0, 1, 2 of 2 bits.
UNIT = torch.eye(4) / 2**0.5
WEIGHT = tensor([[1.8, 0.0, -1.0, 2.0], [-0.8, 2.0, 0.4, -1.0]])
CROSS = tensor([[0.0, 0.5, 0, 0], [0, 0, 0, 0], [0, -0.7, 0, 0], [0.4, 0, 0, 0]])


def test_two_rows_of_four_by_hand():
    """W D: column 0 gets 0.4 w_3 = 0.8, -0.4; column 1 gets 0.5 w_0 - 0.7 w_2 = 1.6, -0.68."""
    dense = UNIT + CROSS.T / 2**0.5
    new = compressed(qronos(bits=2, act_order=False), WEIGHT, dense, UNIT).weight_OI
    # Row 0: 2.6 -> 2, 1.6 -> 2. Row 1: -1.2 -> -1, 1.32 -> 1.
    assert new.tolist() == [[2.0, 2, -1, 2], [-1, 1, 0, -1]]


def test_where_both_streams_are_the_same_it_is_gptq():
    weight, dense, _ = layer(400)
    same = Qronos.statistic(24)
    same.add(dense)
    hessian = same.hessian_II()
    scale = float(torch.linalg.eigvalsh(hessian)[-1] / hessian.diagonal().mean())
    settings = {**DEFAULTS, "static_groups": False, "group_fit": "published"}
    del settings["spectral_damping"]
    plain = GPTQ(**settings, damping=1e-6 * scale, off_diagonal=1)
    expected = plain.compress_weight(weight, same).weight_OI
    for statistic in (same, paired(dense, dense)):
        found = qronos().compress_weight(weight, statistic)
        torch.testing.assert_close(found.weight_OI, expected)
        assert found.damping == pytest.approx(1e-6 * scale, rel=0.01)


def distance(weight, new, dense, seen):
    """||d W^T - x Q^T||^2: from the output of the dense model."""
    change = dense.double() @ weight.double().T - seen.double() @ new.double().T
    return float(change.square().sum())


def test_with_fine_grids_it_is_the_least_squares_fit_to_the_dense_outputs():
    weight, dense, seen = layer(400, 16)
    weight = wide(weight)
    new = compressed(qronos(bits=8), weight, dense, seen).weight_OI
    best = torch.linalg.lstsq(seen.double(), dense.double() @ weight.double().T).solution.T
    least, before = distance(weight, best, dense, seen), distance(weight, weight, dense, seen)
    assert distance(weight, new, dense, seen) - least < 0.05 * (before - least)


def test_the_block_size_only_groups_the_arithmetic():
    weight, dense, seen = layer()
    found = [
        compressed(qronos(block_size=size), weight, dense, seen).weight_OI for size in (1, 5, 128)
    ]
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[2])


def test_a_hessian_that_cannot_be_factorised_gets_more_damping_and_is_reported():
    weight, _, _ = layer()
    inputs = singular_inputs(24)
    new = compressed(qronos(spectral_damping=0), weight, inputs, inputs)
    assert "not positive definite, damping raised" in new.note and new.damping > 0
    assert bool(torch.isfinite(new.weight_OI).all())


@pytest.mark.parametrize("bad", [-1e-6, 1, "x", True, None])
def test_wrong_settings_are_refused(bad):
    with pytest.raises(ConfigError, match=r"method\.spectral_damping="):
        qronos(spectral_damping=bad)
