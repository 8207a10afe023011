"""SpQR: a slow independent solve, hand-computed grids, outliers, quirks of the published rule."""

import math

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.least_squares import deficient, pivots, shrunk, swept
from helpers.random_layers import correlated_inputs, hessian_of, singular_inputs
from torch import tensor

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.column_solver import column_blocks
from calib_sweep.method.grids.bilevel_grid import (
    BilevelGrid,
    grid_between,
    leave_one_out_gain,
    second_level,
)
from calib_sweep.method.spqr import SpQR
from calib_sweep.method.statistics.hessian import Hessian

README = {
    "bits": 4,
    "group_size": 16,
    "scale_bits": 3,
    "zero_bits": 3,
    "second_group_size": 16,
    "outlier_threshold": 0.2,
    "per_row": True,
    "act_order": True,
    "damping": 1.0,
    "off_diagonal": 1,
    "block_size": 128,
}
PLAIN = {
    "scale_bits": None,
    "zero_bits": None,
    "outlier_threshold": None,
    "act_order": False,
    "damping": 0.01,
    "off_diagonal": 1,
}


def spqr(**settings):
    return SpQR(**{**README, **settings})


def heavy_tailed_weight(num_out, num_in, seed=100):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_out, num_in, generator=generator) ** 3


def compressed(weight, inputs, **settings):
    return spqr(**settings).compress_weight(weight, hessian_of(inputs))


def outlier_share(new, method, num_in):
    """From the average bits: 32 for every outlier."""
    size = num_in / math.ceil(num_in / (method.group_size or num_in))
    bits = method.bits
    for second_bits in (method.scale_bits, method.zero_bits):
        bits += (second_bits or 16) / size
        bits += 32 / (size * method.second_group_size) if second_bits else 0
    return (new.bits - bits) / 32


# The slow reference: float64, Python numbers, every leave-one-out grid fitted anew.


def slow_grid(values, bits):
    low, high = min(values), max(values)
    if low == high:
        low, high = -1.0, 1.0
    scale = (high - low) / (2**bits - 1)
    return scale, -low / scale


def slow_round(value, grid, bits, margin):
    """The nearest grid point; notes the distance from a tie in `margin`."""
    scale, zero = grid
    position = value / max(scale, 1e-9) + zero
    if -1 < position < 2**bits:
        margin.append(abs(abs(position - round(position)) - 0.5))
    return scale * (min(max(round(position), 0), 2**bits - 1) - zero)


def slow_error(values, diagonal, bits, left_out=None, margin=None):
    kept = [k for k in range(len(values)) if k != left_out]
    grid = slow_grid([values[k] for k in kept], bits)
    margin = [] if margin is None else margin
    return sum(
        ((values[k] - slow_round(values[k], grid, bits, margin)) / diagonal[k]) ** 2 for k in kept
    )


def slow_second_level(values, bits, num_rows, margin):
    if bits is None:
        return values
    result = []
    for first in range(0, len(values), num_rows):
        part = values[first : first + num_rows]
        grid = slow_grid(part, bits)
        result += [slow_round(value, grid, bits, margin) for value in part]
    return result


def slow_fit(method, group_OC, diagonal, threshold, margin):
    """The grids of one group of columns, one per row."""
    grids = []
    for values in group_OC.tolist():
        if threshold is not None:
            whole = slow_error(values, diagonal, method.bits, margin=margin)
            gains = [
                whole - slow_error(values, diagonal, method.bits, k) for k in range(len(values))
            ]
            margin += [abs(gain / threshold - 1) for gain in gains]
            others = [v for v, gain in zip(values, gains, strict=True) if gain <= threshold]
            mean = sum(others) / max(len(others), 1)
            values = [
                v if gain <= threshold else mean for v, gain in zip(values, gains, strict=True)
            ]
        grids.append(slow_grid(values, method.bits))
    if not method.per_row:
        grids = [slow_grid(group_OC.flatten().tolist(), method.bits)] * len(grids)
    scales, zeros = ([grid[k] for grid in grids] for k in (0, 1))
    rows = method.second_group_size
    return list(
        zip(
            slow_second_level(scales, method.scale_bits, rows, margin),
            slow_second_level(zeros, method.zero_bits, rows, margin),
            strict=True,
        )
    )


