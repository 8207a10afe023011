"""AWQ against a slow float64 reference that runs whole modules, and its promises."""

import copy

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model

from calib_sweep.compression.block import LayerError
from calib_sweep.compression.dense_block import ObservedBlock
from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import record
from calib_sweep.compression.settings import Walk
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.awq import AWQ, scale_of
from calib_sweep.method.clipped_rounding import fit_range
from calib_sweep.method.rtn import RTN
from calib_sweep.method.statistics.input_profile import InputProfile
from calib_sweep.model.blocks import decoder_blocks, enumerate_blocks, linear_layers

TOKENS = random_tokens(6, 40)
LLAMA = {"num_key_value_heads": 4, "mlp_bias": True, "attention_bias": True}
Q_K_V = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")

# For each architecture: layers, what their scale is folded into, what is inspected; and what is
# clipped.
# Written from the published code; "" as what it is folded into: none.
LLAMA_GROUPS = [
    (Q_K_V, "input_layernorm", "self_attn"),
    (("self_attn.o_proj",), "self_attn.v_proj", "self_attn.o_proj"),
    (("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm", "mlp"),
    (("mlp.down_proj",), "mlp.up_proj", "mlp.down_proj"),
]
SPECIFIED = {
    "llama": (LLAMA, LLAMA_GROUPS, Q_K_V[:2]),
    "qwen2": ({}, [LLAMA_GROUPS[0], *LLAMA_GROUPS[2:]], Q_K_V[:2]),  # grouped heads: no o_proj
    "opt": (
        {},
        [
            (Q_K_V, "self_attn_layer_norm", "self_attn"),
            (("self_attn.out_proj",), "self_attn.v_proj", "self_attn.out_proj"),
            (("fc1",), "final_layer_norm", "fc1"),
            (("fc2",), "fc1", "fc2"),
        ],
        Q_K_V[:2],
    ),
    "gpt2": (
        {},
        [
            (("attn.c_attn",), "ln_1", "attn"),
            (("attn.c_proj",), "attn.c_attn", "attn.c_proj"),
            (("mlp.c_fc",), "ln_2", "mlp"),
            (("mlp.c_proj",), "", "mlp.c_proj"),
        ],
        ("attn.c_attn",),
    ),
}


def awq(**settings):
    given = {"bits": 3, "group_size": 16, "symmetric": False, "scale_steps": 20}
    return AWQ(**{**given, "clip_steps": 20, "max_shrink": 0.5, **settings})


def lively_model(architecture="llama", **settings):
    """A tiny model of which some input features are much larger than others."""
    model = tiny_model(architecture, **{**SPECIFIED[architecture][0], **settings})
    generator = torch.Generator().manual_seed(1)
    for block in decoder_blocks(model):
        for parameter in block.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
                parameter.data[::9] *= 6
            else:  # most groups then have large weights at one end only: see slow_clip
                parameter.data[parameter < 0] *= 0.1
    return model


def calls_of(model, module):
    """Arguments and output of a module when the whole model runs."""
    seen = []
    handle = module.register_forward_hook(
        lambda _module, args, kwargs, output: seen.append((args, kwargs, first(output))),
        with_kwargs=True,
    )
    with torch.no_grad():
        model(TOKENS, use_cache=False)
    handle.remove()
    return seen[0]


def first(output):
    return output[0] if isinstance(output, tuple) else output


def slow_round(weight_OI, bits, group_size):
    new_OI = torch.empty_like(weight_OI)
    for start in range(0, weight_OI.shape[1], group_size):
        part = weight_OI[:, start : start + group_size]
        low, high = part.min(dim=1, keepdim=True)[0], part.max(dim=1, keepdim=True)[0]
        scale = (high - low).clamp(min=1e-5) / (2**bits - 1)
        zero = (-(low / scale).round()).clamp(0, 2**bits - 1)
        level = ((part / scale).round() + zero).clamp(0, 2**bits - 1)
        new_OI[:, start : start + group_size] = (level - zero) * scale
    return new_OI


def slow_clip(weight_OI, inputs_TI, bits, group_size):
    """Clipped weights, NaN where the last digit decides.

    A group clipped at both ends has the range 2 * limit, and limit / scale lies halfway between two
    levels.
    """
    new_OI = weight_OI.clone()
    for start in range(0, weight_OI.shape[1], group_size):
        part, rows = (m[:, start : start + group_size] for m in (weight_OI, inputs_TI))
        highest = part.abs().max(dim=1)[0]
        best, lowest = highest.clone(), torch.full_like(highest, torch.inf)
        for step in range(10):
            limit = (highest * (1 - step / 20)).unsqueeze(1)
            clipped = part.clamp(-limit, limit)
            change = rows @ (slow_round(clipped, bits, group_size) - part).T
            error = change.square().mean(dim=0)
            best = torch.where(error < lowest, limit.squeeze(1), best)
            lowest = torch.minimum(error, lowest)
        smaller_end = torch.minimum(-part.min(dim=1)[0], part.max(dim=1)[0])
        best[smaller_end > 0.55 * highest] = torch.nan
        new_OI[:, start : start + group_size] = part.clamp(-best.unsqueeze(1), best.unsqueeze(1))
    return new_OI


def slow_scale(block, model, layers, inspected, bits, group_size):
    """Search with the inspected module run on all tokens; the ratio that won, and its scale."""
    module = block.get_submodule(inspected)
    args, kwargs, expected = calls_of(model, module)
    inputs = calls_of(model, block.get_submodule(layers[0]))[0][0]
    magnitude_I = inputs.flatten(0, -2).abs().mean(dim=0)
    lowest, found = torch.inf, None
    for step in range(20):
        scale_I = (magnitude_I ** (step / 20)).clamp(min=1e-4)
        scale_I = scale_I / (scale_I.max() * scale_I.min()).sqrt()
        trial = copy.deepcopy(block)
        for name in layers:
            layer = linear_layers(trial)[name]
            scaled = slow_round(layer.weight_OI() * scale_I, bits, group_size)
            layer.set_weight_OI(scaled / scale_I)
        with torch.no_grad():
            output = first(trial.get_submodule(inspected)(*args, **kwargs))
        error = float((output - expected).square().mean())
        if error < lowest:
            lowest, found = error, (step / 20, scale_I)
    return found


def slow_awq(model, architecture, bits, group_size):
    """The published algorithm in float64, the whole dense model run anew for everything."""
    _, groups, not_clipped = SPECIFIED[architecture]
    dense, ratios = copy.deepcopy(model).double(), []
    new = copy.deepcopy(dense)
    for block, target in zip(decoder_blocks(dense), decoder_blocks(new), strict=True):
        layers = linear_layers(target)
        inputs = {
            name: calls_of(dense, layer.module)[0][0].flatten(0, -2)
            for name, layer in linear_layers(block).items()
        }
        kept = {}
        for names, folds_into, inspected in groups:
            ratio, scale_I = slow_scale(block, dense, names, inspected, bits, group_size)
            ratios.append(ratio)
            for name in names:
                layers[name].set_weight_OI(layers[name].weight_OI() * scale_I)
                inputs[name] = inputs[name] / scale_I
            if folds_into:
                divide_last(target.get_submodule(folds_into), scale_I)
            else:
                kept[names[0]] = scale_I
        for name, layer in layers.items():
            weight_OI = layer.weight_OI().clone()
            if name not in not_clipped:
                weight_OI = slow_clip(weight_OI, inputs[name], bits, group_size)
            layer.set_weight_OI(slow_round(weight_OI, bits, group_size) / kept.get(name, 1))
    return new, ratios


def divide_last(module, scale):
    """Divide the outputs of a norm, or the last ones of a linear layer of either kind."""
    if module.weight.ndim == 1:
        module.weight.data /= scale
    elif isinstance(module, torch.nn.Linear):
        module.weight.data[-len(scale) :] /= scale.unsqueeze(1)
    else:
        module.weight.data[:, -len(scale) :] /= scale
    if getattr(module, "bias", None) is not None:
        module.bias.data[-len(scale) :] /= scale


@pytest.mark.parametrize("architecture", SPECIFIED)
def test_agrees_with_the_slow_reference(architecture):
    model = lively_model(architecture)
    slow, ratios = slow_awq(model, architecture, bits=3, group_size=16)
    assert len(set(ratios)) > 3 and max(ratios) > 0.2  # the search has something to find
    compress(model, awq(), TOKENS, batch_tokens=100)
    got = dict(decoder_blocks(model).named_parameters())
    for name, expected in decoder_blocks(slow).named_parameters():
        is_sure = ~expected.isnan()
        assert is_sure.double().mean() > 0.6, name
        torch.testing.assert_close(
            got[name][is_sure].double(), expected[is_sure], rtol=1e-4, atol=1e-5
        )


def observed(model, index=0):
    inputs = record(model, decoder_blocks(model), TOKENS, None, 100)
    block = enumerate_blocks(model)[index]
    seen = observe(block.module, index, block.layers, inputs, InputProfile)
    return ObservedBlock(block, inputs, seen.statistics)


@pytest.mark.parametrize("architecture", ["llama", "opt", "gpt2"])
@pytest.mark.parametrize("bits", [2, 4])
@torch.no_grad()
def test_the_scale_found_never_leaves_more_error_than_rounding_to_nearest(architecture, bits):
    method, block = awq(bits=bits), observed(lively_model(architecture))
    before = [weight_OI.clone() for weight_OI in block.weights.values()]
    plan, gained = method.plan_block(block), 0
    for group in block.groups:
        weights = {name: block.weights[name] for name in group.layers}
        scale_I = plan.scales.get(group)
        if scale_I is None:
            scale_I = plan.methods[group.layers[0]].scale_I
        candidates = [
            lambda s=scale, w=weights: {
                name: fit_range(w_OI * s, bits, 16, False).round(w_OI * s) / s
                for name, w_OI in w.items()
            }
            for scale in (scale_I, torch.ones_like(scale_I))
        ]
        found, nearest = block.output_errors(group, candidates)
        assert found <= nearest
        gained += found < nearest
    assert gained > 0
    for now_OI, before_OI in zip(block.weights.values(), before, strict=True):
        assert torch.equal(now_OI, before_OI)  # the search left everything as it was


@torch.no_grad()
def test_layers_inspected_alone_have_no_more_output_error_than_rounding_to_nearest():
    reports = [
        compress(lively_model(), awq(scale_steps=steps, max_shrink=0.0), TOKENS)
        for steps in (20, 1)
    ]
    pairs = [
        (scaled.output_error, nearest.output_error)
        for scaled, nearest in zip(*reports, strict=True)
        if scaled.layer in ("self_attn.o_proj", "mlp.down_proj")
    ]
    assert len(pairs) == 4
    assert all(scaled <= nearest * (1 + 1e-5) for scaled, nearest in pairs)
    assert any(scaled < 0.95 * nearest for scaled, nearest in pairs)


def test_one_exponent_and_no_clipping_is_rounding_to_nearest():
    model, dense = lively_model(), lively_model()
    compress(model, awq(scale_steps=1, max_shrink=0.0), TOKENS)
    for block, before in zip(decoder_blocks(model), decoder_blocks(dense), strict=True):
        for name, layer in linear_layers(before).items():
            dense_OI = layer.weight_OI()
            expected = fit_range(dense_OI, 3, 16, False).round(dense_OI)
            assert torch.equal(linear_layers(block)[name].weight_OI(), expected)
        assert torch.equal(block.input_layernorm.weight, before.input_layernorm.weight)


def test_scales_by_hand():
    magnitude_I = torch.tensor([4.0, 1.0, 0.25, 0.0])
    assert scale_of(magnitude_I, 0.0).tolist() == [1, 1, 1, 1]
    # sqrt: 2, 1, 0.5, 1e-4, divided by sqrt(2 * 1e-4)
    expected = torch.tensor([2, 1, 0.5, 1e-4]) / (2e-4**0.5)
    torch.testing.assert_close(scale_of(magnitude_I, 0.5), expected)


def test_dense_outputs_are_passed_on_unless_told_otherwise():
    published, dense, compressed = lively_model(), lively_model(), lively_model()
    compress(published, awq(), TOKENS)
    compress(dense, awq(), TOKENS, propagate="dense")
    compress(compressed, awq(), TOKENS, propagate="compressed")
    for one, other in zip(published.parameters(), dense.parameters(), strict=True):
        assert torch.equal(one, other)
    first_blocks = (decoder_blocks(model)[0].parameters() for model in (published, compressed))
    assert all(torch.equal(one, other) for one, other in zip(*first_blocks, strict=True))
    last_blocks = (decoder_blocks(model)[1].parameters() for model in (published, compressed))
    assert not all(torch.equal(one, other) for one, other in zip(*last_blocks, strict=True))
    settings = Walk(
        propagate="published",
        true_sequential=False,
        batch_tokens=1,
        all_experts=False,
        tensor_cores=False,
    )
    assert settings.propagated(awq()) == "dense"


def test_true_sequential_is_refused_with_every_propagation():
    for propagate in ("published", "compressed"):
        with pytest.raises(ConfigError, match=r"walk\.true_sequential=True.*false with AWQ"):
            compress(lively_model(), awq(), TOKENS, true_sequential=True, propagate=propagate)


def test_twice_the_same_is_bit_equal_and_neither_batches_nor_the_order_of_samples_count():
    models = [lively_model() for _ in range(4)]
    compress(models[0], awq(), TOKENS)
    compress(models[1], awq(), TOKENS)
    compress(models[2], awq(), TOKENS, batch_tokens=1)
    compress(models[3], awq(), TOKENS.flip(0))  # fewer than 512 tokens: all of them are clipped for
    for one, same, *others in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, same)
        for other in others:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_what_stands_in_the_padding_is_of_no_account():
    lengths = torch.tensor([40, 7, 23, 40, 1, 30])
    padded = torch.where(torch.arange(40) < lengths.unsqueeze(1), TOKENS, 0)
    models = [lively_model(), lively_model()]
    reports = [
        compress(model, awq(), tokens, lengths=lengths)
        for model, tokens in zip(models, (TOKENS, padded), strict=True)
    ]
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other)
    assert {report.num_tokens for report in reports[0]} == {int(lengths.sum())}


