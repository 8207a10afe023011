"""Methods without data: dense, magnitude, RTN."""

import pytest
import torch
from helpers.slow_grids import distance_from_tie, slow_grid, slow_round
from torch import tensor

from calib_sweep.method.dense import Dense
from calib_sweep.method.grids.grid import average_bits, fit_grid
from calib_sweep.method.grids.grid_search import search_grid
from calib_sweep.method.magnitude import Magnitude
from calib_sweep.method.rtn import RTN

WEIGHT_4_8 = tensor(
    [
        [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0],
        [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0],
        [0.5, 9.0, -0.5, -9.0, 1.5, 2.5, 3.5, 4.5],
        [-10.0, 11.0, -12.0, 13.0, -14.0, 15.0, -16.0, 17.0],
    ]
)


def magnitude(sparsity, pattern="unstructured", compare="layer"):
    return Magnitude(sparsity=sparsity, pattern=pattern, compare=compare)


def random_weight(num_out=16, num_in=32, seed=0):
    return torch.randn(num_out, num_in, generator=torch.Generator().manual_seed(seed))


def test_dense_returns_the_same_weight_in_new_memory():
    weight = random_weight()
    new = Dense().compress_weight(weight, None).weight_OI
    assert torch.equal(new, weight) and new.data_ptr() != weight.data_ptr()


def test_magnitude_2_by_2_by_hand():
    weight = tensor([[1.0, -2.0], [3.0, -4.0]])
    # int(4 * 0.25) = 1: the threshold is the second smallest magnitude, 2, and goes too.
    new = magnitude(0.25).compress_weight(weight, None).weight_OI
    assert new.tolist() == [[0, 0], [3, -4]]


def test_magnitude_4_by_8_by_hand_compares_the_whole_layer():
    # Sorted: .5 .5 1 1 1.5 2 2 2.5 3 3 3.5 4 4 4.5 5 5 | 6 (index 16 = threshold) 6 ...
    new = magnitude(0.5).compress_weight(WEIGHT_4_8, None)
    assert new.weight_OI.tolist() == [
        [0, 0, 0, 0, 0, 0, 7, -8],
        [8, 7, 0, 0, 0, 0, 0, 0],
        [0, 9, 0, -9, 0, 0, 0, 0],
        [-10, 11, -12, 13, -14, 15, -16, 17],
    ]


def test_magnitude_4_by_8_by_hand_with_a_pattern():
    new = magnitude(0.75, "1:4").compress_weight(WEIGHT_4_8, None).weight_OI
    assert new.tolist() == [
        [0, 0, 0, -4, 0, 0, 0, -8],
        [8, 0, 0, 0, 4, 0, 0, 0],
        [0, 0, 0, -9, 0, 0, 0, 4.5],  # 9 and -9 tie: the lower column goes
        [0, 0, 0, 13, 0, 0, 0, 17],
    ]


def test_magnitude_4_by_8_by_hand_row_by_row():
    new = magnitude(0.5, compare="row").compress_weight(WEIGHT_4_8, None).weight_OI
    assert new.tolist() == [
        [0, 0, 0, 0, 5, -6, 7, -8],
        [8, 7, 6, 5, 0, 0, 0, 0],
        [0, 9, 0, -9, 0, 0, 3.5, 4.5],
        [0, 0, 0, 0, -14, 15, -16, 17],
    ]


def test_magnitude_row_by_row_is_exact_and_removes_nothing_at_sparsity_zero():
    weight = random_weight() * torch.logspace(-3, 3, 16).unsqueeze(1)
    for sparsity in (0.0, 0.29, 0.5, 0.99):
        new = magnitude(sparsity, compare="row").compress_weight(weight, None).weight_OI
        assert (new == 0).sum(dim=1).tolist() == [int(32 * sparsity)] * 16


@pytest.mark.parametrize(("num_out", "num_in"), [(5, 7), (1, 64), (33, 8)])
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("symmetric", [False, True])
def test_rtn_equals_the_definition_in_python_numbers(num_out, num_in, bits, symmetric):
    weight = random_weight(num_out, num_in, seed=bits)
    for group_size in (None, 4, 8):  # a last group may be shorter
        method = RTN(bits=bits, group_size=group_size, symmetric=symmetric)
        new = method.compress_weight(weight, None).weight_OI
        width = group_size or num_in
        for row, new_row in zip(weight.tolist(), new.tolist(), strict=True):
            for first in range(0, num_in, width):
                values = row[first : first + width]
                grid = slow_grid(values, bits, symmetric)
                for value, new_value in zip(values, new_row[first : first + width], strict=True):
                    # The largest weight of a symmetric grid lies in the middle between two levels.
                    if distance_from_tie(value, grid) > 1e-4:
                        expected = slow_round(value, grid, bits)
                        assert new_value == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_magnitude_removes_at_least_one_weight_more_than_asked(dtype):
    weight = random_weight().to(dtype)
    for sparsity in (0.0, 0.3, 0.5, 0.99):
        method = magnitude(sparsity)
        new = method.compress_weight(weight, None).weight_OI
        assert new.dtype == dtype
        assert int((new == 0).sum()) >= int(weight.numel() * sparsity) + 1


