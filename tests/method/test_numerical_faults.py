"""What can be wrong with numbers, for every method that is shipped: defined, finite, reported."""

from dataclasses import replace

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.random_layers import singular_inputs
from helpers.shipped import (
    LAYER_METHODS,
    METHODS,
    NUM_IN,
    WITH_DATA,
    is_finite,
    layer,
    output_error,
    seen,
)

from calib_sweep.compression.layer import LayerError
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import decoder_blocks, linear_layers

every_layer_method = pytest.mark.parametrize("name", LAYER_METHODS)
every_method_with_data = pytest.mark.parametrize("name", WITH_DATA)
# Of a model without experts; REAP has tests of its own.
every_method = pytest.mark.parametrize(
    "name", [name for name in METHODS if not getattr(METHODS[name], "removes_experts", False)]
)
NEEDS_INPUTS = [name for name in METHODS if METHODS[name].statistic is not None]
DAMPED = [name for name in WITH_DATA if hasattr(WITH_DATA[name], "damping")]
TOKENS = random_tokens(4, 24)


def wide_model(**settings):
    """Wide enough for groups of 128 and for second-level groups of 16 rows."""
    return tiny_model(hidden_size=128, intermediate_size=256, **settings)


@every_method_with_data
def test_dead_columns_cost_nothing_and_are_reported(name):
    method, (weight, inputs) = WITH_DATA[name], layer()
    inputs[:, [3, 70]] = 0
    new = method.compress_weight(weight, seen(method, inputs))
    assert new.note is not None and "2 dead input features" in new.note
    error = output_error(weight, new.weight_OI, inputs)
    assert is_finite(new.weight_OI) and 0 < error < 0.5
    # SpQR stores the grid point nearest to zero, those that repair nothing that nearest to the
    # weight; ALPS may keep a weight; all others zero.
    may_stay = ("spqr", "dash_q", "rtn", "alps")
    assert (new.weight_OI[:, [3, 70]] == 0).all() or any(part in name for part in may_stay)


@every_method_with_data
def test_an_input_of_zeros_only_is_defined_and_reported(name):
    method, (weight, inputs) = WITH_DATA[name], layer()
    new = method.compress_weight(weight, seen(method, torch.zeros_like(inputs)))
    assert is_finite(new.weight_OI) and new.weight_OI.shape == weight.shape
    assert new.note is not None and f"{NUM_IN} dead input features" in new.note


@every_method_with_data
def test_a_layer_without_tokens_is_compressed_by_rule_and_reported(name):
    method, (weight, inputs) = WITH_DATA[name], layer()
    new = method.compress_weight(weight, seen(method, inputs[:0]))
    assert new.note is not None and "no calibration token reached this layer" in new.note
    assert is_finite(new.weight_OI) and new.damping is None
    # By rule, not erased: half of the weights stay, or all of them on a grid.
    assert float((new.weight_OI != 0).double().mean()) > 0.4
    assert output_error(weight, new.weight_OI, torch.eye(NUM_IN)) < 0.3


@every_layer_method
@pytest.mark.parametrize("of", ["weights", "inputs", "both"])
def test_one_outlier_of_ten_thousand_in_half_precision(name, of):
    method, (weight, inputs) = LAYER_METHODS[name], layer()
    weight, inputs = weight.half(), inputs.half()
    if of != "inputs":
        weight[5, 40] = 1e4
    if of != "weights":
        inputs[7, 40] = 1e4
    new = method.compress_weight(weight, seen(method, inputs))
    assert new.weight_OI.dtype == torch.float16 and is_finite(new.weight_OI)
    if of != "inputs":
        # A symmetric grid of 16 levels ends at 7 of 7.5 steps.
        share = 0.07 if getattr(method, "symmetric", False) else 0.05
        if getattr(method, "format", None) == "mxfp4":  # 4.88 times a power of two becomes 4
            share = 0.2
        assert float(new.weight_OI[5, 40]) == pytest.approx(1e4, rel=share)
    if hasattr(method, "spectral_damping"):  # whose mean fraction hangs on the inputs
        assert new.note is None
    else:
        assert new.damping == getattr(method, "damping", None)  # no retry is needed


@every_layer_method
def test_a_layer_of_zeros_stays_near_zero(name):
    method, (weight, inputs) = LAYER_METHODS[name], layer()
    new = method.compress_weight(torch.zeros_like(weight), seen(method, inputs)).weight_OI
    # SpQR's grid from -1 to 1 need not contain 0; every other method gives 0.
    assert is_finite(new) and float(new.abs().max()) <= (1 / 7 if "spqr" in name else 0)


@every_layer_method
def test_rows_of_equal_weights_stay_finite(name):
    method, (_, inputs) = LAYER_METHODS[name], layer()
    weight = torch.linspace(-1, 1, 32).unsqueeze(1).repeat(1, NUM_IN)
    new = method.compress_weight(weight, seen(method, inputs)).weight_OI
    assert is_finite(new) and new.shape == weight.shape