def slow_hessian(method, inputs, num_samples):
    """Order, dead features, and the damped Hessian in that order."""
    hessian = 2 / num_samples * inputs.double().T @ inputs.double()
    hessian = shrunk(hessian, method.off_diagonal)
    undamped = hessian.diagonal().clone()
    num_in = len(hessian)
    dead = [i for i in range(num_in) if undamped[i] == 0]
    order = list(range(num_in))
    if method.act_order:
        order.sort(key=lambda i: -float(undamped[i]))
    hessian += method.damping * undamped.mean() * torch.eye(num_in)
    for i in dead:
        hessian[i, i] = 1
    return order, dead, hessian[order][:, order]


class SlowRounding:
    """Rounds or keeps one column after the other; notes outliers and distances from ties."""

    def __init__(self, method, alive, damped):
        self.method, self.size = method, method.group_size or len(damped)
        self.diagonal = [pivot**0.5 for pivot in pivots(damped)]
        self.threshold = None
        if method.outlier_threshold is not None:
            pairs = zip(alive.T, self.diagonal, strict=True)
            spread = [float(column.var()) / d**2 for column, d in pairs]
            self.threshold = method.outlier_threshold * sum(spread) / len(spread)
        self.num_outliers, self.margin = 0, []

    def decide(self, i, free):
        if i % self.size == 0:
            group = slice(i, i + self.size)
            fit = (self.method, free[:, group], self.diagonal[group], self.threshold, self.margin)
            self.grids = slow_fit(*fit)
        values = free[:, i].tolist()
        new = [self.new(*pair, i) for pair in zip(values, self.grids, strict=True)]
        return tensor(new, dtype=torch.float64)

    def new(self, value, grid, i):
        rounded = slow_round(value, grid, self.method.bits, self.margin)
        if self.threshold is None:
            return rounded
        square = ((value - rounded) / self.diagonal[i]) ** 2
        self.margin.append(abs(square / self.threshold - 1))
        self.num_outliers += square > self.threshold
        return value if square > self.threshold else rounded


def slow_spqr(weight, inputs, num_samples=1, **settings):
    """The new weight, the number of outliers, the smallest distance from any tie."""
    method = spqr(**settings)
    order, dead, damped = slow_hessian(method, inputs, num_samples)
    alive = weight.double().clone()
    alive[:, dead] = 0
    rounding = SlowRounding(method, alive[:, order], damped)
    result = torch.empty_like(alive)
    result[:, order] = swept(alive[:, order], damped, rounding.decide)
    return result, rounding.num_outliers, min(rounding.margin)