def test_rtn_2_by_2_by_hand():
    weight = tensor([[-1.0, 2.0], [0.4, 3.0]])
    # Two bits, levels 0..3. Row 0: scale 1, zero point 1. Row 1: [0, 3], scale 1, zero point 0.
    new = RTN(bits=2, group_size=None, symmetric=False).compress_weight(weight, None)
    assert new.weight_OI.tolist() == [[-1, 2], [0, 3]]
    assert new.bits == 2 + (16 + 2) / 2


def test_rtn_4_by_8_by_hand_in_groups():
    weight = tensor([[0.0, 1.0, 2.0, 3.0, -6.0, 0.0, 0.9, 1.1], [0.0] * 8, [1.0] * 8, [-3.0] * 8])
    new = RTN(bits=2, group_size=4, symmetric=False).compress_weight(weight, None).weight_OI
    # Second group of row 0: low -6, high 1.1, scale 7.1 / 3, zero point round(2.535) = 3: the
    # largest level stands for 0, so everything above is clipped to it.
    step = 7.1 / 3
    expected = tensor(
        [[0.0, 1.0, 2.0, 3.0, -3 * step, 0.0, 0.0, 0.0], [0.0] * 8, [1.0] * 8, [-3.0] * 8]
    )
    torch.testing.assert_close(new, expected)


def test_weights_in_the_middle_between_two_levels_go_to_the_even_one():
    # Steps of 1 from 0 to 3, and from -1 to 2: even is the multiple of the step, not the code.
    weight = tensor([[0.5, 1.5, 2.5, 3.0], [0.5, -0.5, -1.0, 2.0]])
    new = RTN(bits=2, group_size=None, symmetric=False).compress_weight(weight, None)
    assert new.weight_OI.tolist() == [[0, 2, 2, 3], [0, 0, -1, 2]]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("fit", [fit_grid, search_grid])
def test_a_group_of_zeros_spans_minus_one_to_one(fit, symmetric):
    # Steps of 2/3, zero point round(1.5) = 2. GPTQ may have something to put there later.
    grid = fit(tensor([[0.0, 0.0, 5.0, 1.0]]), 2, 2, symmetric)
    assert grid.scale_OG[0, 0].item() == pytest.approx(2 / 3)
    assert grid.zero_point_OG[0, 0].item() == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rtn_computes_in_float32_and_stores_the_dtype_that_came(dtype):
    weight = random_weight().to(dtype)
    method = RTN(bits=4, group_size=8, symmetric=False)
    new = method.compress_weight(weight, None).weight_OI
    assert new.dtype == dtype
    assert torch.equal(new, method.compress_weight(weight.float(), None).weight_OI.to(dtype))


def test_symmetric_grid_by_hand():
    grid = fit_grid(tensor([[-1.0, 3.0]]), bits=3, group_size=None, symmetric=True)
    assert grid.zero_point_OG.item() == 4 and grid.scale_OG.item() == pytest.approx(6 / 7)
    # round(3 / (6/7)) = round(3.5) = 4 (half to even), + 4 = 8, clipped to level 7: three steps.
    torch.testing.assert_close(grid.round(tensor([[-1.0, 3.0]])), tensor([[-6 / 7, 18 / 7]]))


def test_symmetric_grid_without_negative_weights_keeps_the_published_quirk():
    grid = fit_grid(tensor([[1.0, 15.0]]), bits=4, group_size=None, symmetric=True)
    assert grid.scale_OG.item() == 1 and grid.zero_point_OG.item() == 8
    assert grid.round(tensor([[1.0, 15.0]])).tolist() == [[1, 7]]


@pytest.mark.parametrize("group_size", [None, 8])
def test_rtn_twice_is_rtn_once(group_size):
    # Not so for the symmetric grid: its largest level lies half a step below the largest weight.
    method = RTN(bits=4, group_size=group_size, symmetric=False)
    once = method.compress_weight(random_weight(), None).weight_OI
    torch.testing.assert_close(method.compress_weight(once, None).weight_OI, once)


def test_rtn_error_is_at_most_one_step_and_shrinks_with_bits():
    weight, errors = random_weight(), []
    for bits in range(2, 9):
        grid = fit_grid(weight, bits, 8, symmetric=False)
        error = (grid.round(weight) - weight).abs()
        assert (error <= grid.scale_OG.repeat_interleave(8, dim=1) * 1.0001).all()
        errors.append(float(error.mean()))
    assert errors == sorted(errors, reverse=True)


def test_zero_is_always_representable():
    weight = random_weight() + 3
    weight[:, 0] = 0
    new = RTN(bits=3, group_size=None, symmetric=False).compress_weight(weight, None).weight_OI
    assert (new[:, 0] == 0).all()


def test_average_bits_count_scale_and_zero_point():
    assert average_bits(4, 128, symmetric=True) == 4 + 16 / 128
    assert average_bits(4, 128, symmetric=False) == 4 + 20 / 128


@pytest.mark.parametrize(
    "method",
    [
        Dense(),
        magnitude(0.5),
        magnitude(0.5, "2:4"),
        magnitude(0.5, compare="row"),
        RTN(bits=3, group_size=8, symmetric=False),
    ],
)
def test_the_argument_is_left_alone(method):
    weight = random_weight()
    before = weight.clone()
    new = method.compress_weight(weight, None).weight_OI
    assert torch.equal(weight, before) and new.data_ptr() != weight.data_ptr()
