"""SparseGPT: hand-computed cases, a slow independent solve, properties of the published rule."""

import pytest
import torch
from random_layers import correlated_inputs, hessian_of, random_weight
from torch import tensor

from calib_sweep.method.magnitude import Magnitude
from calib_sweep.method.sparsegpt import SparseGPT
from calib_sweep.method.statistics import Hessian, InputNorm
from calib_sweep.method.wanda import Wanda

DEFAULTS = {
    "sparsity": 0.5,
    "pattern": "unstructured",
    "bits": None,
    "group_size": None,
    "symmetric": False,
    "damping": 0.01,
    "block_size": 128,
}


MAGNITUDE = Magnitude(sparsity=0.5, pattern="unstructured", compare="layer")


def sparsegpt(**settings):
    return SparseGPT(**{**DEFAULTS, **settings})


def slow_solve(weight_OI, inputs_TI, num_samples, sparsity, pattern, damping, block_size):
    """The same rule in float64: the inverse of what remains is computed anew for each column."""
    weight = weight_OI.double().clone()
    hessian = 2 / num_samples * inputs_TI.double().T @ inputs_TI.double()
    num_in = len(hessian)
    dead = [i for i in range(num_in) if hessian[i, i] == 0]
    for i in dead:
        hessian[i, i] = 1
        weight[:, i] = 0
    hessian += damping * hessian.diagonal().mean() * torch.eye(num_in)
    inverse = [torch.linalg.inv(hessian[i:, i:]) for i in range(num_in)]
    saliency = [float(inverse[i][0, 0]) for i in range(num_in)]
    gone = torch.zeros_like(weight, dtype=torch.bool)
    for i in range(num_in):
        if pattern == "unstructured" and i % block_size == 0:
            columns = range(i, min(i + block_size, num_in))
            score = torch.stack([weight[:, j] ** 2 / saliency[j] for j in columns], dim=1)
            threshold = score.flatten().sort().values[int(score.numel() * sparsity)]
            gone[:, columns] = score <= threshold
        elif pattern != "unstructured":
            slow_choice(gone, weight, saliency, i, *map(int, pattern.split(":")))
        for row in range(len(weight)):
            if gone[row, i]:
                weight[row, i:] -= weight[row, i] / inverse[i][0, 0] * inverse[i][0]
                weight[row, i] = 0
    return weight


def slow_choice(gone, weight, saliency, start, kept, length):
    """At the first column of a group, mark the least salient of the group in each row."""
    if start % length == 0:
        for row in range(len(weight)):
            columns = range(start, start + length)
            ranked = sorted(columns, key=lambda j: float(weight[row, j]) ** 2 / saliency[j])
            gone[row, ranked[: length - kept]] = True


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


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "4:8"])
@pytest.mark.parametrize("block_size", [8, 16, 128])
@pytest.mark.parametrize("num_tokens", [200, 10])  # 10 tokens, 24 features: rank-deficient
def test_agrees_with_the_slow_solve(pattern, block_size, num_tokens):
    inputs, weight = correlated_inputs(num_tokens, 24), random_weight(8, 24)
    inputs[:, 5] = 0
    settings = {"sparsity": 0.5, "pattern": pattern, "damping": 0.01, "block_size": block_size}
    new = sparsegpt(**settings).compress_weight(weight, hessian_of(inputs, 4)).weight_OI
    expected = slow_solve(weight, inputs, 4, **settings)
    assert torch.equal(new == 0, expected == 0)
    # A hundredth of the diagonal as damping leaves float32 about four digits of the inverse.
    torch.testing.assert_close(new.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "5:10"])
def test_blocks_of_several_strips_agree_with_the_slow_solve(pattern):
    inputs, weight = correlated_inputs(300, 80), random_weight(3, 80)
    settings = {"sparsity": 0.5, "pattern": pattern, "damping": 0.01, "block_size": 80}
    new = sparsegpt(**settings).compress_weight(weight, hessian_of(inputs)).weight_OI
    expected = slow_solve(weight, inputs, 1, **settings)
    assert torch.equal(new == 0, expected == 0)
    torch.testing.assert_close(new.double(), expected, rtol=1e-3, atol=1e-4)


def test_sparsities_that_are_no_half_agree_with_the_slow_solve():
    inputs, weight = correlated_inputs(100, 20), random_weight(6, 20)
    for sparsity, block_size in ((0.0, 20), (0.29, 7), (0.9, 128)):
        settings = {"sparsity": sparsity, "pattern": "unstructured"}
        settings |= {"damping": 0.1, "block_size": block_size}
        new = sparsegpt(**settings).compress_weight(weight, hessian_of(inputs)).weight_OI
        expected = slow_solve(weight, inputs, 1, **settings)
        torch.testing.assert_close(new.double(), expected, rtol=1e-4, atol=1e-5)


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
    new = sparsegpt(damping=0).compress_weight(random_weight(4, 6), hessian_of(torch.ones(3, 6)))
    assert new.damping is not None and new.damping > 0
    assert new.note is not None and "damping raised" in new.note
    assert torch.isfinite(new.weight_OI).all()


def test_without_a_token_nothing_is_repaired_and_the_report_says_so():
    weight = random_weight(8, 16)
    new = sparsegpt().compress_weight(weight, Hessian(16))
    magnitude = MAGNITUDE.compress_weight(weight, None)
    assert torch.equal(new.weight_OI, magnitude.weight_OI)
    assert new.note is not None and "no calibration token" in new.note


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("seed", range(5))
def test_repair_leaves_less_output_error_than_wanda(pattern, seed):
    inputs, weight = correlated_inputs(200, 32, seed), random_weight(16, 32, seed + 100)
    norm = InputNorm(32)
    norm.add(inputs)
    wanda = Wanda(sparsity=0.5, pattern=pattern).compress_weight(weight, norm).weight_OI
    new = sparsegpt(pattern=pattern).compress_weight(weight, hessian_of(inputs)).weight_OI
    assert output_error(weight, new, inputs) <= output_error(weight, wanda, inputs)


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
