"""Pairs of what layers see and what the dense model saw: against runs of two whole models."""

import copy
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, random_tokens, tiny_model
from torch import nn

from calib_sweep.activations.integers import IntegerInputs
from calib_sweep.compression import dense_stream
from calib_sweep.compression import walk as walk_module
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.compression.settings import Walk
from calib_sweep.compression.walk import compress, walk
from calib_sweep.errors import ConfigError
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.statistics.cross_hessian import CrossHessian
from calib_sweep.model.blocks import LinearLayer, decoder_blocks, enumerate_blocks, linear_layers
from calib_sweep.model.experts import Routing
from calib_sweep.model.input_quantizer import (
    input_quantizer_of,
    remove_input_quantizers,
    set_input_quantizer,
)

TOKENS = random_tokens(6, 20)
LENGTHS = torch.tensor([20, 7, 13, 20, 1, 20])
WEIGHTS = torch.rand(6, 20, generator=torch.Generator().manual_seed(0)) + 0.2
SETTINGS = {"propagate": "published", "batch_tokens": 40, "all_experts": False}
INT8 = IntegerInputs(name="int8", bits=8, symmetric=True, clip_ratio=1.0, scaling="dynamic")
LLAMA_ORDER = [
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    ["self_attn.o_proj"],
    ["mlp.gate_proj", "mlp.up_proj"],
    ["mlp.down_proj"],
]


def coarse(weight_OI):
    return (weight_OI * 8).round() / 8


@dataclass(frozen=True, kw_only=True)
class Spy(LayerMethod):
    """Rounds weights, so that the streams part, and keeps what it was shown."""

    statistic: ClassVar[type] = CrossHessian
    compares_streams: ClassVar[bool] = True
    seen: list = field(default_factory=list)

    def compress_weight(self, weight_OI, statistic):
        self.seen.append((statistic.hessian_II(), statistic.cross_II(), statistic.num_samples))
        return CompressedWeight(weight_OI=coarse(weight_OI))


def rows_of(model, layer, lengths):
    """A layer's input rows when the whole model runs on one sample after the other."""
    rows = []
    handle = layer.module.register_forward_pre_hook(
        lambda module, args: rows.append(args[0].reshape(-1, args[0].shape[-1]).double())
    )
    with torch.no_grad():
        for sample, length in enumerate(lengths):
            model(TOKENS[sample : sample + 1, :length])
    handle.remove()
    return torch.cat(rows)


def slow_moments(architecture, order, lengths, weights, quantizer=None):
    """H and D of every layer, in order of definition, from runs of two whole models."""
    dense, model, found = tiny_model(architecture), tiny_model(architecture), []
    counts = torch.cat([weights[n, :length] for n, length in enumerate(lengths)]).double()
    for index, block in enumerate(decoder_blocks(model)):
        layers, of_block = linear_layers(block), {}
        for layer in layers.values() if quantizer else ():
            set_input_quantizer(layer.module, quantizer)
        for group in order or [list(layers)]:
            for name in group:
                seen = rows_of(model, layers[name], lengths)
                before = rows_of(dense, linear_layers(decoder_blocks(dense)[index])[name], lengths)
                scaled = 2 / len(lengths) * counts.unsqueeze(1) * seen
                of_block[name] = seen.T @ scaled, (before - seen).T @ scaled
            for name in group:
                layers[name].set_weight_OI(coarse(layers[name].weight_OI()))
        found += [of_block[name] for name in layers]
    return found


def assert_moments_agree(spy, expected, rtol=1e-3, atol=1e-5):
    assert len(spy.seen) == len(expected)
    parted = 0
    for (hessian, cross, num_samples), (slow_hessian, slow_cross) in zip(
        spy.seen, expected, strict=True
    ):
        assert num_samples == len(TOKENS)
        size = float(slow_hessian.abs().max())
        torch.testing.assert_close(hessian.double(), slow_hessian, rtol=rtol, atol=atol * size)
        cross = torch.zeros_like(hessian) if cross is None else cross
        torch.testing.assert_close(cross.double(), slow_cross, rtol=rtol, atol=atol * size)
        parted += bool(slow_cross.abs().max() > 1e-3 * size)
    assert parted >= len(expected) // 2


@pytest.mark.parametrize("in_order", [False, True], ids=["at once", "in order"])
@pytest.mark.parametrize(
    ("of", "batch_tokens"), [("all", 40), ("all", 10_000), ("padded", 40), ("weighted", 40)]
)
def test_pairs_are_those_of_two_whole_models(in_order, of, batch_tokens):
    lengths = LENGTHS if of == "padded" else None
    weights = WEIGHTS if of == "weighted" else None
    spy, settings = Spy(), {**SETTINGS, "batch_tokens": batch_tokens}
    walk(
        tiny_model(),
        spy,
        TOKENS,
        lengths_N=lengths,
        weights_NT=weights,
        settings=Walk(true_sequential=in_order, tensor_cores=True, **settings),
    )
    lengths = [TOKENS.shape[1]] * len(TOKENS) if lengths is None else lengths.tolist()
    weights = torch.ones(TOKENS.shape) if weights is None else weights
    order = LLAMA_ORDER if in_order else None
    assert_moments_agree(spy, slow_moments("llama", order, lengths, weights))


@pytest.mark.parametrize("architecture", ["gpt2", "falcon"])
def test_matrices_that_lie_the_other_way_and_parallel_blocks(architecture):
    spy = Spy()
    compress(tiny_model(architecture), spy, TOKENS, batch_tokens=40)
    lengths, weights = [TOKENS.shape[1]] * len(TOKENS), torch.ones(TOKENS.shape)
    assert_moments_agree(spy, slow_moments(architecture, None, lengths, weights))