SHRUNK = [name for name in DAMPED if getattr(WITH_DATA[name], "off_diagonal", 1) < 1]


@pytest.mark.parametrize("name", [name for name in DAMPED if name not in SHRUNK])
def test_a_singular_hessian_is_retried_with_more_damping_and_recorded(name):
    method, (weight, _) = replace(WITH_DATA[name], damping=0), layer()
    new = method.compress_weight(weight, seen(method, singular_inputs(NUM_IN)))
    assert new.damping is not None and new.damping > 0 and is_finite(new.weight_OI)
    assert new.note is not None and f"to {new.damping:g}" in new.note
    assert "not positive definite, damping raised" in new.note


@pytest.mark.parametrize("name", SHRUNK)
def test_a_hessian_that_is_shrunk_off_its_diagonal_is_not_singular(name):
    method, (weight, _) = replace(WITH_DATA[name], damping=0), layer()
    new = method.compress_weight(weight, seen(method, singular_inputs(NUM_IN)))
    assert new.damping == 0 and new.note is None and is_finite(new.weight_OI)


@pytest.mark.parametrize("name", DAMPED)
def test_fewer_tokens_than_features_need_no_retry_at_the_shipped_damping(name):
    method, (weight, inputs) = WITH_DATA[name], layer()
    new = method.compress_weight(weight, seen(method, inputs[:20]))
    assert new.damping == method.damping and new.note is None and is_finite(new.weight_OI)


def test_the_walk_records_the_damping_that_was_used():
    method = replace(WITH_DATA["sparsegpt"], damping=0)
    reports = compress(wide_model(), method, TOKENS[:1, :4])
    assert all(report.damping > 0 and "damping raised" in report.note for report in reports)


@every_layer_method
def test_patterns_that_do_not_fill_a_row_are_refused_by_name_and_groups_are_not(name):
    method = LAYER_METHODS[name]
    method.check_shape("block 0 mlp.down_proj", 256, 512)
    pattern = getattr(method, "pattern", "unstructured")
    if pattern == "unstructured":
        return method.check_shape("block 0 mlp.down_proj", 256, 258)
    with pytest.raises(ConfigError) as caught:
        method.check_shape("block 0 mlp.down_proj", 256, 258)
    assert f"method.pattern={pattern!r}" in str(caught.value)
    assert "258 input features of block 0 mlp.down_proj" in str(caught.value)


@every_method
def test_a_weight_that_is_not_a_number_is_named(name):
    model = wide_model()
    linear_layers(decoder_blocks(model)[1])["mlp.up_proj"].module.weight.data[3, 4] = float("nan")
    with pytest.raises(
        LayerError, match=r"block 1 layer mlp\.up_proj \(256 x 128\).*weight is not"
    ):
        compress(model, METHODS[name], TOKENS)


@pytest.mark.parametrize("name", NEEDS_INPUTS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_inputs_that_are_no_numbers_are_named(name, value):
    model = wide_model()
    model.get_input_embeddings().weight.data[int(TOKENS[1, 3])] = value
    with pytest.raises(
        LayerError, match=r"block 0 layer self_attn\.q_proj \(128 x 128\): inputs are"
    ):
        compress(model, METHODS[name], TOKENS)


@pytest.mark.parametrize("name", NEEDS_INPUTS)
def test_a_model_with_a_silent_layer_is_compressed_and_its_layer_reported(name):
    model = wide_model()
    block = linear_layers(decoder_blocks(model)[1])
    block["mlp.up_proj"].module.weight.data.zero_()  # so that down_proj sees zeros only
    reports = compress(model, METHODS[name], TOKENS)
    report = next(r for r in reports if (r.block, r.layer) == (1, "mlp.down_proj"))
    assert report.output_error is None
    # Bases without data have nothing to say of it: OWL's magnitude, SmoothQuant's RTN.
    if report.num_tokens is not None and name != "smoothquant":
        assert "256 dead input features" in report.note
    assert all(is_finite(parameter) for parameter in model.parameters())


@pytest.mark.parametrize("name", NEEDS_INPUTS)
def test_a_half_precision_model_with_one_input_feature_of_ten_thousand(name):
    model = wide_model().half()
    decoder_blocks(model)[0].input_layernorm.weight.data[7] = 1e4
    reports = compress(model, METHODS[name], TOKENS)
    assert all(is_finite(parameter) for parameter in model.parameters())
    if hasattr(METHODS[name], "spectral_damping"):
        # It leaves these inputs' outputs for those of the dense model, of which there are too few.
        return
    errors = [report.output_error for report in reports if report.num_tokens is not None]
    assert all(0 < error < 0.6 for error in errors)
    assert {report.damping for report in reports} <= {None, 0.01, 1.0}  # no retry is needed
