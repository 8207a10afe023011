"""What must hold between the methods, over many random layers."""

from dataclasses import replace
from statistics import mean

import pytest
import torch
from helpers.random_layers import correlated_inputs, hessian_of, random_weight
from helpers.shipped import LAYER_METHODS, WITH_DATA, layer, output_error, seen

from calib_sweep.compression.rows import Rows, Taken, add_alone

GPTQ, RTN = WITH_DATA["gptq"], LAYER_METHODS["rtn"]
SHAPES = [(8, 32), (16, 16), (4, 64)]
SAMPLES = [0.5, 3, 30]  # tokens for each feature: rank-deficient, few, many


def random_cases(shapes, num_seeds):
    """(weight, inputs) of every shape and number of tokens, `num_seeds` each."""
    for num_out, num_in in shapes:
        for tokens_per_feature in SAMPLES:
            for seed in range(num_seeds):
                inputs = correlated_inputs(int(tokens_per_feature * num_in), num_in, seed)
                yield random_weight(num_out, num_in, seed), inputs


def error_of(method, weight, inputs):
    new = method.compress_weight(weight, seen(method, inputs)).weight_OI
    return output_error(weight, new, inputs)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("settings", [{}, {"act_order": True}, {"mse": True}], ids=str)
def test_gptq_never_leaves_more_error_than_rounding_to_nearest(bits, settings):
    nearest = replace(RTN, bits=bits)
    for weight, inputs in random_cases(SHAPES, 4 if "mse" in settings else 8):
        solved = error_of(replace(GPTQ, bits=bits, **settings), weight, inputs)
        assert solved < error_of(nearest, weight, inputs)


def test_groups_fitted_to_updated_weights_are_the_better_of_the_two():
    """Small groups fitted to weights that lack the updates of their block lose, and now and then
    even to rounding to nearest; groups fitted to updated weights never do."""
    updated, published = (
        replace(GPTQ, bits=3, group_size=8, group_fit=fit) for fit in ("updated", "published")
    )
    nearest = replace(RTN, bits=3, group_size=8)
    errors = [
        [error_of(method, weight, inputs) for method in (updated, published, nearest)]
        for weight, inputs in random_cases(SHAPES, 10)
    ]
    assert all(of_updated < of_nearest for of_updated, _, of_nearest in errors)
    assert mean(of_updated / of_published for of_updated, of_published, _ in errors) < 0.97


@pytest.mark.parametrize("pattern", ["2:4", "4:8"])
def test_sparsegpt_never_leaves_more_error_than_wandas_masks_without_repair(pattern):
    sparsegpt, wanda = (
        replace(WITH_DATA[name], pattern=pattern) for name in ("sparsegpt", "wanda")
    )
    for weight, inputs in random_cases([*SHAPES, (32, 32)], 8):
        assert error_of(sparsegpt, weight, inputs) < error_of(wanda, weight, inputs)


@pytest.mark.parametrize("sparsity", [0.3, 0.5])
def test_so_does_unstructured_sparsegpt_up_to_half_of_a_layer_of_some_size(sparsity):
    """Not beyond: at 70 % and on layers of one block, where its one choice for all columns comes
    before any repair, Wanda's equal shares of every row can be the better masks."""
    sparsegpt, wanda = (
        replace(WITH_DATA[name], sparsity=sparsity) for name in ("sparsegpt", "wanda")
    )
    for weight, inputs in random_cases([(64, 64), (32, 192)], 3):
        assert error_of(sparsegpt, weight, inputs) < error_of(wanda, weight, inputs)


@pytest.mark.parametrize("settings", [{"sparsity": 0.7}, {"pattern": "2:4"}], ids=str)
def test_alps_never_leaves_more_error_than_sparsegpt(settings):
    alps, sparsegpt = (replace(WITH_DATA[name], **settings) for name in ("alps", "sparsegpt"))
    for weight, inputs in random_cases([*SHAPES, (32, 64)], 4):
        assert error_of(alps, weight, inputs) < error_of(sparsegpt, weight, inputs)


def test_the_repair_never_does_harm_to_the_mask_it_was_made_for():
    for weight, inputs in random_cases([*SHAPES, (64, 64)], 6):
        for name in ("sparsegpt", "sparsegpt_24"):
            method = WITH_DATA[name]
            new = method.compress_weight(weight, seen(method, inputs)).weight_OI
            unrepaired = weight.masked_fill(new == 0, 0)
            assert output_error(weight, new, inputs) < output_error(weight, unrepaired, inputs)


def test_more_damping_moves_gptq_towards_rounding_to_nearest():
    for seed in range(5):
        weight, inputs = random_weight(16, 32, seed), correlated_inputs(100, 32, seed)
        nearest = replace(RTN, bits=3).compress_weight(weight, None).weight_OI
        hessian = hessian_of(inputs)
        apart = [
            int((new.weight_OI != nearest).sum())
            for damping in (0.01, 1.0, 10.0, 100.0, 1e7)
            for new in [replace(GPTQ, bits=3, damping=damping).compress_weight(weight, hessian)]
        ]
        assert apart == sorted(apart, reverse=True)
        assert apart[0] > 50 and apart[-1] == 0


def add(statistic, samples):
    """A batch, as the walk adds it."""
    rows = Rows(torch.cat(samples), None)
    add_alone(Taken("q", statistic, rows, len(samples)))


@pytest.mark.parametrize("name", WITH_DATA)
def test_the_order_of_samples_and_their_batches_move_nothing(name):
    method, (weight, inputs) = WITH_DATA[name], layer()
    in_order, shuffled = (method.statistic(weight.shape[1]) for _ in range(2))
    samples = inputs.split(50)
    add(in_order, samples)
    for which in ([4, 1], [5], [0, 3, 2]):
        add(shuffled, [samples[i] for i in which])
    one, other = (method.compress_weight(weight, s).weight_OI for s in (in_order, shuffled))
    assert torch.equal(one == 0, other == 0)
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", WITH_DATA)
def test_layers_that_share_a_statistic_get_what_each_would_get_alone(name):
    method, (weight, inputs) = WITH_DATA[name], layer()
    shared, other_weight = seen(method, inputs), random_weight(64, weight.shape[1])
    together = [method.compress_weight(w, shared) for w in (weight, other_weight, weight)]
    alone = [method.compress_weight(w, seen(method, inputs)) for w in (weight, other_weight)]
    for i, expected in enumerate([*alone, alone[0]]):
        assert torch.equal(together[i].weight_OI, expected.weight_OI)
        assert together[i].bits == expected.bits and together[i].damping == expected.damping


@pytest.mark.parametrize("name", WITH_DATA)
def test_the_statistic_tells_the_output_error(name):
    method, (weight, inputs) = WITH_DATA[name], layer()
    statistic = seen(method, inputs)
    new = method.compress_weight(weight, statistic).weight_OI
    told = statistic.weighted_square_sum(weight - new) / statistic.weighted_square_sum(weight)
    assert told == pytest.approx(output_error(weight, new, inputs), rel=1e-4)
