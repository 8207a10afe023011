"""Mixtures of experts: every expert is a layer of its own and sees the tokens routed to it."""

import copy

import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, random_tokens, tiny_model
from helpers.repository import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torch.overrides import TorchFunctionMode

from calib_sweep.activations.integers import IntegerInputs
from calib_sweep.compression.expert_inputs import show
from calib_sweep.compression.layer import LayerError
from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import record
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.wanda import Wanda
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.input_quantizer import input_quantizer_of

needs_fused = pytest.mark.skipif(not FUSES_EXPERTS, reason="experts are modules of their own here")
needs_modules = pytest.mark.skipif(FUSES_EXPERTS, reason="experts are fused here")

MIXTURES = ("mixtral", "qwen3_moe")
TOKENS = random_tokens(4, 24)
CONF = ROOT / "conf" / "method"
LENGTHS = torch.tensor([24, 5, 17, 1])


def method_of(yaml, **settings):
    return instantiate(OmegaConf.load(CONF / f"{yaml}.yaml"), **settings)


WANDA = Wanda(sparsity=0.5, pattern="unstructured")
METHODS = {
    "wanda": WANDA,
    "sparsegpt": method_of("sparsegpt", block_size=16),
    "gptq": method_of("gptq"),
    "awq": method_of("awq", group_size=16, scale_steps=2),
}


class Watched(TorchFunctionMode):
    """Keeps what every matrix is multiplied with, by where its memory begins."""

    def __init__(self):
        self.inputs = {}

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (nn.functional.linear, torch.Tensor.__matmul__, torch.Tensor.matmul):
            seen = self.inputs.setdefault(args[1].data_ptr(), [])
            seen.append(args[0].detach().reshape(-1, args[0].shape[-1]))
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def watched_products(model, index, tokens):
    """X^T X of the inputs of every layer of a block when the whole model runs, expert by expert."""
    model = copy.deepcopy(model)
    model.config._experts_implementation = "eager"
    layers = linear_layers(decoder_blocks(model)[index])
    with Watched() as watched:
        for sample in tokens:
            model(sample.unsqueeze(0))
    products = {}
    for name, layer in layers.items():
        # An up matrix begins within the product of gate and up: it shares gate's input.
        address = layers[name.replace("up_proj", "gate_proj")].weight_OI().data_ptr()
        rows = watched.inputs.get(address, [])
        num_in = layer.weight_OI().shape[1]
        products[name] = sum((x.T @ x for x in rows), torch.zeros(num_in, num_in))
    return products


@torch.no_grad()
def observed(model, lengths=None, batch_tokens=48, all_experts=False):
    blocks = decoder_blocks(model)
    inputs = record(model, blocks, TOKENS, lengths, batch_tokens)
    inputs.all_experts = all_experts
    return observe(blocks[0], 0, linear_layers(blocks[0]), inputs, Hessian)


@needs_fused
@pytest.mark.parametrize("architecture", [*MIXTURES, "gpt_oss"])
def test_an_expert_sees_what_its_matrices_are_multiplied_with(architecture):
    model = tiny_model(architecture)
    seen = observed(model).statistics
    expected = watched_products(model, 0, TOKENS)
    assert seen.keys() == expected.keys()
    for name, product in expected.items():
        torch.testing.assert_close(seen[name]._product_II, product, rtol=1e-4, atol=1e-4)
    gates = [seen[f"mlp.experts.{expert}.gate_proj"] for expert in range(4)]
    assert sum(gate.num_tokens for gate in gates) == 2 * TOKENS.numel()  # two experts per token
    assert all(gate is seen[f"mlp.experts.{e}.up_proj"] for e, gate in enumerate(gates))


@needs_fused
@pytest.mark.parametrize("architecture", MIXTURES)
def test_padding_is_routed_to_nobody(architecture):
    model = tiny_model(architecture)
    seen = observed(model, lengths=LENGTHS).statistics
    expected = watched_products(
        model, 0, [sample[:length] for sample, length in zip(TOKENS, LENGTHS, strict=True)]
    )
    for name, product in expected.items():
        torch.testing.assert_close(seen[name]._product_II, product, rtol=1e-4, atol=1e-4)


