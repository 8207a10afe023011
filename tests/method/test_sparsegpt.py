"""SparseGPT: hand-computed cases, a slow independent solve, properties of the published rule."""

import pytest
import torch
from helpers.least_squares import deficient, pivots, shrunk, swept
from helpers.random_layers import (
    correlated_inputs,
    hessian_of,
    random_weight,
    singular_inputs,
)
from helpers.slow_grids import distance_from_tie, slow_grid, slow_round
from torch import tensor

from calib_sweep.errors import ConfigError
from calib_sweep.method.grids.grid import fit_grid
from calib_sweep.method.magnitude import Magnitude
from calib_sweep.method.sparsegpt import SparseGPT
from calib_sweep.method.statistics.hessian import Hessian

DEFAULTS = {
    "sparsity": 0.5,
    "pattern": "unstructured",
    "bits": None,
    "group_size": None,
    "symmetric": False,
    "damping": 0.01,
    "off_diagonal": 1,
    "block_size": 128,
}


MAGNITUDE = Magnitude(sparsity=0.5, pattern="unstructured", compare="layer")


def sparsegpt(**settings):
    return SparseGPT(**{**DEFAULTS, **settings})


def slow_sparsegpt(weight, inputs, num_samples=1, **settings):
    """The same in float64: each column decided on the solution of what remains to be minimised.

    Also the smallest relative distance of a decision from the opposite one.
    """
    method = sparsegpt(**settings)
    hessian = 2 / num_samples * inputs.double().T @ inputs.double()
    hessian = shrunk(hessian, method.off_diagonal)
    num_in = len(hessian)
    alive = weight.double().clone()
    for i in range(num_in):
        if hessian[i, i] == 0:
            hessian[i, i] = 1
            alive[:, i] = 0
    hessian += method.damping * hessian.diagonal().mean() * torch.eye(num_in)
    pruning = SlowPruning(method, weight.double(), pivots(hessian))
    return swept(alive, hessian, pruning.decide), min(pruning.margins)


