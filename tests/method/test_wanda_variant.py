"""Wanda's variant: a slow search in Python numbers, hand-computed rows, what cannot be reached."""

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.random_layers import correlated_inputs, norms, random_weight
from torch import tensor

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.wanda import Wanda
from calib_sweep.method.wanda_variant import WandaVariant


def compressed(weight, inputs, sparsity):
    return WandaVariant(sparsity=sparsity).compress_weight(weight, norms(inputs))


def slow_gone(scores_of_rows, alpha):
    """For each row, which weights go: the smallest, while their sum is within the row's share."""
    gone = []
    for scores in scores_of_rows:
        allowed, summed, threshold = alpha * sum(scores), 0.0, None
        for score in sorted(scores):
            summed += score
            if summed > allowed:
                break
            threshold = score
        gone.append([threshold is not None and score <= threshold for score in scores])
    return gone


def slow_variant(weight, inputs, sparsity):
    """The mask of the bisection, and alpha, in float64."""
    scores = (weight.double().abs() * inputs.double().square().sum(dim=0).sqrt()).tolist()
    alpha, low, high = 0.4, 0.0, 0.8
    while True:
        gone = tensor(slow_gone(scores, alpha))
        reached = float(gone.double().mean())
        if abs(reached - sparsity) <= 0.001 or high - low < 0.001:
            return gone, alpha
        if reached > sparsity:
            alpha, high = (alpha + low) / 2, alpha
        else:
            alpha, low = (alpha + high) / 2, alpha


@pytest.mark.parametrize(("num_out", "num_in"), [(16, 64), (40, 50), (3, 17), (1, 200)])
@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.7])
def test_equals_the_slow_search(num_out, num_in, sparsity):
    weight, inputs = random_weight(num_out, num_in), correlated_inputs(80, num_in)
    gone, _ = slow_variant(weight, inputs, sparsity)
    new = compressed(weight, inputs, sparsity).weight_OI
    assert torch.equal(new, weight.masked_fill(gone, 0))


def test_rows_by_hand_lose_different_numbers():
    # alpha 0.4 removes 12 of 15. Row 0 may lose 4 of 10: 0.5 + 1.5 + 2, which is all of it; row 1
    # 4.4 of 11: 1 + 3; row 2 4 of 10: 1 + 2, and with the 2 its ties.
    weight = tensor([[0.5, 6, -1.5, 2, 0], [1, 7, -3, 0, 0], [2, -2, 2, 3, 1]])
    new = compressed(weight, torch.eye(5), 0.8)
    assert new.weight_OI.tolist() == [[0, 6, 0, 0, 0], [0, 7, 0, 0, 0], [0, 0, 0, 3, 0]]
    assert new.note is None


def test_a_row_whose_smallest_score_is_too_large_keeps_all():
    weight = tensor([[1.0, 1.0], [0.1, 10.0]])  # alpha 0.4 of row 0 is 0.8, less than any weight
    new = compressed(weight, torch.eye(2), 0.25)
    assert new.weight_OI.tolist() == [[1, 1], [0, 10]]


def test_the_sparsity_is_met_to_a_thousandth_on_layers_of_usual_size():
    weight, inputs = random_weight(64, 256), correlated_inputs(300, 256)
    for sparsity in (0.3, 0.5, 0.6):
        new = compressed(weight, inputs, sparsity)
        assert float((new.weight_OI == 0).double().mean()) == pytest.approx(sparsity, abs=0.001)
        assert new.note is None


def test_a_sparsity_above_the_largest_alpha_is_not_reached_and_reported():
    new = compressed(random_weight(8, 64), correlated_inputs(100, 64), 0.99)
    reached = float((new.weight_OI == 0).double().mean())
    assert 0.8 < reached < 0.98
    assert (
        new.note is not None
        and f"sparsity 0.99 not reached: the search ended at {reached:.4f}" in new.note
    )


def test_without_a_token_input_norms_count_as_equal():
    weight = random_weight(8, 64)
    new = WandaVariant(sparsity=0.5).compress_weight(weight, InputNorm(64))
    assert torch.equal(new.weight_OI, compressed(weight, torch.eye(64), 0.5).weight_OI)
    assert new.note is not None and "no calibration token" in new.note


def test_arguments_are_left_alone_and_the_dtype_is_kept():
    weight, statistic = random_weight(8, 16).half(), norms(correlated_inputs(50, 16))
    before = weight.clone()
    new = WandaVariant(sparsity=0.5).compress_weight(weight, statistic).weight_OI
    assert new.dtype == torch.float16 and torch.equal(weight, before)


def test_a_sparsity_of_one_is_refused():
    with pytest.raises(ConfigError, match=r"method\.sparsity=1"):
        WandaVariant(sparsity=1)


def test_the_variant_is_not_plain_wanda_on_opt():
    new = {}
    for method in (WandaVariant(sparsity=0.5), Wanda(sparsity=0.5, pattern="unstructured")):
        model = tiny_model("opt")
        compress(model, method, random_tokens(4, 16))
        new[type(method)] = model.get_decoder().layers[0].fc1.weight
    zeros_of_rows = (new[WandaVariant] == 0).sum(dim=1)
    assert len(zeros_of_rows.unique()) > 1  # plain Wanda removes as many of every row
    assert len((new[Wanda] == 0).sum(dim=1).unique()) == 1
