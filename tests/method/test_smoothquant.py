"""SmoothQuant against a slow float64 reference, by hand, and what the dense model stays."""

import copy
from dataclasses import replace

import pytest
import torch
from helpers.fakes import TINY, random_tokens, tiny_model
from helpers.shipped import METHODS

from calib_sweep.activations.integers import IntegerInputs
from calib_sweep.compression.layer import LayerError
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.base import CompressedWeight, LayerMethod, ScalingGroup
from calib_sweep.method.rtn import RTN
from calib_sweep.method.smoothquant import SmoothQuant
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_range import InputRange
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.parts.building import Builder

TOKENS = random_tokens(4, 24)
INT8 = IntegerInputs(name="int8", bits=8, symmetric=True, clip_ratio=1.0, scaling="dynamic")
NO_NORM_BEFORE = {"olmo2"}  # a layer: norms of what is added


class Kept(LayerMethod):
    """Leaves weights as they are; keeps what it is shown."""

    def __init__(self, shown=None, statistic=None):
        self.shown, self.statistic = shown, statistic

    def compress_weight(self, weight_OI, statistic):
        if self.shown is not None:
            self.shown.append(statistic)
        return CompressedWeight(weight_OI=weight_OI)


class Block:
    """A block of one norm and two layers that read it."""

    def __init__(self, weights, inputs_TI):
        self.weights = weights
        self.follower_weights = {}
        statistic = InputRange(inputs_TI.shape[1])
        statistic.add(inputs_TI)
        self.statistics = dict.fromkeys(weights, statistic)
        self.groups = [
            ScalingGroup(layers=tuple(weights), folds_into="norm", inspected=None),
            ScalingGroup(layers=("q",), folds_into="v", inspected=None),  # no norm: left alone
            ScalingGroup(layers=("q",), folds_into=None, inspected=None),
        ]


def smooth(alpha=0.5, base=None):
    return SmoothQuant(alpha=alpha, base=base or Kept())


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


