"""Quantised inputs in the walk: what is in front of a layer, what a method is shown, what stays."""

from dataclasses import dataclass, replace

import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, TINY, random_tokens, save_tiny, tiny_model
from helpers.hub_models import hub_model
from helpers.shipped import METHODS

from calib_sweep.activations.integers import IntegerInputs
from calib_sweep.compression.layer import LayerError
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.rtn import RTN
from calib_sweep.method.statistics.input_range import InputRange
from calib_sweep.method.wanda import Wanda
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.input_quantizer import input_quantizer_of, without_input_quantizers
from calib_sweep.session import Session

TOKENS = random_tokens(4, 24)
RTN_4 = RTN(bits=4, group_size=16, symmetric=True)
WANDA = Wanda(sparsity=0.5, pattern="unstructured")


def integers(bits=4, scaling="dynamic", symmetric=True):
    return IntegerInputs(
        name="int", bits=bits, symmetric=symmetric, clip_ratio=1.0, scaling=scaling
    )


@dataclass(frozen=True, kw_only=True)
class Watching(LayerMethod):
    """Leaves weights as they are; keeps the statistics that it was shown."""

    shown: list

    statistic = InputRange

    def compress_weight(self, weight_OI, statistic):
        self.shown.append(statistic)
        return CompressedWeight(weight_OI=weight_OI)


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


def by_hand(model, quantizer, names=None):
    """Every linear layer of every block runs on what `quantizer` makes of its input."""
    for block in decoder_blocks(model):
        for name, layer in linear_layers(block).items():
            if names is None or name in names:
                forward = layer.module.forward
                layer.module.forward = lambda x, forward=forward: forward(quantizer(x))
    return model


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt", "falcon"])
def test_every_linear_layer_reads_quantised_inputs_then_and_later(architecture):
    model, rounded = tiny_model(architecture), tiny_model(architecture)
    reports = compress(model, RTN_4, None, activations=integers())
    plain = compress(rounded, RTN_4, None)
    expected = logits(by_hand(rounded, integers().quantizer(None)))
    assert torch.equal(logits(model), expected)
    assert {report.input_quantizer for report in reports} == {"int4 dynamic"}
    assert [report.input_quantizer for report in plain] == [None] * len(reports)


def test_sixteen_bits_change_nothing():
    for method, tokens in ((RTN_4, None), (WANDA, TOKENS)):
        plain, as_they_are = tiny_model(), tiny_model()
        compress(plain, method, tokens)
        compress(as_they_are, method, tokens, activations=integers(16))
        assert torch.equal(logits(plain), logits(as_they_are))


@pytest.mark.parametrize("scaling", ["dynamic", "static"])
def test_methods_see_quantised_inputs_and_layers_with_one_input_share_what_is_known(scaling):
    shown = []
    compress(tiny_model(), Watching(shown=shown), TOKENS, activations=integers(4, scaling))
    q, k, v, o, gate, up, _ = shown[:7]
    assert q is k is v and gate is up and o is not q
    # Quantised by hand: the first block's queries read the first norm's output.
    model = tiny_model()
    block, seen = decoder_blocks(model)[0], []
    block.input_layernorm.register_forward_hook(lambda _m, _i, out: seen.append(out))
    logits(model)
    x_TI = seen[0].flatten(0, 1)
    statistic = InputRange(x_TI.shape[1])
    statistic.add(x_TI)
    quantizer = integers(4, scaling).quantizer(statistic if scaling == "static" else None)
    assert torch.equal(q.high_I(), quantizer(x_TI).amax(0))
    assert not torch.equal(q.high_I(), x_TI.amax(0))


@pytest.mark.parametrize("method", [RTN_4, WANDA], ids=["rtn", "wanda"])
def test_static_scales_are_of_what_the_compressed_blocks_before_give(method):
    model = tiny_model()
    compress(model, method, TOKENS, activations=integers(8, "static"))
    second, seen = decoder_blocks(model)[1], []
    second.input_layernorm.register_forward_hook(lambda _m, _i, out: seen.append(out))
    logits(model)
    low, high = input_quantizer_of(second.self_attn.q_proj).quantizer.limits
    # Sums of a batch of tokens may be made in another order.
    torch.testing.assert_close(float(high), max(0.0, float(seen[0].max())), rtol=1e-5, atol=0)
    torch.testing.assert_close(float(low), min(0.0, float(seen[0].min())), rtol=1e-5, atol=0)


def test_in_order_too():
    plain, in_order = tiny_model(), tiny_model()
    gptq = replace(METHODS["gptq"], group_size=None)
    compress(plain, gptq, TOKENS, activations=integers())
    reports = compress(in_order, gptq, TOKENS, activations=integers(), true_sequential=True)
    assert {report.input_quantizer for report in reports} == {"int4 dynamic"}
    assert not torch.equal(logits(plain), logits(in_order))