def assert_equals_reference(weight, inputs, num_samples=1, **settings):
    """Cases are fixed and checked to have no tie that float32 could break the other way."""
    method = spqr(**settings)
    fast = method.compress_weight(weight, hessian_of(inputs, num_samples))
    slow, num_outliers, margin = slow_spqr(weight, inputs, num_samples, **settings)
    assert margin > 1e-5
    torch.testing.assert_close(fast.weight_OI.double(), slow, rtol=1e-3, atol=1e-4)
    share = outlier_share(fast, method, weight.shape[1])
    if method.per_row:
        assert share * weight.numel() == pytest.approx(num_outliers, abs=1e-6)
    return num_outliers


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        {**PLAIN, "act_order": True, "bits": 3},
        {**PLAIN, "scale_bits": 3},
        {**PLAIN, "zero_bits": 3},
        {**PLAIN, "scale_bits": 2, "zero_bits": 4, "second_group_size": 4, "bits": 2},
        {**PLAIN, "group_size": None},
        {**PLAIN, "group_size": 12, "block_size": 5},
        {**PLAIN, "group_size": 4, "block_size": 10},
        {**PLAIN, "group_size": 10, "block_size": 12},  # the last one of 4
        {**PLAIN, "group_size": 7, "scale_bits": 3, "zero_bits": 3, "act_order": True},
        {**PLAIN, "group_size": 100},  # wider than the row
        {**PLAIN, "per_row": False},
        {**PLAIN, "per_row": False, "group_size": None},
    ],
    ids=str,
)
def test_equals_the_slow_solve_without_outliers(settings):
    settings = {"group_size": 8, "second_group_size": 8, **settings}
    assert_equals_reference(
        heavy_tailed_weight(16, 24), correlated_inputs(80, 24), num_samples=4, **settings
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bits": 3, "group_size": 6},
        {"damping": 0.01, "act_order": False, "outlier_threshold": 0.05},
        {"scale_bits": None, "zero_bits": None, "group_size": 24, "bits": 3},
        {"block_size": 3, "second_group_size": 8},
        {"off_diagonal": 0.6, "bits": 3, "damping": 0.01},
        {"group_size": 10, "bits": 3},  # the last one of 4
    ],
    ids=str,
)
def test_equals_the_slow_solve_with_outliers(settings):
    settings = {"group_size": 8, **settings}
    weight, inputs = heavy_tailed_weight(16, 24, seed=3), correlated_inputs(80, 24)
    assert assert_equals_reference(weight, inputs, num_samples=4, **settings) > 0


def test_likely_outliers_count_as_the_mean_of_the_others():
    # All weights are far above zero: were any other number put in their place, grids would be wide.
    weight, inputs = heavy_tailed_weight(16, 24, seed=1).abs() + 5, correlated_inputs(80, 24)
    settings = {"group_size": 8, "outlier_threshold": 0.05, "scale_bits": None, "zero_bits": None}
    assert assert_equals_reference(weight, inputs, num_samples=4, **settings) > 0


@pytest.mark.parametrize("outlier_threshold", [None, 0.2])
@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_equals_the_slow_solve_where_the_hessian_is_rank_deficient(
    outlier_threshold, act_order, seed
):
    settings = {"outlier_threshold": outlier_threshold, "act_order": act_order, "group_size": 8}
    inputs = deficient(correlated_inputs(10, 24, seed))
    assert_equals_reference(heavy_tailed_weight(16, 24, seed), inputs, damping=0.1, **settings)


@pytest.mark.parametrize(("num_out", "num_in"), [(2, 6), (32, 5), (4, 40), (48, 33)])
def test_equals_the_slow_solve_on_other_shapes(num_out, num_in):
    settings = {"group_size": None, "second_group_size": 2, "block_size": 16, "bits": 3}
    weight, inputs = heavy_tailed_weight(num_out, num_in), correlated_inputs(3 * num_in, num_in)
    assert_equals_reference(weight, inputs, 2, **settings)


def test_without_second_level_and_outliers_unrelated_features_fall_on_the_plain_grid():
    weight = heavy_tailed_weight(8, 32)
    new = compressed(weight, torch.eye(32), **PLAIN)
    assert new.bits == 4 + 32 / 16
    for group in (slice(0, 16), slice(16, 32)):
        low, high = weight[:, group].amin(1, keepdim=True), weight[:, group].amax(1, keepdim=True)
        level = (new.weight_OI[:, group] - low) / (high - low) * 15  # the ends are on the grid
        assert torch.allclose(level, level.round(), atol=1e-3)
        half_a_step = (high - low) / 30 * 1.001
        assert ((new.weight_OI - weight)[:, group].abs() <= half_a_step).all()