@needs_fused
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("architecture", MIXTURES)
def test_every_expert_may_see_every_token(architecture, lengths):
    """As in a model whose router sends each token to all of its experts."""
    sent_to_all = tiny_model(architecture, num_experts_per_tok=4)
    routed = observed(tiny_model(architecture), lengths).statistics
    seen = observed(tiny_model(architecture), lengths, all_experts=True)
    expected, shown = observed(sent_to_all, lengths).statistics, seen.statistics
    num_tokens = TOKENS.numel() if lengths is None else int(lengths.sum())
    for name, statistic in expected.items():
        torch.testing.assert_close(shown[name]._product_II, statistic._product_II)
        assert shown[name].num_tokens == num_tokens
        if ".experts." in name:
            assert seen.routed[name] == routed[name].num_tokens
    gates = [statistic for name, statistic in shown.items() if name.endswith("gate_proj")]
    assert len({id(gate) for gate in gates}) == 1  # one sum for all experts


@needs_fused
@pytest.mark.parametrize("name", METHODS)
def test_outputs_are_of_routed_experts_whatever_the_statistics_see(name):
    """Attention of the second block sees what the first one gives, before any expert does."""
    settings = {"propagate": "dense", "batch_tokens": 48}
    plain, shown = tiny_model("mixtral"), tiny_model("mixtral")
    before = compress(plain, METHODS[name], TOKENS, **settings)
    after = compress(shown, METHODS[name], TOKENS, **settings, all_experts=True)
    for one, other in zip(before, after, strict=True):
        layers = [linear_layers(decoder_blocks(m)[one.block])[one.layer] for m in (plain, shown)]
        is_same = torch.equal(layers[0].weight_OI(), layers[1].weight_OI())
        if ".experts." in one.layer:
            assert not is_same and other.num_tokens == TOKENS.numel()
            assert other.num_routed == one.num_routed == one.num_tokens
        else:
            assert is_same and one.num_routed is None and other.num_routed is None


class Expert(nn.Module):
    """An expert that is a module, with the weights of one that is fused."""

    def __init__(self, fused, expert):
        super().__init__()
        up, down = fused.gate_up_proj[expert], fused.down_proj[expert]
        for name, weight in zip(("gate_proj", "up_proj"), up.chunk(2), strict=True):
            self.add_module(name, nn.Linear(up.shape[1], len(weight), bias=False))
            self.get_submodule(name).weight.data = weight.clone()
        self.down_proj = nn.Linear(down.shape[1], len(down), bias=False)
        self.down_proj.weight.data = down.clone()
        self.act = fused.act_fn

    def forward(self, hidden_states):
        return self.down_proj(self.act(self.gate_proj(hidden_states)) * self.up_proj(hidden_states))


class Mixture(nn.Module):
    """Experts one after the other on the tokens routed to them, as before they were fused."""

    def __init__(self, fused):
        super().__init__()
        self.gate = fused.gate
        self.experts = nn.ModuleList(Expert(fused.experts, expert) for expert in range(4))
        self.halves = False

    def forward(self, hidden_states):
        rows = hidden_states.reshape(-1, hidden_states.shape[-1])
        _, weights, choice = self.gate(rows)
        output = torch.zeros_like(rows)
        for index, expert in enumerate(self.experts):
            token, place = torch.where(choice == index)
            given = rows[token] / 2 if self.halves else rows[token]
            output.index_add_(0, token, expert(given) * weights[token, place, None])
        return output.reshape(hidden_states.shape)


def with_modules(model):
    for block in decoder_blocks(model):
        block.mlp = Mixture(block.mlp).requires_grad_(False)
    return model