class SlowPruning:
    """Removes, and rounds if asked to, one column after the other in Python numbers."""

    def __init__(self, method, dense, pivots):
        self.method, self.pivots = method, pivots
        self.gone = [[False] * len(pivots) for _ in dense]
        self.margins = [1.0]
        if method.bits is not None:
            width = method.group_size or len(pivots)
            self.grids = [
                [
                    slow_grid(row[i // width * width :][:width], method.bits, method.symmetric)
                    for i in range(len(pivots))
                ]
                for row in dense.tolist()
            ]

    def decide(self, i, free):
        if self.method.pattern == "unstructured":
            self.choose_block(i, free)
        else:
            self.choose_group(i, free, *map(int, self.method.pattern.split(":")))
        column = [0.0 if self.gone[o][i] else w for o, w in enumerate(free[:, i].tolist())]
        if self.method.bits is not None:
            grids = [row[i] for row in self.grids]
            self.margins += [distance_from_tie(*pair) for pair in zip(column, grids, strict=True)]
            pairs = zip(column, grids, strict=True)
            column = [slow_round(w, grid, self.method.bits) for w, grid in pairs]
        return tensor(column, dtype=torch.float64)

    def score(self, free, o, i):
        return float(free[o, i]) ** 2 / self.pivots[i]

    def choose_block(self, start, free):
        """At the first column of a block, mark all scores of the block up to its threshold."""
        if start % self.method.block_size:
            return
        columns = range(start, min(start + self.method.block_size, len(self.pivots)))
        score = {(o, i): self.score(free, o, i) for o in range(len(free)) for i in columns}
        ranked = sorted(score.values())
        rank = int(len(ranked) * self.method.sparsity)
        if rank + 1 < len(ranked) and ranked[rank] > 0:
            self.margins.append(ranked[rank + 1] / ranked[rank] - 1)
        for (o, i), value in score.items():
            self.gone[o][i] = value <= ranked[rank]

    def choose_group(self, start, free, kept, length):
        """At the first column of a group, mark the lowest scores of the group in each row."""
        if start % length:
            return
        for o in range(len(free)):
            ranked = sorted((self.score(free, o, i), i) for i in range(start, start + length))
            last, first = ranked[length - kept - 1][0], ranked[length - kept][0]
            if last > 0:
                self.margins.append(first / last - 1)
            for _, i in ranked[: length - kept]:
                self.gone[o][i] = True


def assert_equals_reference(weight, inputs, num_samples=1, **settings):
    """Cases are fixed, and checked to have no decision that float32 could turn round."""
    new = sparsegpt(**settings).compress_weight(weight, hessian_of(inputs, num_samples)).weight_OI
    expected, margin = slow_sparsegpt(weight, inputs, num_samples, **settings)
    assert margin > 1e-6
    assert torch.equal(new == 0, expected == 0)
    # A hundredth of the diagonal as damping leaves float32 about four digits of the inverse.
    torch.testing.assert_close(new.double(), expected, rtol=1e-3, atol=1e-4)


def output_error(weight, new, inputs):
    return float((inputs.double() @ (weight.double() - new.double()).T).square().sum())


def test_2_by_2_by_hand():
    # X^T X = [[2, 1], [1, 1]], H = [[4, 2], [2, 2]], H^-1 = [[.5, -.5], [-.5, 1]],
    # U = sqrt(.5) [[1, -1], [0, 1]]: scores are 2 w^2, and int(4 * .25) = 1 makes 4 the threshold.
    weight = tensor([[1.0, 3.0], [4.0, 2.0]])
    new = sparsegpt(sparsity=0.25, damping=0).compress_weight(
        weight, hessian_of(tensor([[1.0, 0.0], [1.0, 1.0]]))
    )
    # Row 0 loses column 0: w01 += 1, so that token 2 still gives 4. Row 1 has nothing to its right.
    torch.testing.assert_close(new.weight_OI, tensor([[0.0, 4.0], [4.0, 0.0]]))
    assert new.damping == 0 and new.note is None


DIAGONAL = torch.diag(tensor([1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0]))
WEIGHT_4_8 = tensor(
    [
        [8.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0],
        [5.0, 4.0, 0.1, 0.2, 0.3, 9.0, 0.4, 0.5],
        [7.0, 0.5, 0.2, 0.3, 2.0, 1.0, 5.0, 9.0],
    ]
)


def test_4_by_8_by_hand_unstructured_compares_all_rows_of_a_block_of_columns():
    # A diagonal Hessian repairs nothing; scores are (w * x)^2. |w * x| of columns 0-3 and 4-7:
    #   8   2   3   4   |  4    3    2   1
    #   1   2   6   8   | 12    9    6   3
    #   5   8   .3  .8  |  1.2 27    .8  .5
    #   7   1   .6  1.2 |  8    3   10   9
    # int(16 * .5) = 8: the ninth smallest is the threshold, 3 on the left and 4 on the right.
    new = sparsegpt(damping=0, block_size=4).compress_weight(WEIGHT_4_8, hessian_of(DIAGONAL))
    expected = [
        [8, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 2, 2, 3, 3, 3, 0],
        [5, 4, 0, 0, 0, 9, 0, 0],
        [7, 0, 0, 0, 2, 0, 5, 9],
    ]
    torch.testing.assert_close(new.weight_OI, tensor(expected, dtype=torch.float32))


def test_4_by_8_by_hand_with_a_pattern():
    new = sparsegpt(pattern="2:4", damping=0).compress_weight(WEIGHT_4_8, hessian_of(DIAGONAL))
    expected = [
        [8, 0, 0, 1, 1, 1, 0, 0],
        [0, 0, 2, 2, 3, 3, 0, 0],
        [5, 4, 0, 0, 0.3, 9, 0, 0],
        [7, 0, 0, 0.3, 0, 0, 5, 9],
    ]
    torch.testing.assert_close(new.weight_OI, tensor(expected))


ROUNDED = [
    {"bits": 4},
    {"bits": 3, "group_size": 8},
    {"bits": 2, "symmetric": True},
]


@pytest.mark.parametrize("rounding", [{}, *ROUNDED], ids=str)
@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "4:8"])
@pytest.mark.parametrize("block_size", [8, 16, 128])
def test_equals_the_slow_solve(pattern, block_size, rounding):
    settings = {"pattern": pattern, "block_size": block_size, **rounding}
    assert_equals_reference(random_weight(8, 24), correlated_inputs(200, 24), 4, **settings)
    few_tokens = deficient(correlated_inputs(10, 24))
    assert_equals_reference(random_weight(8, 24, seed=7), few_tokens, **settings)