def test_grid_by_hand_need_not_contain_zero():
    # From 5 to 8 in 2 bits: 5, 6, 7, 8.
    weight = tensor([[5.0, 5.6, 7.3, 8.0], [-1.0, 0.4, 0.6, 2.0]])
    new = compressed(weight, torch.eye(4), **{**PLAIN, "bits": 2, "group_size": 4})
    expected = tensor([[5.0, 6.0, 7.0, 8.0], [-1.0, 0.0, 1.0, 2.0]])
    torch.testing.assert_close(new.weight_OI, expected)


def test_zero_point_is_not_rounded():
    # From -1 to 5 in 2 bits the step is 2 and the zero point a half: 0 is not on the grid.
    weight = tensor([[-1.0, 0.1, 3.2, 5.0]])
    new = compressed(weight, torch.eye(4), **{**PLAIN, "bits": 2, "group_size": 4})
    torch.testing.assert_close(new.weight_OI, tensor([[-1.0, 1.0, 3.0, 5.0]]))


def test_one_grid_for_all_rows_spans_their_extremes():
    weight = tensor([[0.0, 1.0], [2.2, 3.0]])
    settings = {**PLAIN, "bits": 2, "group_size": 2, "per_row": False}
    new = compressed(weight, torch.eye(2), **settings)
    torch.testing.assert_close(new.weight_OI, tensor([[0.0, 1.0], [2.0, 3.0]]))
    assert new.bits == 2 + 32 / 4


def test_second_level_by_hand():
    # Four values on 2 bits from 1 to 4 are the grid itself; the next four meet their nearest point.
    values = tensor([1.0, 2.0, 3.0, 4.0, 0.0, 4.0, 9.0, 6.4])
    expected = tensor([1.0, 2.0, 3.0, 4.0, 0.0, 3.0, 9.0, 6.0])
    torch.testing.assert_close(second_level(values, 2, 4), expected)
    assert second_level(values, None, 4) is values


def test_equal_second_level_values_meet_the_grid_from_minus_one_to_one_as_published():
    # 3 bits: step 2/7, zero point 3.5: 0.1 / (2/7) + 3.5 = 3.85 -> 4, which stands for 1/7.
    torch.testing.assert_close(second_level(torch.full((4,), 0.1), 3, 4), torch.full((4,), 1 / 7))


def test_a_scale_that_the_second_level_rounds_to_nothing_divides_by_the_smallest_instead():
    # Codes are 1 + w / 1e-9, held within 0 to 3, and stand for (code - 1) * scale.
    grid = BilevelGrid(scale_O=tensor([0.0, -1.0]), zero_point_O=tensor([1.0, 1.0]), highest=3)
    new = grid.round(tensor([[5.0, 5.0], [0.0, -5.0]]))
    assert new.tolist() == [[0, -2], [0, 1]]


def test_leave_one_out_gain_is_the_fall_of_the_groups_error():
    weight = heavy_tailed_weight(12, 9)
    weight[3, :] = 0.7  # equal weights
    weight[4, 1] = weight[4].max()  # a largest weight that is there twice
    diagonal = torch.rand(9, generator=torch.Generator().manual_seed(1)) + 0.5
    fast = leave_one_out_gain(weight.T.contiguous(), diagonal, 3).T
    for row, values in enumerate(weight.double().tolist()):
        whole = slow_error(values, diagonal.tolist(), 3)
        for k in range(9):
            gain = whole - slow_error(values, diagonal.tolist(), 3, left_out=k)
            assert float(fast[row, k]) == pytest.approx(gain, rel=1e-3, abs=1e-4)


def test_an_outlier_is_kept_and_the_grid_is_fitted_to_the_others():
    weight = torch.linspace(-1, 1, 16).repeat(16, 1)
    weight += 0.01 * torch.arange(16).unsqueeze(1)
    weight[5, 7] = 40.0
    settings = {"scale_bits": None, "zero_bits": None}
    kept = compressed(weight, torch.eye(16), **settings).weight_OI
    assert kept[5, 7] == 40.0
    assert float((kept - weight)[5].abs().max()) < 0.08  # half a step of 2 / 15, and the mean
    lost = compressed(weight, torch.eye(16), **settings, outlier_threshold=None).weight_OI
    assert float((lost - weight)[5].abs().max()) > 0.5  # steps of 41 / 15