@needs_fused
@pytest.mark.parametrize("weights", [None, torch.rand(4, 24) + 0.1])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("name", ["wanda", "gptq"])
def test_modules_that_see_every_token_are_as_fused_ones(name, lengths, weights):
    fused, modules = tiny_model("mixtral"), with_modules(tiny_model("mixtral"))
    settings = {"lengths": lengths, "weights": weights, "batch_tokens": 48, "all_experts": True}
    expected = {(r.block, r.layer): r for r in compress(fused, METHODS[name], TOKENS, **settings)}
    for report in compress(modules, METHODS[name], TOKENS, **settings):
        other = expected[report.block, report.layer]
        assert report.num_tokens == other.num_tokens and report.sparsity == other.sparsity
        assert report.output_error == pytest.approx(other.output_error, rel=1e-3)
        is_known = lengths is None  # modules do not tell which of their tokens are padding
        assert report.num_routed == (other.num_routed if is_known else None)
    with torch.no_grad():
        torch.testing.assert_close(modules(TOKENS).logits, fused(TOKENS).logits)


@needs_fused
def test_modules_see_every_token_in_order_of_execution_too():
    modules = with_modules(tiny_model("mixtral"))
    settings = {"true_sequential": True, "all_experts": True}
    reports = compress(modules, WANDA, TOKENS, **settings)
    plain = compress(with_modules(tiny_model("mixtral")), WANDA, TOKENS, true_sequential=True)
    for report, other in zip(reports, plain, strict=True):
        assert report.num_tokens == TOKENS.numel()
        if report.block == 0 and "gate" in report.layer:
            assert report.num_routed == other.num_routed == other.num_tokens < TOKENS.numel()


@needs_fused
@pytest.mark.parametrize("weights", [None, torch.rand(4, 24)])
def test_modules_that_see_routed_tokens_take_neither_padding_nor_weights(weights):
    model = with_modules(tiny_model("mixtral"))
    lengths = LENGTHS if weights is None else None
    with pytest.raises(ConfigError, match=r"calibration\.window='document'.*experts.*all_experts="):
        compress(model, WANDA, TOKENS, lengths=lengths, weights=weights)


@needs_fused
def test_experts_that_read_something_else_cannot_be_shown_all_tokens():
    model = with_modules(tiny_model("mixtral"))
    decoder_blocks(model)[0].mlp.halves = True
    with pytest.raises(ConfigError, match=r"walk\.all_experts=True: .*experts\.0\.gate_proj reads"):
        compress(model, WANDA, TOKENS, all_experts=True)
    with pytest.raises(
        ConfigError, match=r"walk\.all_experts=True: .* Bilinear cannot \(TypeError"
    ):
        show([nn.Bilinear(3, 3, 3)], torch.ones(2, 3))


def integers(scaling):
    return IntegerInputs(name="int8", bits=8, symmetric=True, clip_ratio=1.0, scaling=scaling)


@needs_fused
def test_inputs_of_experts_that_are_modules_are_quantised_and_those_of_routers_are_not():
    model = with_modules(tiny_model("mixtral"))
    reports = compress(model, WANDA, TOKENS, activations=integers("static"))
    assert {report.input_quantizer for report in reports} == {"int8 static"}
    mixture = decoder_blocks(model)[0].mlp
    assert input_quantizer_of(mixture.gate) is None
    first, second = (input_quantizer_of(expert.gate_proj) for expert in list(mixture.experts)[:2])
    assert first is input_quantizer_of(mixture.experts[0].up_proj) and first is not second


@needs_fused
def test_an_expert_without_tokens_has_no_static_scale_unless_it_is_shown_all():
    few = TOKENS[:1, :1]  # goes to two of four experts
    told = (
        r"block 0 layer mlp\.experts\.\d\.gate_proj: expected calibration.*walk\.all_experts=true"
    )
    with pytest.raises(LayerError, match=told):
        compress(with_modules(tiny_model("mixtral")), WANDA, few, activations=integers("static"))
    settings = {"activations": integers("static"), "all_experts": True}
    shown = compress(with_modules(tiny_model("mixtral")), WANDA, few, **settings)
    assert {report.input_quantizer for report in shown} == {"int8 static"}
    dynamic = compress(
        with_modules(tiny_model("mixtral")), WANDA, few, activations=integers("dynamic")
    )
    assert {report.input_quantizer for report in dynamic} == {"int8 dynamic"}