@pytest.mark.parametrize(("num_out", "num_in"), [(1, 5), (7, 1), (40, 12), (5, 40)])
@pytest.mark.parametrize("bits", [None, 3])
def test_equals_the_slow_solve_on_other_shapes(num_out, num_in, bits):
    weight, inputs = random_weight(num_out, num_in, seed=num_in), correlated_inputs(99, num_in)
    assert_equals_reference(weight, inputs, 2, bits=bits, block_size=16)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "5:10"])
@pytest.mark.parametrize("bits", [None, 4])
def test_blocks_of_several_strips_equal_the_slow_solve(pattern, bits):
    weight, inputs = random_weight(3, 80), correlated_inputs(300, 80)
    assert_equals_reference(weight, inputs, pattern=pattern, block_size=80, bits=bits)


@pytest.mark.parametrize(("sparsity", "block_size"), [(0.0, 20), (0.29, 7), (0.9, 128)])
def test_sparsities_that_are_no_half_equal_the_slow_solve(sparsity, block_size):
    settings = {"sparsity": sparsity, "block_size": block_size, "damping": 0.1}
    assert_equals_reference(random_weight(6, 20), correlated_inputs(100, 20), **settings)


@pytest.mark.parametrize("off_diagonal", [0, 0.5, 0.9])
@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_a_shrunk_hessian_equals_the_slow_solve(off_diagonal, pattern):
    weight, inputs = random_weight(8, 24), correlated_inputs(100, 24)
    settings = {"off_diagonal": off_diagonal, "pattern": pattern, "block_size": 16}
    assert_equals_reference(weight, inputs, **settings)
    new = sparsegpt(**settings).compress_weight(weight, hessian_of(inputs)).weight_OI
    kept = new != 0
    assert torch.equal(new[kept], weight[kept]) == (off_diagonal == 0)  # nothing is repaired