def test_reports_say_what_was_done():
    reports = {(r.block, r.layer): r for r in compress(lively_model("gpt2"), awq(), TOKENS)}
    kept = reports[0, "mlp.c_proj"]
    assert kept.bits == 3 + 19 / 16 + 16 / 32 and "stays in the weights" in (kept.note or "")
    absorbed = reports[1, "mlp.c_fc"]
    assert absorbed.bits == 3 + 19 / 16 and absorbed.note is None
    assert all(report.num_tokens == TOKENS.numel() for report in reports.values())
    assert all(0 < report.output_error < 1 for report in reports.values())
    assert len(reports) == 8 and {report.damping for report in reports.values()} == {None}


def test_nothing_is_left_behind_and_parameters_keep_their_memory():
    model = lively_model()
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    compress(model.requires_grad_(True), awq(scale_steps=2), TOKENS)
    assert addresses == [parameter.data_ptr() for parameter in model.parameters()]
    for module in model.modules():
        assert not module._forward_pre_hooks and not module._forward_hooks
        assert "forward" not in module.__dict__


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_stay_so(dtype):
    model = lively_model().to(dtype)
    reports = compress(model, awq(scale_steps=5), TOKENS)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert all(0 < report.output_error < 1 for report in reports)


def test_a_damaged_weight_and_inputs_that_overflow_are_named():
    model = lively_model()
    linear_layers(decoder_blocks(model)[1])["mlp.up_proj"].module.weight.data[3, 4] = float("nan")
    with pytest.raises(LayerError, match=r"block 1 layer mlp\.up_proj \(48 x 32\).*not finite"):
        compress(model, awq(scale_steps=2), TOKENS)
    model = tiny_model().half()
    linear_layers(decoder_blocks(model)[0])["mlp.gate_proj"].module.weight.data.fill_(6e4)
    with pytest.raises(LayerError, match=r"block 0 layer mlp\.down_proj.*model\.dtype=bfloat16"):
        compress(model, awq(scale_steps=2), TOKENS)