def test_a_method_of_blocks_plans_on_the_block_as_it_is():
    """Its scales are those of inputs that come as they are; then they are quantised."""
    awq = replace(METHODS["awq"], group_size=16, scale_steps=3)
    plain, quantised = tiny_model(), tiny_model()
    compress(plain, awq, TOKENS, propagate="compressed")
    reports = compress(quantised, awq, TOKENS, activations=integers(), propagate="compressed")
    assert {report.input_quantizer for report in reports} == {"int4 dynamic"}
    gains = [decoder_blocks(model)[0].input_layernorm.weight for model in (plain, quantised)]
    assert torch.equal(*gains) and not torch.equal(gains[0], torch.ones_like(gains[0]))
    with without_input_quantizers(quantised):
        assert not torch.allclose(logits(plain), logits(quantised))  # later blocks saw others


@pytest.mark.parametrize("scaling", ["dynamic", "static"])
@pytest.mark.parametrize("method", ["watching", "rtn", "awq"])
def test_dense_outputs_are_of_the_dense_block_whose_inputs_come_as_they_are(scaling, method):
    seen, model, dense = [], tiny_model(), tiny_model()
    norm = decoder_blocks(dense)[1].input_layernorm
    norm.register_forward_hook(lambda _m, _i, out: seen.append(out))
    logits(dense)
    x_TI = seen[0].flatten(0, 1)
    shown = []
    chosen = {
        "watching": Watching(shown=shown),
        "rtn": RTN_4,
        "awq": replace(METHODS["awq"], group_size=16, scale_steps=1, max_shrink=0.0),
    }[method]
    compress(model, chosen, TOKENS, activations=integers(4, scaling), propagate="dense")
    quantizer = input_quantizer_of(decoder_blocks(model)[1].self_attn.q_proj).quantizer
    if scaling == "static":
        low, high = quantizer.limits
        torch.testing.assert_close(high, x_TI.amax().clamp(min=0), rtol=1e-5, atol=0)
        torch.testing.assert_close(low, x_TI.amin().clamp(max=0), rtol=1e-5, atol=0)
    if method == "watching":
        torch.testing.assert_close(shown[7].high_I(), quantizer(x_TI).amax(0), rtol=1e-5, atol=0)


def test_another_compression_without_activations_takes_them_away():
    model, plain = tiny_model(), tiny_model()
    compress(model, RTN_4, None, activations=integers())
    compress(model, WANDA, TOKENS)
    compress(plain, RTN_4, None)
    compress(plain, WANDA, TOKENS)
    assert torch.equal(logits(model), logits(plain))


def test_they_can_be_set_aside():
    model, plain = tiny_model(), tiny_model()
    compress(model, RTN_4, None, activations=integers())
    compress(plain, RTN_4, None)
    on = logits(model)
    with without_input_quantizers(model):
        assert torch.equal(logits(model), logits(plain))
        with without_input_quantizers(model):
            pass
        assert torch.equal(logits(model), logits(plain))
    assert torch.equal(logits(model), on) and not torch.equal(on, logits(plain))


def test_a_session_gives_the_dense_model_back(tmp_path):
    part, session = hub_model(save_tiny("llama", tmp_path)), Session()
    dense = logits(session.model(part, part.fingerprint()))
    model = session.model(part, part.fingerprint())
    compress(model, RTN_4, TOKENS, activations=integers(8, "static"))
    assert not torch.allclose(logits(model), dense)
    assert torch.equal(logits(session.model(part, part.fingerprint())), dense)


def test_a_method_with_a_quantiser_of_its_own_is_refused_beside_them():
    @dataclass(frozen=True, kw_only=True)
    class Coarse(LayerMethod):
        def compress_weight(self, weight_OI, statistic):
            return CompressedWeight(weight_OI=weight_OI, input_quantizer=torch.round)

    told = r"block 0 layer self_attn\.q_proj .*twice, by activations \(int4 dynamic\) and by the "
    with pytest.raises(LayerError, match=told + r"method \(round\)\. Type activations=null"):
        compress(tiny_model(), Coarse(), None, activations=integers())


@pytest.mark.skipif(not FUSES_EXPERTS, reason="older releases keep experts as modules")
@pytest.mark.parametrize("architecture", ["mixtral", "qwen3_moe", "qwen2_moe", "gpt_oss"])
def test_fused_experts_are_refused_by_name_before_anything_is_changed(architecture):
    assert architecture in TINY
    model = tiny_model(architecture)
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ConfigError, match=r"activations=int: .*block 0 mlp\.experts\.0\.gate_proj"):
        compress(model, RTN_4, None, activations=integers())
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_inputs_that_are_not_finite_are_told():
    model = tiny_model()
    decoder_blocks(model)[0].input_layernorm.weight.data[3] = torch.inf
    for scaling in ("dynamic", "static"):
        with pytest.raises(LayerError, match=r"block 0 layer self_attn\.q_proj .*not finite"):
            compress(model, WANDA, TOKENS, activations=integers(8, scaling))


def test_static_scales_need_data():
    with pytest.raises(ConfigError, match=r"tokens=None: .* as IntegerInputs needs calibration"):
        compress(tiny_model(), RTN_4, None, activations=integers(8, "static"))