def test_kept_weights_are_rounded_and_their_errors_repaired_by_hand():
    # H^-1 = [[.5, -.5], [-.5, 1]] as above: an error e of column 0 moves column 1 by +e. Scores are
    # 2 w^2, and int(6 * .34) = 2 makes the third smallest, .72 of the weight .6, the threshold.
    # Grids of 2 bits: steps of 1 from 0 to 3 in row 0, of 4/3 from 0 to 4 in row 1.
    # Row 0: .6 is removed, e = .6; 3 + .6 = 3.6 -> 3, the end of the grid.
    # Row 1: 1.2 -> 4/3, e = -.1333; 4 - .1333 = 3.8667 -> 4. Row 2: both are removed.
    weight = tensor([[0.6, 3.0], [1.2, 4.0], [0.1, 0.3]])
    hessian = hessian_of(tensor([[1.0, 0.0], [1.0, 1.0]]))
    new = sparsegpt(sparsity=0.34, bits=2, damping=0).compress_weight(weight, hessian)
    expected = tensor([[0.0, 3.0], [4 / 3, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(new.weight_OI, expected)
    assert new.bits == pytest.approx(2 * 3 / 6 + 1 + (16 + 2) / 2)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_removed_weights_stay_zero_and_kept_ones_lie_on_the_grid_of_the_dense_row(pattern):
    weight, inputs = random_weight(8, 48), correlated_inputs(100, 48)
    inputs[:, 7] = 0
    weight[:, 7] = 50.0  # dead, but its weights still widen the grids, as published
    hessian = hessian_of(inputs)
    pruned = sparsegpt(pattern=pattern).compress_weight(weight, hessian).weight_OI
    for grid_settings in (
        {"bits": 4},
        {"bits": 4, "group_size": 8},
        {"bits": 3, "symmetric": True},
    ):
        new = sparsegpt(pattern=pattern, **grid_settings).compress_weight(weight, hessian)
        settings = {"group_size": None, "symmetric": False, **grid_settings}
        grid = fit_grid(weight, settings["bits"], settings["group_size"], settings["symmetric"])
        torch.testing.assert_close(grid.round(new.weight_OI), new.weight_OI)
        assert (new.weight_OI == 0).sum() >= (pruned == 0).sum()
        if pattern == "2:4":
            assert ((new.weight_OI != 0).unflatten(1, (-1, 4)).sum(dim=2) <= 2).all()


def test_average_bits_of_half_the_weights_in_four_bits_are_about_three():
    weight, inputs = random_weight(16, 256), correlated_inputs(400, 256)
    hessian = hessian_of(inputs)
    new = sparsegpt(pattern="2:4", bits=4).compress_weight(weight, hessian)
    assert new.bits == pytest.approx(3 + 20 / 256)
    new = sparsegpt(pattern="2:4", bits=4, group_size=64, symmetric=True)
    assert new.compress_weight(weight, hessian).bits == pytest.approx(3 + 16 / 64)
    assert sparsegpt().compress_weight(weight, hessian).bits is None


@pytest.mark.parametrize("seed", range(5))
def test_joint_rounding_leaves_less_error_than_rounding_what_was_pruned(seed):
    weight, inputs = random_weight(32, 64, seed), correlated_inputs(300, 64, seed)
    hessian = hessian_of(inputs)
    joint = sparsegpt(pattern="2:4", bits=4).compress_weight(weight, hessian).weight_OI
    pruned = sparsegpt(pattern="2:4").compress_weight(weight, hessian).weight_OI
    rounded = fit_grid(weight, 4, None, False).round(pruned)
    assert output_error(weight, joint, inputs) < output_error(weight, rounded, inputs)


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"bits": 9}, r"method\.bits=9"),
        ({"group_size": 8}, r"method\.group_size=8.*method\.bits"),
        ({"symmetric": True}, r"method\.symmetric=True.*method\.bits"),
        ({"bits": 4, "group_size": 0}, r"method\.group_size=0"),
        ({"bits": 4, "symmetric": "no"}, r"method\.symmetric='no'"),
    ],
)
def test_wrong_grid_settings_are_refused_by_name(settings, phrase):
    with pytest.raises(ConfigError, match=phrase):
        sparsegpt(**settings)


def test_grid_groups_that_do_not_fill_a_row_leave_a_shorter_last_one():
    weight, inputs = random_weight(6, 20), correlated_inputs(60, 20)
    new = sparsegpt(bits=3, group_size=8).compress_weight(weight, hessian_of(inputs))
    assert new.grid is not None and new.grid.scale_OG.shape == (6, 3)
    last = fit_grid(weight[:, 16:], 3, None, False)
    assert torch.equal(new.grid.scale_OG[:, 2:], last.scale_OG)
    torch.testing.assert_close(last.round(new.weight_OI[:, 16:]), new.weight_OI[:, 16:])


def test_the_scale_of_the_hessian_cancels():
    inputs, weight = correlated_inputs(100, 16), random_weight(8, 16)
    one = sparsegpt().compress_weight(weight, hessian_of(inputs, 1)).weight_OI
    many = sparsegpt().compress_weight(weight, hessian_of(inputs, 64)).weight_OI
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-5)