def test_share_of_outliers_grows_as_the_threshold_falls():
    weight, inputs = heavy_tailed_weight(32, 48), correlated_inputs(200, 48)
    shares = []
    for threshold in (None, 100.0, 1.0, 0.2, 0.05, 0.01, 0.0):
        method = spqr(outlier_threshold=threshold)
        new = method.compress_weight(weight, hessian_of(inputs))
        shares.append(outlier_share(new, method, 48))
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0) and shares[-1] > 0.9 and 0 < shares[3] < 0.2


def test_more_outliers_leave_less_output_error():
    weight, inputs = heavy_tailed_weight(32, 48), correlated_inputs(200, 48)
    errors = []
    for threshold in (None, 0.2, 0.02):
        new = compressed(weight, inputs, outlier_threshold=threshold).weight_OI
        errors.append(float((inputs @ (new - weight).T).square().sum()))
    assert errors == sorted(errors, reverse=True)


def test_a_shorter_last_group_takes_the_bits_of_a_whole_one():
    weight, inputs = heavy_tailed_weight(16, 20), correlated_inputs(80, 20)
    new = compressed(weight, inputs, group_size=8, outlier_threshold=None)
    assert new.bits == pytest.approx(4 + 3 / 20 * (3 + 3 + 2 * 32 / 16))


def test_readme_settings_take_the_bits_of_the_published_formula():
    weight = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    new = compressed(weight, correlated_inputs(100, 32), outlier_threshold=None)
    assert new.bits == 4 + (3 + 3) / 16 + 2 * (16 + 16) / (16 * 16)


def test_column_order_is_of_the_undamped_diagonal_with_dead_features_last():
    inputs = torch.diag(tensor([0.1, 0.0, 10.0, 0.5]))
    factor = hessian_of(inputs).inverse_factor(0.1, by_activation=True, dead_first=False)
    assert factor.order_I is not None and factor.order_I.tolist() == [2, 3, 0, 1]
    diagonal = tensor([200.0, 0.5, 0.02, 0.0])
    damped = diagonal + 0.1 * diagonal.mean()
    damped[3] = 1.0  # the dead feature's, neither damped nor part of the mean
    torch.testing.assert_close(factor.upper_II.diagonal(), damped.rsqrt())


def test_a_dead_weight_becomes_the_grid_point_nearest_to_zero():
    inputs = torch.eye(4)
    inputs[0, 0] = 0
    weight = tensor([[9.0, 0.4, 1.5, 4.0]])  # 9 is zeroed first: a grid from 0 to 4
    new = compressed(weight, inputs, **{**PLAIN, "bits": 2, "group_size": 4})
    torch.testing.assert_close(new.weight_OI, tensor([[0.0, 0.0, 4 / 3, 4.0]]))
    assert new.note is not None and "1 dead" in new.note
    weight = tensor([[9.0, -1.0, 3.2, 5.0]])  # from -1 to 5 the points are -1, 1, 3, 5
    new = compressed(weight, inputs, **{**PLAIN, "bits": 2, "group_size": 4})
    assert float(new.weight_OI[0, 0]) in (-1.0, 1.0)


@pytest.mark.parametrize("group_size", [4, 12, None])
def test_block_size_moves_nothing(group_size):
    weight, inputs = heavy_tailed_weight(16, 24), correlated_inputs(100, 24)
    settings = {"group_size": group_size, "outlier_threshold": 0.5}
    narrow = compressed(weight, inputs, block_size=5, **settings).weight_OI
    wide = compressed(weight, inputs, block_size=128, **settings).weight_OI
    torch.testing.assert_close(narrow, wide, rtol=1e-4, atol=1e-5)


