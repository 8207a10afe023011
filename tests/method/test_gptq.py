"""GPTQ: a slow independent solve, hand-computed cases, properties and quirks as published."""

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.least_squares import deficient, shrunk, swept
from helpers.random_layers import (
    correlated_inputs,
    hessian_of,
    random_weight,
    singular_inputs,
)
from helpers.slow_grids import distance_from_tie, slow_grid, slow_published_search, slow_round
from torch import tensor

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.gptq import GPTQ
from calib_sweep.method.grids.grid import fit_grid
from calib_sweep.method.grids.grid_search import search_grid
from calib_sweep.method.rtn import RTN
from calib_sweep.method.statistics.hessian import Hessian

DEFAULTS = {
    "bits": 4,
    "group_size": None,
    "symmetric": False,
    "mse": False,
    "act_order": False,
    "static_groups": False,
    "group_fit": "published",
    "damping": 0.01,
    "off_diagonal": 1,
    "block_size": 128,
}


def gptq(**settings):
    return GPTQ(**{**DEFAULTS, **settings})


def rtn(bits=4, group_size=None, symmetric=False):
    return RTN(bits=bits, group_size=group_size, symmetric=symmetric)


def rounded(weight, inputs, **settings):
    return gptq(**settings).compress_weight(weight, hessian_of(inputs)).weight_OI


# The slow reference: float64, from the definition of what the sweep minimises.


def slow_gptq(weight, inputs, num_samples=1, **settings):
    """The rounded weight, and of every row the smallest distance from a tie between two levels."""
    method = gptq(**settings)
    num_in = weight.shape[1]
    hessian = 2 / num_samples * inputs.double().T @ inputs.double()
    hessian = shrunk(hessian, method.off_diagonal)
    alive = weight.double().clone()
    for i in range(num_in):
        if hessian[i, i] == 0:
            hessian[i, i] = 1
            alive[:, i] = 0
    order = list(range(num_in))
    if method.act_order:
        order.sort(key=lambda i: -float(hessian[i, i]))
    hessian += method.damping * hessian.diagonal().mean() * torch.eye(num_in)
    rounding = SlowRounding(method, weight.double(), alive, order)
    result = torch.empty_like(alive)
    result[:, order] = swept(alive[:, order], hessian[order][:, order], rounding.decide)
    return result, tensor(rounding.margins)


class SlowRounding:
    """Rounds one column after the other in Python numbers; keeps the distances from ties."""

    def __init__(self, method, dense, alive, order):
        self.method, self.dense, self.alive, self.order = method, dense, alive, order
        self.margins = [1.0] * len(dense)

    def decide(self, i, free):
        if i % self.method.block_size == 0:
            self.stale = free
        if self.method.group_size is None:
            source, first = self.dense, 0
        elif self.method.static_groups:
            source, first = self.alive, self.order[i] // self.method.group_size
        else:
            stale = self.method.group_fit == "published"
            source, first = self.stale if stale else free, i // self.method.group_size
        width = self.method.group_size or len(self.order)
        first *= width
        if self.method.group_size is None or self.method.static_groups or i == first:
            groups = source[:, first : first + width].tolist()
            fit = (self.method.bits, self.method.symmetric, self.method.mse)
            self.grids = [slow_grid(values, *fit) for values in groups]
        column = free[:, i].tolist()
        for row, (value, grid) in enumerate(zip(column, self.grids, strict=True)):
            self.margins[row] = min(self.margins[row], distance_from_tie(value, grid))
        rounded = [
            slow_round(v, g, self.method.bits) for v, g in zip(column, self.grids, strict=True)
        ]
        return tensor(rounded, dtype=torch.float64)