def test_a_scale_by_hand():
    weights = {
        "q": torch.tensor([[1.0, -4.0, 0.0, 0.0], [0.5, 1.0, 0.0, 0.25]]),
        "v": torch.tensor([[-2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]),
    }
    block = Block(weights, torch.tensor([[8.0, 1.0, 0.0, -1.0], [-2.0, -9.0, 0.0, 0.5]]))
    plan = smooth().plan_block(block)
    (group,) = plan.scales
    assert group.folds_into == "norm" and plan.methods.keys() == weights.keys()
    # sqrt(8 / 2), sqrt(9 / 4), nothing of either: 1e-5, sqrt(1 / 0.25)
    assert plan.scales[group].tolist() == pytest.approx([2.0, 1.5, 1e-5, 2.0])
    (all_of_it,) = smooth(1.0).plan_block(block).scales.values()
    assert all_of_it.tolist() == pytest.approx([8.0, 9.0, 1e-5, 1.0])
    (nothing,) = smooth(0.0).plan_block(block).scales.values()
    assert nothing.tolist() == pytest.approx([1 / 2, 1 / 4, 1e5, 4.0])


def loud_model(architecture="llama"):
    """A tiny model some features of whose norms are much larger than others."""
    model = tiny_model(architecture)
    for block in decoder_blocks(model):
        for name, parameter in block.named_parameters():
            if parameter.ndim == 1 and "norm" in name:
                parameter.data[::7] *= 20
    return model


def slow_scales(model, names, norm):
    """What is published, number by number, of the first block of the dense model, float64."""
    block, seen = decoder_blocks(model)[0], []
    handle = block.get_submodule(norm).register_forward_hook(lambda *a: seen.append(a[2]))
    logits(model)
    handle.remove()
    x = seen[0].reshape(-1, seen[0].shape[-1]).double()
    scales = []
    for j in range(x.shape[1]):
        a = max(abs(float(value)) for value in x[:, j])
        columns = [linear_layers(block)[name].weight_OI()[:, j] for name in names]
        m = max(max(abs(float(w)) for w in column) for column in columns)
        scales.append(max(a**0.85 / max(m, 1e-5) ** 0.15, 1e-5))
    return torch.tensor(scales)


@pytest.mark.parametrize(
    ("architecture", "names", "norm"),
    [
        ("llama", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "input_layernorm"),
        ("llama", ("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm"),
        ("opt", ("fc1",), "final_layer_norm"),
        ("gpt2", ("attn.c_attn",), "ln_1"),
    ],
)
def test_the_norm_is_divided_and_the_columns_are_multiplied(architecture, names, norm):
    dense, model = loud_model(architecture), loud_model(architecture)
    scales = slow_scales(dense, names, norm)
    compress(model, smooth(0.85), TOKENS)
    before, after = (decoder_blocks(m)[0] for m in (dense, model))
    for key, parameter in before.get_submodule(norm).named_parameters():
        torch.testing.assert_close(after.get_submodule(norm).get_parameter(key), parameter / scales)
    for name in names:
        old, new = (linear_layers(block)[name].weight_OI() for block in (before, after))
        torch.testing.assert_close(new, old * scales)


@pytest.mark.parametrize(
    "architecture", [name for name in ("mixtral", "qwen3_moe") if name in TINY]
)
def test_a_router_is_scaled_and_counts_in_the_scale(architecture):
    """Loud in every other feature, so that it is m there, and the experts are elsewhere."""
    dense, model = loud_model(architecture), loud_model(architecture)
    routers = []
    for own in (dense, model):
        block = decoder_blocks(own)[0]
        (name,) = (n for n, _ in block.named_modules() if n.endswith((".gate", ".router")))
        routers.append(block.get_submodule(name).weight)
        routers[-1].data[:, ::2] *= 100
    first = ("gate_proj", "up_proj", ".w1", ".w3")  # the latter of an older mixtral
    names = [n for n in linear_layers(decoder_blocks(dense)[0]) if n.endswith(first)]
    assert names
    columns = [linear_layers(decoder_blocks(dense)[0])[n].weight_OI().abs().amax(0) for n in names]
    largest = torch.stack([*columns, routers[0].abs().amax(0)]).amax(0).double()
    seen = []
    norm = decoder_blocks(dense)[0].post_attention_layernorm
    handle = norm.register_forward_hook(lambda *a: seen.append(a[2].flatten(0, 1)))
    logits(dense)
    handle.remove()
    expected = seen[0].abs().amax(0).double() ** 0.85 / largest**0.15
    before = routers[0].clone()
    compress(model, smooth(0.85), TOKENS)
    scale = (routers[1] / before).mean(0).double()
    torch.testing.assert_close(scale, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("architecture", TINY)
def test_the_dense_model_stays_what_it_was(architecture):
    if architecture in NO_NORM_BEFORE:
        with pytest.raises(ConfigError, match="expected layers that read a norm"):
            compress(tiny_model(architecture), smooth(), TOKENS)
        return
    if architecture == "gpt_oss":
        with pytest.raises(ConfigError, match="whose layers are known to take"):
            compress(tiny_model(architecture), smooth(), TOKENS)
        return
    model = tiny_model(architecture)
    expected = logits(model)
    norms = [p.clone() for p in decoder_blocks(model).parameters() if p.ndim == 1]
    compress(model, smooth(), TOKENS)
    torch.testing.assert_close(logits(model), expected, rtol=1e-3, atol=1e-3)
    moved = [p for p in decoder_blocks(model).parameters() if p.ndim == 1]
    assert not all(torch.equal(*pair) for pair in zip(norms, moved, strict=True))


def test_layers_that_no_norm_feeds_are_left_alone():
    dense, model = loud_model(), loud_model()
    compress(model, smooth(), TOKENS)
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        old, new = (linear_layers(decoder_blocks(m)[0])[name].weight_OI() for m in (dense, model))
        assert torch.equal(old, new)


def test_layers_whose_inputs_are_hard_to_quantise_come_nearer():
    """The promise of the paper, where a few features are loud: the layers that read a norm."""
    rtn = RTN(bits=8, group_size=None, symmetric=True)
    outputs = {}
    for name, method, chosen in (
        ("dense", Kept(), None),
        ("rtn", rtn, INT8),
        ("smoothquant", smooth(0.5, rtn), INT8),
    ):
        model = loud_model()
        compress(model, method, TOKENS, activations=chosen)
        block, found = decoder_blocks(model)[0], outputs.setdefault(name, [])
        block.self_attn.q_proj.register_forward_hook(lambda *a, found=found: found.append(a[2]))
        logits(model)
    (dense,), (rounded,), (smoothed,) = outputs.values()
    assert float((smoothed - dense).norm()) < 0.7 * float((rounded - dense).norm())


def test_scales_are_of_the_dense_model_and_do_not_see_quantised_inputs():
    """The walk's default, as published; so the norms are the same with and without activations."""
    plain, quantised, compressed = loud_model(), loud_model(), loud_model()
    compress(plain, METHODS["smoothquant"], TOKENS)
    coarse = IntegerInputs(name="x", bits=2, symmetric=True, clip_ratio=1.0, scaling="dynamic")
    compress(quantised, METHODS["smoothquant"], TOKENS, activations=coarse)
    compress(compressed, METHODS["smoothquant"], TOKENS, propagate="compressed", activations=coarse)
    gains = [decoder_blocks(m)[1].input_layernorm.weight for m in (plain, quantised, compressed)]
    # The dense block is run after its scale was moved, or before: another order of roundings.
    torch.testing.assert_close(gains[0], gains[1], rtol=1e-4, atol=0)
    assert not torch.allclose(gains[0], gains[2], rtol=1e-3)


@pytest.mark.parametrize("activations", [None, INT8], ids=["as they come", "int8"])
def test_the_base_is_shown_what_it_asks_for_of_smoothed_inputs(activations):
    shown, model = [], loud_model()
    base = Kept(shown, Hessian)
    compress(model, smooth(0.5, base), TOKENS, activations=activations)
    assert all(isinstance(statistic, Hessian) for statistic in shown)
    assert shown[0] is shown[1] is shown[2]
    block, seen = decoder_blocks(model)[0], []
    block.input_layernorm.register_forward_hook(lambda *a: seen.append(a[2]))
    logits(model)
    x_TI = seen[0].flatten(0, 1)
    x_TI = x_TI if activations is None else activations.quantizer(None)(x_TI)
    torch.testing.assert_close(shown[0].square_sum_I(), x_TI.square().sum(0), rtol=1e-4, atol=0)


def test_static_scales_are_of_smoothed_inputs():
    static = IntegerInputs(name="x", bits=8, symmetric=True, clip_ratio=1.0, scaling="static")
    model = loud_model()
    compress(model, smooth(), TOKENS, activations=static)
    block, seen = decoder_blocks(model)[0], []
    block.input_layernorm.register_forward_hook(lambda *a: seen.append(a[2]))
    logits(model)
    from calib_sweep.model.input_quantizer import input_quantizer_of

    _, high = input_quantizer_of(block.self_attn.q_proj).quantizer.limits
    torch.testing.assert_close(high, seen[0].amax(), rtol=1e-4, atol=0)


def test_what_is_not_finite_is_told_and_nothing_is_changed():
    model = tiny_model()
    decoder_blocks(model)[0].input_layernorm.weight.data[3] = torch.inf
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(LayerError, match=r"block 0 layer self_attn\.q_proj .*not finite"):
        compress(model, smooth(), TOKENS)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_what_is_wrong_is_told_by_the_keys_that_are_typed():
    base = {"_target_": "calib_sweep.method.rtn.RTN", "bits": 99, "group_size": 0}
    node = {"_target_": "calib_sweep.method.smoothquant.SmoothQuant", "alpha": 2}
    with pytest.raises(ConfigError) as raised:
        Builder().build("method", {**node, "base": {**base, "symmetric": True}})
    told = [problem.split("=")[0] for problem in raised.value.problems]
    assert told[:2] == ["method.base.bits", "method.base.group_size"]
    with pytest.raises(ConfigError, match=r"method\.alpha=2: .*\n.*method\.base='rtn': expected"):
        SmoothQuant(alpha=2, base="rtn")


@pytest.mark.parametrize("name", ["gptaq", "qronos"])
def test_a_base_that_compares_two_streams_is_refused_and_not_run_without_the_second(name):
    with pytest.raises(
        ConfigError, match=r"method\.base=.*: expected a method that sees its layer"
    ):
        smooth(base=METHODS[name])


def test_a_base_of_the_same_class_that_compares_nothing_is_taken():
    smooth(base=replace(METHODS["gptaq"], alpha=0))