def test_column_blocks_cut_no_narrower_group_and_start_at_wider_ones():
    assert column_blocks(20, 8, 1) == [(0, 8), (8, 16), (16, 20)]
    assert column_blocks(24, 10, 4) == [(0, 8), (8, 16), (16, 24)]
    assert column_blocks(20, 4, 10) == [(0, 4), (4, 8), (8, 10), (10, 14), (14, 18), (18, 20)]
    assert column_blocks(6, 128, 6) == [(0, 6)]


def test_arguments_stay_as_they_are_and_the_dtype_is_kept():
    weight = heavy_tailed_weight(16, 32).bfloat16()
    hessian = hessian_of(correlated_inputs(90, 32))
    before, product = weight.clone(), hessian.hessian_II().clone()
    for act_order in (False, True):
        new = spqr(act_order=act_order).compress_weight(weight, hessian)
        assert new.weight_OI.dtype == torch.bfloat16 and new.damping == 1.0 and new.note is None
    assert torch.equal(weight, before) and torch.equal(hessian.hessian_II(), product)


def test_a_layer_without_tokens_is_put_on_its_grid_and_reported():
    weight = heavy_tailed_weight(16, 32)
    new = spqr(**PLAIN).compress_weight(weight, Hessian(32))
    expected = compressed(weight, torch.eye(32), **PLAIN)
    torch.testing.assert_close(new.weight_OI, expected.weight_OI)
    assert new.note is not None and "no calibration token" in new.note and new.damping is None


def test_a_failed_factorisation_is_retried_with_more_damping_and_reported():
    new = compressed(heavy_tailed_weight(16, 32), singular_inputs(32), damping=0)
    assert new.damping is not None and new.damping > 0
    assert new.note is not None and "not positive definite" in new.note


@pytest.mark.parametrize(
    ("settings", "shape", "phrase"),
    [
        ({}, (32, 177), r"outlier_threshold=0\.2.*177 columns in groups of 16 \(down\)"),
        ({}, (40, 32), r"second_group_size=16.*40 output features of down"),
        ({"scale_bits": None, "zero_bits": None}, (1, 32), r"outlier_threshold=0\.2.*1 rows"),
        ({"group_size": 1}, (32, 32), r"outlier_threshold=0\.2.*groups of 1"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(settings, shape, phrase):
    with pytest.raises(ConfigError, match=phrase):
        spqr(**settings).check_shape("down", *shape)


def test_shapes_that_fit_are_accepted():
    spqr().check_shape("up", 172 * 16, 64)
    spqr().check_shape("down", 32, 172)
    spqr(outlier_threshold=None).check_shape("down", 32, 177)
    spqr(**PLAIN).check_shape("odd", 1, 16)


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"bits": 16}, r"method\.bits=16"),
        ({"scale_bits": 1}, r"method\.scale_bits=1.*or null"),
        ({"zero_bits": "3"}, r"method\.zero_bits='3'.*or null"),
        ({"second_group_size": 0}, r"method\.second_group_size=0"),
        ({"outlier_threshold": float("inf")}, r"outlier_threshold=inf.*outlier_threshold=0\.2"),
        ({"outlier_threshold": -0.1}, r"outlier_threshold=-0\.1"),
        ({"per_row": False}, r"method\.per_row=False.*second level"),
        ({"act_order": None}, r"method\.act_order=None"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, phrase):
    with pytest.raises(ConfigError, match=phrase):
        spqr(**settings)


def test_equal_ends_span_minus_one_to_one():
    grid = grid_between(tensor([0.7]), tensor([0.7]), 2)
    torch.testing.assert_close(grid.round(tensor([[0.7], [0.2]])), tensor([[1.0], [1 / 3]]))


def test_walk_reports_bits_and_damping_of_every_layer():
    reports = compress(tiny_model(), spqr(), random_tokens(4, 24))
    assert all(4.6 < report.bits < 6 and report.damping == 1.0 for report in reports)
    assert all(0 < report.output_error < 0.05 for report in reports)