def assert_equals_reference(weight, inputs, num_samples=1, **settings):
    """Rows without a weight close to a tie must agree; float32 may break a tie the other way."""
    fast = gptq(**settings).compress_weight(weight, hessian_of(inputs, num_samples)).weight_OI
    slow, margin = slow_gptq(weight, inputs, num_samples, **settings)
    clear = margin > 1e-4
    assert clear.double().mean() > 0.8
    torch.testing.assert_close(fast[clear].double(), slow[clear], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bits": 3, "block_size": 7},
        {"symmetric": True},
        {"act_order": True},
        {"group_size": 8},
        {"group_size": 8, "symmetric": True, "bits": 3},
        {"group_size": 8, "block_size": 16, "group_fit": "published"},
        {"group_size": 8, "block_size": 16, "group_fit": "updated"},
        {"group_size": 6, "block_size": 8, "group_fit": "published"},  # groups cut by blocks
        {"group_size": 6, "block_size": 8, "group_fit": "updated"},
        {"group_size": 12, "block_size": 5, "group_fit": "published"},  # wider than a block
        {"group_size": 12, "block_size": 5, "group_fit": "updated"},
        {"group_size": 8, "act_order": True},
        # The last group is shorter: of 4, 3, 3, 8 and 2 columns.
        {"group_size": 10, "block_size": 8},
        {"group_size": 7, "block_size": 16, "group_fit": "updated"},
        {"group_size": 7, "act_order": True, "bits": 3},
        {"group_size": 16, "static_groups": True, "act_order": True},
        {"group_size": 11, "mse": True, "symmetric": True},
        {"group_size": 8, "static_groups": True},
        {"group_size": 8, "static_groups": True, "act_order": True, "bits": 3},
        {"off_diagonal": 0.5, "bits": 3},
        {"off_diagonal": 0.9, "group_size": 8, "act_order": True},
        {"mse": True, "bits": 3},
        {"mse": True, "group_size": 8, "group_fit": "updated"},
        {"mse": True, "symmetric": True, "group_size": 6, "static_groups": True},
    ],
    ids=str,
)
def test_equals_the_slow_solve(settings):
    assert_equals_reference(random_weight(12, 24), correlated_inputs(80, 24), 4, **settings)
    assert_equals_reference(random_weight(12, 24), deficient(correlated_inputs(10, 24)), **settings)


@pytest.mark.parametrize(("num_out", "num_in"), [(1, 5), (7, 1), (16, 33), (3, 40), (40, 12)])
def test_equals_the_slow_solve_on_other_shapes(num_out, num_in):
    weight = random_weight(num_out, num_in, seed=num_in)
    inputs = correlated_inputs(3 * num_in, num_in)
    assert_equals_reference(weight, inputs, 2, bits=3, block_size=16)


@pytest.mark.parametrize("group_fit", ["published", "updated"])
def test_a_group_of_zeros_takes_up_what_the_columns_before_it_leave(group_fit):
    weight, inputs = random_weight(12, 24), correlated_inputs(80, 24)
    weight[:, 8:16] = 0
    settings = {"bits": 2, "group_size": 8, "group_fit": group_fit}
    assert_equals_reference(weight, inputs, **settings)
    assert (rounded(weight, inputs, **settings)[:, 8:16] != 0).any()


def test_2_columns_by_hand():
    # X^T X = [[2, 1], [1, 1]], H = 2 X^T X, H^-1 = [[.5, -.5], [-.5, 1]]: an error e of the first
    # column moves the second by +e. Row grid of 2 bits: 0, 1, 2, 3. Column 1: .6 -> 1, e = -.4.
    # Column 2: 3 - .4 = 2.6 -> 3. Row 2: 1.4 -> 1, e = .4; 3 + .4 = 3.4 -> 3 (end of the grid).
    # Row 3: zero point 1: 2.2 -> 2, e = .2; -1 + .2 = -.8 -> -1.
    weight = tensor([[0.6, 3.0], [1.4, 3.0], [2.2, -0.8]])
    new = rounded(weight, tensor([[1.0, 0.0], [1.0, 1.0]]), bits=2, damping=0)
    assert torch.equal(new, tensor([[1.0, 3.0], [1.0, 3.0], [2.0, -1.0]]))
    # Where the repair matters: grid 0, 1, 2, 3 again, 1.5 is a tie and goes to the even 2, e = -.5.
    weight = tensor([[1.5, 2.8, 3.0]])
    inputs = tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert torch.equal(rounded(weight, inputs, bits=2, damping=0), tensor([[2.0, 2.0, 3.0]]))


@pytest.mark.parametrize("group_size", [None, 4])
@pytest.mark.parametrize("symmetric", [False, True])
def test_unrelated_features_give_rounding_to_nearest(group_size, symmetric):
    weight = random_weight(6, 16)
    new = rounded(weight, torch.eye(16), group_size=group_size, symmetric=symmetric)
    expected = rtn(4, group_size, symmetric).compress_weight(weight, None).weight_OI
    assert torch.equal(new, expected)


def test_every_weight_lies_on_its_rows_grid():
    weight, inputs = random_weight(6, 20), correlated_inputs(60, 20)
    grid = fit_grid(weight, 3, None, False)
    level = rounded(weight, inputs, bits=3) / grid.scale_OG + grid.zero_point_OG
    assert torch.allclose(level, level.round(), atol=1e-4)
    assert level.min() > -0.01 and level.max() < 7.01