@torch.no_grad()
def test_a_scale_whose_outputs_overflow_is_passed_over(monkeypatch):
    block = observed(lively_model())
    group = block.groups[0]
    errors = [float("nan")] * 5 + [2.0] + [float("inf")] * 14
    monkeypatch.setattr(ObservedBlock, "output_errors", lambda self, group, candidates: errors)
    magnitude_I = block.statistics[group.layers[0]].mean_magnitude_I()
    assert torch.equal(awq().plan_block(block).scales[group], scale_of(magnitude_I, 5 / 20))


def test_a_search_without_a_finite_error_is_an_error_that_names_the_layers(monkeypatch):
    monkeypatch.setattr(
        ObservedBlock, "output_errors", lambda self, group, candidates: [float("nan")] * 20
    )
    with pytest.raises(
        LayerError, match=r"block 0: no scale of self_attn\.q_proj, .*finite.*bfloat16"
    ):
        compress(lively_model(), awq(), TOKENS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bits": 9}, r"method\.bits=9"),
        ({"scale_steps": 0}, r"method\.scale_steps=0.*scale_steps=20"),
        ({"clip_steps": 0.5}, r"method\.clip_steps=0\.5.*clip_steps=20"),
        ({"max_shrink": 1}, r"method\.max_shrink=1: expected a fraction in \[0, 1\).*0 clips"),
        (
            {"max_shrink": 0.09},
            r"method\.max_shrink=0\.09: expected 0, or so much that it spans two of the 20",
        ),
        ({"symmetric": None}, r"method\.symmetric=None"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        awq(**settings)


def test_groups_must_fit_the_width_of_the_layer():
    with pytest.raises(ConfigError, match=r"method\.group_size=100.*the 32 input features"):
        compress(lively_model(), awq(group_size=100), TOKENS)


# Formats other than integers


BITS = {"nvfp4": 4, "mxfp4": 4, "fp8": 8}


@pytest.mark.parametrize("form", BITS)
def test_formats_are_scaled_clipped_and_rounded_on_their_grids(form):
    model = tiny_model(hidden_size=64, intermediate_size=96)
    found = {}
    for steps, shrink in ((1, 0), (20, 0.5)):
        tried = copy.deepcopy(model)
        settings = {"format": form, "bits": BITS[form], "group_size": None}
        method = awq(**settings, scale_steps=steps, max_shrink=shrink)
        found[steps] = compress(tried, method, TOKENS, keep_grids=True)
        layers = [layers for block in decoder_blocks(tried) for layers in [linear_layers(block)]]
        for report in found[steps]:
            weight = layers[report.block][report.layer].weight_OI()
            assert torch.equal(report.grid.round(weight), weight), report.layer
    first = {steps: [r for r in reports if r.block == 0] for steps, reports in found.items()}
    alone = ("self_attn.o_proj", "mlp.down_proj")
    errors = {
        steps: sum(r.output_error for r in reports if r.layer in alone)
        for steps, reports in first.items()
    }
    assert errors[20] < errors[1]


def test_a_format_without_scales_and_clipping_is_rtn():
    settings = {"format": "nvfp4", "bits": 4, "group_size": None}
    left = []
    for method in (awq(**settings, scale_steps=1, max_shrink=0), RTN(**settings, symmetric=False)):
        model = tiny_model()
        compress(model, method, TOKENS)
        left.append(model.state_dict())
    assert all(torch.equal(x, left[1][name]) for name, x in left[0].items())


def test_what_awq_cannot_do_in_a_format_is_refused():
    with pytest.raises(ConfigError, match=r"format='fp8_block': expected one of int, nvfp4"):
        awq(format="fp8_block", bits=8, group_size=None)
    with pytest.raises(ConfigError, match=r"group_size=128: expected null or 16 .*=nvfp4"):
        awq(format="nvfp4", bits=4, group_size=128)
    method = awq(format="mxfp4", bits=4, group_size=None)
    with pytest.raises(ConfigError, match=r"method\.format='mxfp4': .*48 input features of down"):
        method.check_shape("down", 64, 48)