@needs_modules
@pytest.mark.parametrize("architecture", MIXTURES)
def test_padding_that_cannot_be_told_apart_is_refused(architecture):
    with pytest.raises(ConfigError, match=r"calibration\.window='document'.*experts.*slice"):
        compress(tiny_model(architecture), WANDA, TOKENS, lengths=LENGTHS)


@needs_fused
@torch.no_grad()
def test_experts_are_compressed_together_in_order_of_execution():
    """Otherwise true_sequential would run the block twice for every expert."""
    experts = [
        [f"mlp.experts.{expert}.{name}_proj" for expert in range(4) for name in names]
        for names in (("gate", "up"), ("down",))
    ]
    groups = observed(tiny_model("mixtral")).groups()
    assert groups == [[f"self_attn.{name}_proj" for name in "qkv"], ["self_attn.o_proj"], *experts]


@pytest.mark.parametrize("architecture", MIXTURES)
def test_true_sequential_gives_every_expert_its_compressed_predecessors(architecture):
    plain, ordered = tiny_model(architecture), tiny_model(architecture)
    compress(plain, WANDA, TOKENS)
    reports = compress(ordered, WANDA, TOKENS, true_sequential=True)
    layers = [linear_layers(decoder_blocks(model)[0]) for model in (plain, ordered)]
    differ = [
        name
        for name, layer in layers[0].items()
        if not torch.equal(layer.weight_OI(), layers[1][name].weight_OI())
    ]
    assert differ and all(".experts." in name or name.endswith("o_proj") for name in differ)
    assert len(reports) == 2 * len(layers[0])


def without_last_expert(architecture):
    """A model of five experts, the last of which no token ever chooses, and its index."""
    count = {"mixtral": "num_local_experts", "qwen3_moe": "num_experts"}[architecture]
    model = tiny_model(architecture, **{count: 5})
    for block in decoder_blocks(model):
        (router,) = [
            m for name, m in block.named_modules() if name.endswith(("moe.gate", "mlp.gate"))
        ]
        row = router.weight.data[0].clone()
        # Of a number and its negative one is positive: two of the first four experts win.
        router.weight.data.copy_(torch.stack([row, row, -row, -row, 0 * row]))
    return model, 4


@pytest.mark.parametrize("architecture", MIXTURES)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_an_expert_without_tokens_is_compressed_by_rule_and_reported(architecture, method):
    model, unseen = without_last_expert(architecture)
    for report in compress(model, method, TOKENS):
        if f".experts.{unseen}." in report.layer:
            assert report.num_tokens == 0
            assert "no calibration token reached this layer" in report.note
            assert report.bits or report.sparsity >= 0.5  # compressed like the others
        else:
            assert report.num_tokens > 0 and "no calibration token" not in (report.note or "")


@pytest.mark.parametrize("architecture", MIXTURES)
def test_tokens_of_all_experts_add_up(architecture):
    reports = compress(tiny_model(architecture), WANDA, TOKENS, batch_tokens=48)
    for block in range(2):
        routed = [r for r in reports if r.block == block and r.layer.endswith(("gate_proj", "w1"))]
        assert sum(r.num_tokens for r in routed) == 2 * TOKENS.numel()


def test_experts_in_a_form_of_their_own_are_refused_rather_than_left_dense():
    for shape in ((4, 2, 2), (8, 2)):
        block = nn.Module()
        block.experts = nn.Module()
        block.experts.up = nn.Parameter(torch.zeros(shape))
        with pytest.raises(ConfigError, match=rf"experts\.up of shape \({shape[0]}, 2.*neither"):
            linear_layers(block)