@pytest.mark.parametrize("settings", [{}, {"act_order": True}, {"group_size": 32}], ids=str)
def test_block_size_moves_nothing_where_no_group_is_stale(settings):
    weight, inputs = random_weight(8, 64), correlated_inputs(200, 64)
    narrow = rounded(weight, inputs, block_size=8, **settings)
    torch.testing.assert_close(narrow, rounded(weight, inputs, block_size=32, **settings))


def test_block_size_moves_published_groups_but_not_updated_ones():
    weight, inputs = random_weight(8, 64), correlated_inputs(200, 64)
    for group_fit, moves in (("published", True), ("updated", False)):
        narrow, wide = (
            rounded(weight, inputs, group_size=8, block_size=size, group_fit=group_fit)
            for size in (8, 64)
        )
        assert torch.allclose(narrow, wide, rtol=1e-4, atol=1e-5) != moves


def test_published_groups_inside_the_first_block_are_those_of_the_dense_weight():
    weight, inputs = random_weight(8, 32), correlated_inputs(100, 32)
    stale = rounded(weight, inputs, group_size=8, group_fit="published")
    static = rounded(weight, inputs, group_size=8, static_groups=True)
    assert torch.equal(stale, static)
    updated = rounded(weight, inputs, group_size=8, group_fit="updated")
    assert not torch.allclose(stale, updated)
    assert torch.equal(stale[:, :8], updated[:, :8])  # the first group has nothing to miss


def test_row_grids_are_fitted_before_dead_columns_are_zeroed_and_group_grids_after():
    weight = tensor([[0.1, 0.2, 0.3, 100.0]])
    inputs = torch.eye(4)
    inputs[3, 3] = 0
    assert torch.equal(rounded(weight, inputs), torch.zeros(1, 4))  # steps of 100 / 15
    for static_groups in (False, True):
        new = rounded(weight, inputs, group_size=4, static_groups=static_groups)
        torch.testing.assert_close(new, tensor([[0.1, 0.2, 0.3, 0.0]]))


def test_a_dead_feature_takes_its_diagonal_of_one_into_order_and_damping():
    inputs = torch.diag(tensor([0.1, 0.0, 10.0, 0.5]))
    factor = hessian_of(inputs).inverse_factor(0.01, by_activation=True)
    assert factor.order_I is not None and factor.order_I.tolist() == [2, 1, 3, 0]
    diagonal = tensor([200.0, 1.0, 0.5, 0.02])
    damped = diagonal + 0.01 * diagonal.mean()
    torch.testing.assert_close(factor.upper_II.diagonal(), damped.rsqrt())


def test_activation_order_rounds_the_strongest_feature_without_repair():
    weight, inputs = random_weight(8, 16), correlated_inputs(60, 16)
    inputs[:, 11] *= 3
    nearest = rtn(3).compress_weight(weight, None).weight_OI
    assert torch.equal(rounded(weight, inputs, bits=3, act_order=True)[:, 11], nearest[:, 11])
    assert not torch.equal(rounded(weight, inputs, bits=3)[:, 11], nearest[:, 11])


def test_activation_order_groups_are_of_columns_in_that_order_unless_static():
    # Strong features 0, 2, 4, 6; weights of strong features are small, the others large.
    inputs = torch.diag(tensor([4.0, 1.0] * 4))
    weight = tensor([[0.1, 7.0, 0.2, 8.0, 0.3, 9.0, 0.4, 10.0]])
    ordered = rounded(weight, inputs, group_size=4, act_order=True)
    assert float((ordered - weight)[0, ::2].abs().max()) < 0.02  # steps of 0.4 / 15
    static = rounded(weight, inputs, group_size=4, act_order=True, static_groups=True)
    assert torch.equal(static, rtn(4, 4).compress_weight(weight, None).weight_OI)


def test_symmetric_row_without_negative_weights_is_clipped_as_published():
    # Scale 15 / 15, zero point 8: the highest level stands for 7.
    weight = tensor([[15.0, 8.0, 3.0, 0.0], [15.0, 8.0, 3.0, -1.0]])
    new = rounded(weight, torch.eye(4), symmetric=True)
    assert torch.equal(new[0], tensor([7.0, 7.0, 3.0, 0.0]))
    assert torch.equal(
        new[1], tensor([14.0, 8.0, 4.0, 0.0])
    )  # scale 2: 7.5 -> 7 at the end, .5 -> 0