@pytest.mark.parametrize("in_order", [False, True], ids=["at once", "in order"])
def test_the_dense_model_reads_inputs_as_they_come(in_order):
    """Quantisers of inputs are in front of the layers that see, from the first block on."""
    model, spy = tiny_model(), Spy()
    compress(model, spy, TOKENS, activations=INT8, batch_tokens=40, true_sequential=in_order)
    assert float(spy.seen[0][1].abs().max()) > 0
    order, weights = LLAMA_ORDER if in_order else None, torch.ones(TOKENS.shape)
    lengths = [TOKENS.shape[1]] * len(TOKENS)
    slow = slow_moments("llama", order, lengths, weights, INT8.quantizer(None))
    assert_moments_agree(spy, slow, rtol=0.02, atol=1e-3)  # an input near a tie may go either way
    assert input_quantizer_of(linear_layers(decoder_blocks(model)[0])["mlp.up_proj"].module)
    with torch.no_grad():  # they act again once the walk is over
        found = model(TOKENS).logits
        remove_input_quantizers(model)
        assert not torch.equal(found, model(TOKENS).logits)


def routings(model, index):
    """What the fused experts of a block are called with, on all samples at once."""
    calls = []
    experts = next(
        module
        for module in decoder_blocks(model)[index].modules()
        if hasattr(module, "_apply_gate")
    )
    handle = experts.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(Routing.of_call(module, args, kwargs)),
        with_kwargs=True,
    )
    with torch.no_grad():
        model(TOKENS)
    handle.remove()
    return calls[0]


@pytest.mark.skipif(not FUSES_EXPERTS, reason="experts are modules here")
@pytest.mark.parametrize("in_order", [False, True], ids=["at once", "in order"])
def test_experts_are_compared_on_the_tokens_that_are_sent_to_them_now(in_order):
    model, dense, spy = tiny_model("mixtral"), tiny_model("mixtral"), Spy()
    compress(model, spy, TOKENS, batch_tokens=10_000, true_sequential=in_order)
    names = list(linear_layers(decoder_blocks(model)[1]))
    if in_order:
        names.sort(key=lambda name: "down" in name)
    moments = dict(zip(names, spy.seen[len(names) :], strict=True))
    # Attention of the second block is compressed first in order, later otherwise.
    half = copy.deepcopy(model)
    for name, layer in linear_layers(decoder_blocks(half)[1]).items():
        if not in_order or "experts" in name:
            layer.set_weight_OI(linear_layers(decoder_blocks(dense)[1])[name].weight_OI())
    now, before = routings(half, 1), routings(dense, 1)
    assert not torch.equal(now.choice_TK, before.choice_TK)
    for expert in range(4):
        is_sent = (now.choice_TK == expert).any(dim=1)
        seen, was = now.hidden_TD[is_sent].double(), before.hidden_TD[is_sent].double()
        expected = 2 / len(TOKENS) * (was - seen).T @ seen
        found = moments[f"mlp.experts.{expert}.gate_proj"][1].double()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        layers = linear_layers(decoder_blocks(dense)[1])
        gate, up = (
            layers[f"mlp.experts.{expert}.{part}_proj"].weight_OI().double()
            for part in ("gate", "up")
        )
        gate_now, up_now = (coarse(gate), coarse(up)) if in_order else (gate, up)
        was_F = nn.functional.silu(was @ gate.T) * (was @ up.T)
        seen_F = nn.functional.silu(seen @ gate_now.T) * (seen @ up_now.T)
        expected = 2 / len(TOKENS) * (was_F - seen_F).T @ seen_F
        found = moments[f"mlp.experts.{expert}.down_proj"][1].double()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_experts_that_are_modules_are_refused_by_name():
    blocks = enumerate_blocks(tiny_model())
    layers = dict(blocks[1].layers)
    layers["mlp.experts.0.w1"] = LinearLayer(nn.Linear(2, 2), is_routed=True)
    blocks[1] = dense_stream.DecoderBlock(blocks[1].module, 1, layers)
    with pytest.raises(ConfigError, match=r"block 1 mlp\.experts\.0\.w1 is an expert of its own"):
        dense_stream.check_streams(blocks)


def test_the_dense_outputs_cannot_be_passed_on():
    with pytest.raises(ConfigError, match=r"walk\.propagate='dense': expected published"):
        compress(tiny_model(), Spy(), TOKENS, propagate="dense")


def test_methods_that_do_not_ask_for_it_carry_no_second_stream(monkeypatch):
    def refused(self):
        raise AssertionError("a second stream")

    monkeypatch.setattr(BlockInputs, "with_dense", refused)
    from helpers.shipped import METHODS

    compress(tiny_model(), METHODS["gptq"], TOKENS)
    with pytest.raises(AssertionError, match="a second stream"):
        compress(tiny_model(), Spy(), TOKENS)


@pytest.mark.parametrize(("in_order", "expected"), [(False, 8), (True, 38)])
def test_how_often_blocks_are_run(in_order, expected, monkeypatch):
    """Two batches, two blocks. At once the first block is one for both streams: 2 runs to observe,
    2 to propagate; of the last one nothing is propagated: 2 and 2. In order 4 groups in each,
    a run that finds them, and after the first block both streams go on.
    """
    monkeypatch.setattr(walk_module, "check_replay", lambda *_: None)
    runs, original = [], BlockInputs.run

    def counted(self, block, index, batch):
        runs.append((index, batch))
        return original(self, block, index, batch)

    monkeypatch.setattr(BlockInputs, "run", counted)
    compress(tiny_model(), Spy(), TOKENS, batch_tokens=60, true_sequential=in_order)
    assert len(runs) == expected