def test_each_block_of_columns_loses_at_least_one_weight_more_than_asked():
    inputs, weight = correlated_inputs(100, 32), random_weight(8, 32)
    for sparsity in (0.0, 0.5, 0.75):
        new = sparsegpt(sparsity=sparsity, block_size=8).compress_weight(weight, hessian_of(inputs))
        zeros = (new.weight_OI == 0).reshape(8, 4, 8).sum(dim=(0, 2))
        assert zeros.tolist() == [int(64 * sparsity) + 1] * 4


@pytest.mark.parametrize(("pattern", "kept"), [("2:4", 2), ("1:4", 1), ("4:8", 4)])
def test_patterns_are_exact(pattern, kept):
    length = int(pattern[-1])
    new = sparsegpt(sparsity=1 - kept / length, pattern=pattern, block_size=16).compress_weight(
        random_weight(8, 48), hessian_of(correlated_inputs(100, 48))
    )
    assert ((new.weight_OI != 0).reshape(8, -1, length).sum(dim=2) == kept).all()


def test_the_block_size_changes_the_result():
    inputs, weight = correlated_inputs(100, 32), random_weight(8, 32)
    small = sparsegpt(block_size=8).compress_weight(weight, hessian_of(inputs)).weight_OI
    large = sparsegpt(block_size=32).compress_weight(weight, hessian_of(inputs)).weight_OI
    assert not torch.equal(small == 0, large == 0)


def test_dead_features_lose_their_weights_and_are_reported():
    inputs = correlated_inputs(100, 8)
    inputs[:, [2, 6]] = 0
    new = sparsegpt(sparsity=0.25).compress_weight(random_weight(8, 8), hessian_of(inputs))
    assert (new.weight_OI[:, [2, 6]] == 0).all()
    assert new.note is not None and "2 dead input features" in new.note


def test_raised_damping_is_reported():
    hessian = hessian_of(singular_inputs(6))
    new = sparsegpt(damping=0).compress_weight(random_weight(4, 6), hessian)
    assert new.damping is not None and new.damping > 0
    assert new.note is not None and "damping raised" in new.note
    assert torch.isfinite(new.weight_OI).all()


def test_without_a_token_nothing_is_repaired_and_the_report_says_so():
    weight = random_weight(8, 16)
    new = sparsegpt().compress_weight(weight, Hessian(16))
    magnitude = MAGNITUDE.compress_weight(weight, None)
    assert torch.equal(new.weight_OI, magnitude.weight_OI)
    assert new.note is not None and "no calibration token" in new.note


def test_the_new_weight_keeps_the_dtype_of_the_old():
    weight = random_weight(8, 16).half()
    new = sparsegpt().compress_weight(weight, hessian_of(correlated_inputs(50, 16))).weight_OI
    assert new.dtype == torch.float16


def test_arguments_are_left_alone():
    weight, hessian = random_weight(8, 16), hessian_of(correlated_inputs(50, 16))
    weight_before, hessian_before = weight.clone(), hessian.hessian_II()
    for pattern in ("unstructured", "2:4"):
        first = sparsegpt(pattern=pattern).compress_weight(weight, hessian).weight_OI
        second = sparsegpt(pattern=pattern).compress_weight(weight, hessian).weight_OI
        assert torch.equal(first, second)
    assert torch.equal(weight, weight_before)
    assert torch.equal(hessian.hessian_II(), hessian_before)


@pytest.mark.parametrize("num_tokens", [0, 50])
def test_a_weight_stored_column_by_column_is_left_alone(num_tokens):
    weight = random_weight(16, 8).T  # turning it round takes no copy, so one must be made
    before = weight.clone()
    sparsegpt().compress_weight(weight, hessian_of(correlated_inputs(num_tokens, 16)))
    assert torch.equal(weight, before)


def test_transposed_weights_give_the_same_result():
    weight, hessian = random_weight(8, 16), hessian_of(correlated_inputs(50, 16))
    stored_transposed = weight.T.contiguous().T
    before = stored_transposed.clone()
    one = sparsegpt().compress_weight(weight, hessian).weight_OI
    other = sparsegpt().compress_weight(stored_transposed, hessian).weight_OI
    assert torch.equal(one, other) and torch.equal(stored_transposed, before)