def test_grid_search_never_rounds_worse_and_clips_a_lone_outlier():
    weight = random_weight(8, 256)
    weight[0, 0] = 20.0
    widest, best = fit_grid(weight, 3, 64, False), search_grid(weight, 3, 64, False)
    widest_error, best_error = (
        (grid.round(weight) - weight).abs().pow(2.4).unflatten(1, (4, 64)).sum(2)
        for grid in (widest, best)
    )
    assert (best_error <= widest_error).all() and (best_error < widest_error).any()
    ratio = best.scale_OG / widest.scale_OG
    assert ratio.min() > 0.2099 and ratio.max() <= 1
    mse = rounded(weight, torch.eye(256), bits=3, group_size=64, mse=True)
    torch.testing.assert_close(mse, best.round(weight))


# The best of 80 steps: far down where one weight is much larger than thousands of others, and the
# last step of all where smaller ones still would be better.
@pytest.mark.parametrize(
    ("values", "shrunk_to"),
    [
        ([-1.0, -0.4, 0.3, 0.9, 2.0], None),
        ([1.0] + [0.1] * 1000, 0.33),
        ([1.0] + [0.04] * 5000, 0.21),
    ],
    ids=["spread", "outlier", "last step"],
)
def test_grid_search_finds_the_least_of_its_eighty_errors(values, shrunk_to):
    expected = slow_grid(values, 2, False, mse=True)
    found = search_grid(tensor([values]), 2, None, False)
    assert found.scale_OG.item() == pytest.approx(expected[0])
    assert found.zero_point_OG.item() == expected[1]
    assert shrunk_to is None or found.scale_OG.item() == pytest.approx(shrunk_to / 3)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_grid_search_fits_the_zero_point_anew_at_every_step(bits, symmetric):
    # Ends -a and a put the zero point in the middle between two levels, where last digits decide.
    weight = random_weight(40, 24, seed=bits)
    weight[:, 0], weight[:, 1] = -3 - torch.arange(40) / 7, 3 + torch.arange(40) / 7
    found, widest = (fit(weight, bits, None, symmetric) for fit in (search_grid, fit_grid))
    slow = [slow_published_search(row, bits, symmetric) for row in weight.numpy()]
    assert found.scale_OG[:, 0].tolist() == [float(scale) for scale, _ in slow]
    assert found.zero_point_OG[:, 0].tolist() == [float(zero) for _, zero in slow]
    has_moved = (found.zero_point_OG != widest.zero_point_OG).any()
    assert has_moved == (bits > 2 and not symmetric)


def test_bits_count_the_grids_as_for_rounding_to_nearest():
    weight, inputs = random_weight(2, 32), correlated_inputs(50, 32)
    for group_size, symmetric, expected in (
        (None, False, 4 + 20 / 32),
        (8, False, 4 + 20 / 8),
        (8, True, 4 + 16 / 8),
    ):
        method = gptq(group_size=group_size, symmetric=symmetric)
        assert method.compress_weight(weight, hessian_of(inputs)).bits == pytest.approx(expected)
        nearest = rtn(4, group_size, symmetric).compress_weight(weight, None)
        assert nearest.bits == pytest.approx(expected)


def test_arguments_stay_as_they_are_and_the_dtype_is_kept():
    weight, hessian = random_weight(4, 16).half(), hessian_of(correlated_inputs(40, 16))
    before, product = weight.clone(), hessian.hessian_II().clone()
    for settings in ({}, {"act_order": True, "group_size": 4}):
        new = gptq(**settings).compress_weight(weight, hessian)
        assert new.weight_OI.dtype == torch.float16 and new.damping == 0.01 and new.note is None
    assert torch.equal(weight, before) and torch.equal(hessian.hessian_II(), product)


def test_layers_that_share_a_statistic_share_its_factor():
    hessian = hessian_of(correlated_inputs(40, 16))
    weight = random_weight(4, 16)
    alone = gptq(act_order=True).compress_weight(weight, hessian).weight_OI
    factor = hessian.inverse_factor(0.01, by_activation=True)
    gptq().compress_weight(weight, hessian)
    assert hessian.inverse_factor(0.01, by_activation=True) is factor
    assert hessian.inverse_factor(0.01) is not factor
    assert torch.equal(gptq(act_order=True).compress_weight(weight, hessian).weight_OI, alone)


