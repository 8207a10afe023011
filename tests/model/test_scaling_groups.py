"""Which layers can be scaled: moving scale changes nothing that a model of any sort computes."""

import copy

import pytest
import torch
from helpers import fakes
from helpers.fakes import FUSES_EXPERTS, TINY, random_tokens, tiny_model
from torch import nn

from calib_sweep.compression.folding import fold
from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import record
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.awq import AWQ
from calib_sweep.method.statistics.input_profile import InputProfile
from calib_sweep.model.blocks import DecoderBlock, decoder_blocks, enumerate_blocks
from calib_sweep.model.scaling_groups import ARCHITECTURES, check_scaling, scaling_groups

TOKENS = random_tokens(3, 24)
ROTARY = TINY["llama"]
ALL_HEADS = {"num_key_value_heads": 4}
MORE = {  # architectures that the table knows and no other test needs
    "gemma": {**ROTARY, "head_dim": 8},
    "granite": {**ROTARY, "residual_multiplier": 0.5},
    "smollm3": ROTARY,
    "cohere": ROTARY,
    "olmo3": ROTARY,
    "qwen2_moe": {**TINY["qwen2_moe"], "mlp_only_layers": [0]},  # the first has a plain MLP
}
CASES = {name: (name, {}) for name in [*TINY, *MORE] if name != "gpt_oss"} | {
    "llama, all heads": ("llama", {**ALL_HEADS, "attention_bias": True, "mlp_bias": True}),
    "llama, wide heads": ("llama", {**ALL_HEADS, "head_dim": 16}),
    "qwen2, all heads": ("qwen2", ALL_HEADS),
    "gemma2, all heads": ("gemma2", ALL_HEADS),
    "olmo2, all heads": ("olmo2", ALL_HEADS),
    "phi3, all heads": ("phi3", ALL_HEADS),
    "mixtral, all heads": ("mixtral", ALL_HEADS),
    "opt-350m": ("opt", {"do_layer_norm_before": False}),
    "galactica": ("opt", {"activation_function": "gelu"}),
    "stablelm, parallel": ("stablelm", {"use_parallel_residual": True}),
    "gpt_neox, in turn": ("gpt_neox", {"use_parallel_residual": False}),
    "falcon-40b": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-rw": ("falcon", {"parallel_attn": False, "multi_query": False, "bias": True}),
    "falcon-11b": (
        "falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
    "bloom, normed residual": ("bloom", {"apply_residual_connection_post_layernorm": True}),
}
if FUSES_EXPERTS:  # older releases cannot make one
    CASES["opt without gains"] = ("opt", {"layer_norm_elementwise_affine": False})


@pytest.fixture(autouse=True)
def more_architectures(monkeypatch):
    monkeypatch.setattr(fakes, "TINY", TINY | MORE)


def lively_model(case):
    """A tiny model whose gains and biases are not all one and zero."""
    architecture, settings = CASES[case]
    model = tiny_model(architecture, **settings)
    generator = torch.Generator().manual_seed(1)
    for block in decoder_blocks(model):
        for parameter in block.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def random_scale(num_in, seed):
    return torch.randn(num_in, generator=torch.Generator().manual_seed(seed)).mul(0.7).exp()


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_model_whose_scale_is_moved_computes_what_it_did(case):
    model = lively_model(case)
    expected, num_moved = model(TOKENS).logits, 0
    for block in enumerate_blocks(model):
        for group in scaling_groups(block):
            before = copy.deepcopy(block)
            layer = block.layers[group.layers[0]]
            scale_I = random_scale(layer.weight_OI().shape[1], seed=num_moved)
            if group.folds_into is None:
                continue
            moved_I = fold(block, group, scale_I)
            torch.testing.assert_close(moved_I, scale_I, rtol=1e-3, atol=0)
            for name in group.layers:
                old_OI = before.layers[name].weight_OI()
                new_OI = block.layers[name].weight_OI()
                torch.testing.assert_close(new_OI, old_OI * moved_I)
            num_moved += 1
    assert (num_moved == 0) == (case == "bloom, normed residual")  # nothing but the GELU is left
    torch.testing.assert_close(model(TOKENS).logits, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_group_is_all_that_reads_a_tensor(case):
    model = lively_model(case)
    inputs = record(model, decoder_blocks(model), TOKENS, None, 10_000)
    for block in enumerate_blocks(model):
        layers, place = block.layers, (block.module, block.index)
        seen = observe(*place, layers, inputs, InputProfile, keep_outputs=True).statistics
        modules = dict(block.module.named_modules())
        for group in scaling_groups(block):
            assert group.layers[0] in layers and {*group.followers} < {*modules}
            of_group = {id(seen[name]) for name in group.layers}
            of_others = {id(seen[name]) for name in layers if name not in group.layers}
            assert not of_group & of_others
            if not group.followers:  # tokens are shared out among experts
                assert len(of_group) == 1
            if group.inspected is None:
                assert len(group.layers) == 1
            else:
                prefix = f"{group.inspected}." if group.inspected else ""
                assert all(name.startswith(prefix) for name in group.layers)


@pytest.mark.parametrize(
    ("case", "after_attention"),
    [
        ("llama", None),  # grouped heads: a value feeds several inputs
        ("llama, all heads", ("self_attn.o_proj", "self_attn.v_proj")),
        ("llama, wide heads", None),  # 64 x 32 and 32 x 64
        ("phi3", None),
        ("phi3, all heads", ("self_attn.o_proj", "self_attn.qkv_proj")),
        ("gpt2", ("attn.c_proj", "attn.c_attn")),
        ("opt", ("self_attn.out_proj", "self_attn.v_proj")),
        ("olmo2, all heads", ("self_attn.o_proj", "self_attn.v_proj")),
        ("bloom", None),
        ("gpt_neox", None),
    ],
)
def test_the_layer_after_attention_is_scaled_where_shapes_match(case, after_attention):
    for block in enumerate_blocks(lively_model(case)):
        found = [
            (group.layers[0], group.folds_into)
            for group in scaling_groups(block)
            if group.layers[0].endswith(("o_proj", "out_proj", "attn.c_proj", "attention.dense"))
        ]
        assert found == ([] if after_attention is None else [after_attention])


def test_groups_of_llama():
    (block, _) = enumerate_blocks(lively_model("llama, all heads"))
    assert [
        (*group.layers, group.folds_into, group.inspected) for group in scaling_groups(block)
    ] == [
        (
            *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            *("input_layernorm", "self_attn"),
        ),
        ("mlp.gate_proj", "mlp.up_proj", "post_attention_layernorm", "mlp"),
        ("mlp.down_proj", "mlp.up_proj", None),
        ("self_attn.o_proj", "self_attn.v_proj", None),
    ]


@pytest.mark.parametrize(
    ("case", "kept"),
    [
        ("opt", []),
        ("galactica", ["fc2"]),
        ("gpt2", ["mlp.c_proj"]),
        ("falcon-40b", ["mlp.dense_4h_to_h"]),
    ],
)
def test_behind_a_gelu_nothing_absorbs(case, kept):
    (block, _) = enumerate_blocks(lively_model(case))
    groups = scaling_groups(block)
    assert [group.layers[0] for group in groups if group.folds_into is None] == kept


def test_the_table_holds_no_architecture_that_is_not_tested_here():
    tested = {type(decoder_blocks(lively_model(case))[0]).__name__ for case in CASES}
    assert tested == ARCHITECTURES.keys()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["llama", "gemma2", "opt"])
@torch.no_grad()
def test_in_half_precision_columns_follow_what_the_norm_could_be_divided_by(case, dtype):
    model = lively_model(case).to(dtype)
    (block, _) = enumerate_blocks(model)
    group = next(g for g in scaling_groups(block) if len(g.layers) == 3)
    norm, offset = block.module.get_submodule(group.folds_into), 1.0 if case == "gemma2" else 0.0
    gain_I = norm.weight.float() + offset
    scale_I = random_scale(32, seed=0) * 20
    moved_I = fold(block, group, scale_I)
    torch.testing.assert_close((norm.weight.float() + offset) * moved_I, gain_I)
    # Gemma stores gain - 1: what is left of a small gain is coarse, and that is the point.
    assert torch.allclose(moved_I, scale_I, rtol=0.01) == (case != "gemma2")


@torch.no_grad()
def test_a_gain_that_would_round_to_nothing_stays():
    model = lively_model("gemma2").to(torch.bfloat16)
    (block, _) = enumerate_blocks(model)
    group, weight_I = scaling_groups(block)[0], block.module.input_layernorm.weight
    before = weight_I.clone()
    moved_I = fold(block, group, torch.full((32,), 1e4))
    assert torch.equal(moved_I, torch.ones(32)) and torch.equal(weight_I, before)


class StrangeBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"LlamaDecoderLayer.*this is StrangeBlock.*method=gptq"):
        check_scaling([DecoderBlock(StrangeBlock(), 0, {})])


@pytest.mark.skipif(not FUSES_EXPERTS, reason="the release knows no such experts")
def test_awq_refuses_it_before_anything_is_changed():
    model, before = tiny_model("gpt_oss"), tiny_model("gpt_oss")
    awq = AWQ(
        bits=4, group_size=None, symmetric=False, scale_steps=2, clip_steps=20, max_shrink=0.5
    )
    with pytest.raises(ConfigError, match="GptOssDecoderLayer"):
        compress(model, awq, TOKENS)
    for one, other in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(one, other)