@pytest.mark.parametrize("settings", [{}, {"group_size": 8}, {"act_order": True}], ids=str)
def test_without_what_lies_off_the_diagonal_it_rounds_to_nearest(settings):
    weight, inputs = random_weight(12, 32), correlated_inputs(100, 32)
    nearest = rtn(3, settings.get("group_size")).compress_weight(weight, None).weight_OI
    assert torch.equal(rounded(weight, inputs, bits=3, off_diagonal=0, **settings), nearest)
    assert not torch.equal(rounded(weight, inputs, bits=3, off_diagonal=0.1, **settings), nearest)


def test_the_whole_hessian_is_a_factor_of_one():
    weight, hessian = random_weight(12, 32), hessian_of(correlated_inputs(100, 32))
    plain, shrunk_by_nothing = hessian.inverse_factor(0.01), gptq(off_diagonal=1.0)
    new = shrunk_by_nothing.compress_weight(weight, hessian)
    assert hessian.inverse_factor(0.01) is plain  # nothing else was factorised
    assert not torch.equal(
        new.weight_OI, gptq(off_diagonal=0.9).compress_weight(weight, hessian).weight_OI
    )


def test_a_failed_factorisation_is_retried_with_more_damping_and_reported():
    hessian = hessian_of(singular_inputs(8))
    new = gptq(damping=0).compress_weight(random_weight(3, 8), hessian)
    assert new.damping is not None and new.damping > 0
    assert new.note is not None and "not positive definite" in new.note
    assert torch.isfinite(new.weight_OI).all()


def test_a_layer_without_tokens_is_rounded_to_nearest_and_reported():
    weight = random_weight(3, 8)
    new = gptq(act_order=True).compress_weight(weight, Hessian(8))
    assert torch.equal(new.weight_OI, rtn().compress_weight(weight, None).weight_OI)
    assert new.note is not None and "no calibration token" in new.note and new.damping is None


def test_groups_that_do_not_fill_a_row_leave_a_shorter_last_one():
    weight, inputs = random_weight(6, 20), correlated_inputs(60, 20)
    for settings in ({}, {"static_groups": True}):
        found = gptq(group_size=8, **settings).compress_weight(weight, hessian_of(inputs))
        assert found.bits == pytest.approx(4 + 20 * 3 / 20)  # three grids in 20 columns
        assert found.grid is not None and found.grid.scale_OG.shape == (6, 3)
        on_grid = found.grid.round(found.weight_OI)
        torch.testing.assert_close(on_grid, found.weight_OI)
    longer = gptq(group_size=128).compress_weight(weight, hessian_of(inputs))
    row = gptq(static_groups=False, group_size=None).compress_weight(weight, hessian_of(inputs))
    assert torch.equal(longer.weight_OI, row.weight_OI) and longer.bits == row.bits


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"bits": 1}, r"method\.bits=1.*from 2 to 8"),
        ({"group_size": 0}, r"method\.group_size=0"),
        ({"act_order": "yes"}, r"method\.act_order='yes'.*true or false"),
        ({"mse": 1}, r"method\.mse=1.*true or false"),
        ({"static_groups": True}, r"method\.static_groups=True.*grid of a row"),
        ({"group_fit": "fresh"}, r"method\.group_fit='fresh'.*published or updated"),
        ({"group_fit": "updated"}, r"method\.group_fit='updated'.*all grids are fitted beforehand"),
        (
            {"group_fit": "updated", "group_size": 8, "static_groups": True},
            r"method\.group_fit='updated'.*static_groups=false",
        ),
        ({"damping": -1}, r"method\.damping=-1"),
        ({"off_diagonal": 1.5}, r"method\.off_diagonal=1\.5.*from 0 to 1"),
        ({"off_diagonal": "half"}, r"method\.off_diagonal='half'.*from 0 to 1"),
        ({"block_size": 0}, r"method\.block_size=0"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, phrase):
    with pytest.raises(ConfigError, match=phrase):
        gptq(**settings)


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        gptq(bits=9, group_fit="x", damping="much")
    assert all(key in str(caught.value) for key in ("bits", "group_fit", "damping"))


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_walk_leaves_less_output_error_than_rounding_to_nearest(architecture):
    tokens = random_tokens(4, 24)
    errors = []
    for method in (gptq(bits=3), gptq(bits=3, damping=1e7)):
        reports = compress(tiny_model(architecture), method, tokens)
        errors.append([report.output_error for report in reports])
        assert all(report.bits > 3 for report in reports)
    solved, nearest = map(tensor, errors)
    # Later blocks see other inputs in the two models; the first block's are the same.
    first = len(solved) // 2
    assert (solved[:first] < nearest[:first]).all()
