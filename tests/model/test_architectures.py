"""Every architecture: what of it is compressed, that a block runs as in the model, every method.

One table says which layers of a block are compressed and which matrices stay dense. All else is
derived, so that a new architecture is one line here and one in `fakes.TINY`, and a new method YAML
is run on all of them.
"""

import copy
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
import torch
from helpers.fakes import (
    ARCHITECTURES,
    FUSES_EXPERTS,
    TINY,
    byte_tokenizer,
    random_tokens,
    tiny_model,
)
from helpers.shipped import METHODS
from transformers import AutoModelForCausalLM

from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import record
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.flap import FLAP
from calib_sweep.method.reap import REAP
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.structured import StructuredMethod
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.saving import save_dense

TOKENS = random_tokens(4, 24)
NARROW = 16  # columns of a group and of a block, where the YAML's do not fit matrices this small

ATTENTION = tuple(f"self_attn.{name}_proj" for name in "qkvo")
GATED_PARTS = ("gate", "up", "down")
GATED = tuple(f"mlp.{name}_proj" for name in GATED_PARTS)
MERGED = ("query_key_value", "dense")
WIDE = ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")


def experts(prefix, parts=("gate_proj", "up_proj", "down_proj"), num_experts=4):
    names = [f"{prefix}.{expert}.{part}" for expert in range(num_experts) for part in parts]
    return (*ATTENTION, *names)


# Compressed, in order of definition; matrices of the block that stay dense.
LAYERS = {
    **dict.fromkeys(
        ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "stablelm", "olmo2"),
        (ATTENTION + GATED, ()),
    ),
    "phi": (
        (
            *(f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "dense")),
            *("mlp.fc1", "mlp.fc2"),
        ),
        (),
    ),
    "phi3": (("self_attn.o_proj", "self_attn.qkv_proj", "mlp.gate_up_proj", "mlp.down_proj"), ()),
    "opt": ((*(f"self_attn.{name}_proj" for name in ("k", "v", "q", "out")), "fc1", "fc2"), ()),
    "gpt2": (("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"), ()),
    "gpt_neox": ((*(f"attention.{name}" for name in MERGED), *WIDE), ()),
    "falcon": ((*(f"self_attention.{name}" for name in MERGED), *WIDE), ()),
    "bloom": ((*(f"self_attention.{name}" for name in MERGED), *WIDE), ()),
    "qwen3_moe": (experts("mlp.experts"), ("mlp.gate",)),
    "qwen2_moe": (  # an expert that sees all tokens, behind a gate of its own
        (*experts("mlp.experts"), *(f"mlp.shared_expert.{name}_proj" for name in GATED_PARTS)),
        ("mlp.gate", "mlp.shared_expert_gate"),
    ),
    "mixtral": (experts("mlp.experts"), ("mlp.gate",))
    if FUSES_EXPERTS
    else (experts("block_sparse_moe.experts", ("w1", "w2", "w3")), ("block_sparse_moe.gate",)),
}
if FUSES_EXPERTS:
    LAYERS["gpt_oss"] = (experts("mlp.experts"), ("mlp.router",))
# What layers that are fed by the same tensor are called; all others have inputs of their own.
SIBLINGS = {"qkv": ("q_proj", "k_proj", "v_proj"), "first": ("gate_proj", "up_proj", "w1", "w3")}
# Attention and MLP read the same input.
PARALLEL = {
    "falcon": ("self_attention.query_key_value", "mlp.dense_h_to_4h"),
    "phi": (*ATTENTION[:3], "mlp.fc1"),
}
# How scale is moved inside its blocks, with biases of every expert, nobody has told.
MOVING_SCALE = ("awq", "self_calibration_awq", "smoothquant", "smoothquant_gptq")
REFUSED = {("gpt_oss", method) for method in MOVING_SCALE}
# It has no norm before a layer.
REFUSED |= {("olmo2", "smoothquant"), ("olmo2", "smoothquant_gptq")}
# Their neurons are in experts.
MIXTURES = [name for name in TINY if name in ("mixtral", "qwen3_moe", "qwen2_moe", "gpt_oss")]
REFUSED |= {(name, method) for name in MIXTURES for method in ("flap", "two_ssp")}
# Its experts have to be there, and fused.
REFUSED |= {(name, "reap") for name in TINY if name not in MIXTURES or not FUSES_EXPERTS}
BIASES = {f"mlp.experts.{name}_proj_bias" for name in ("gate_up", "down")}  # one row per expert


@cache
def cached(architecture):
    return tiny_model(architecture)


def fresh(architecture):
    return copy.deepcopy(cached(architecture))


def test_the_table_is_complete():
    assert LAYERS.keys() == TINY.keys()


@pytest.mark.parametrize("architecture", TINY)
def test_these_layers_are_compressed_and_no_others(architecture):
    compressed, dense = LAYERS[architecture]
    for block in decoder_blocks(cached(architecture)):
        layers = linear_layers(block)
        assert tuple(layers) == compressed
        # Zeroing every layer leaves no matrix but those that are to stay dense.
        block = copy.deepcopy(block)
        for layer in linear_layers(block).values():
            layer.set_weight_OI(torch.zeros_like(layer.weight_OI()))
        left = {name for name, p in block.named_parameters() if p.ndim > 1 and bool(p.any())}
        assert left - BIASES == {f"{name}.weight" for name in dense}


@pytest.mark.parametrize("architecture", TINY)
@torch.no_grad()
def test_a_block_run_alone_gives_the_very_hidden_states_of_the_model(architecture):
    model, expected = cached(architecture), []
    blocks = decoder_blocks(model)
    hooks = [
        block.register_forward_hook(
            lambda _m, _a, out: expected.append(out[0] if isinstance(out, tuple) else out)
        )
        for block in blocks
    ]
    model(TOKENS)
    for hook in hooks:
        hook.remove()
    inputs = record(model, blocks, TOKENS, None, batch_tokens=10_000)
    for index, block in enumerate(blocks):
        inputs.advance(block, index)
        assert torch.equal(inputs.hidden_NTD, expected[index])


def siblings(architecture, name):
    """The same for layers of a block that share an input."""
    if name in PARALLEL.get(architecture, ()):
        return "the block's input"
    owner, _, last = name.rpartition(".")
    return next(((owner, kind) for kind, names in SIBLINGS.items() if last in names), name)


@pytest.mark.parametrize("architecture", TINY)
@torch.no_grad()
def test_layers_with_one_input_share_a_statistic_and_no_others_do(architecture):
    model = cached(architecture)
    blocks = decoder_blocks(model)
    inputs = record(model, blocks, TOKENS, None, batch_tokens=48)
    seen = observe(blocks[0], 0, linear_layers(blocks[0]), inputs, InputNorm).statistics
    assert seen.keys() == set(LAYERS[architecture][0])
    for one, other in combinations(seen, 2):
        shares = siblings(architecture, one) == siblings(architecture, other)
        assert (seen[one] is seen[other]) == shares, (one, other)


def narrow(method):
    """The method with groups and blocks for 32 columns, and so few bits that levels can be told."""
    most = {"group_size": 16, "block_size": 16, "bits": 2}
    if getattr(method, "format", "int") != "int":  # bits and groups are the format's
        most = {"block_size": 16}
    given = {key: getattr(method, key, None) for key in most}
    changes = {k: min(v, most[k]) for k, v in given.items() if v is not None}
    if isinstance(method, StructuredMethod):
        changes["sparsity"] = 0.5  # a share of two blocks
    return replace(method, **changes)


def of_experts(reports):
    """The reports on layers of experts that a router chooses among."""
    return [report for report in reports if "experts" in report.layer.split(".")]


def overall(reports, what):
    """The mean of a figure over all weights."""
    sizes = [report.num_out * report.num_in for report in reports]
    values = [getattr(report, what) for report in reports]
    return sum(value * size for value, size in zip(values, sizes, strict=True)) / sum(sizes)


def most_levels(model):
    """The largest number of different weights in a row, divided by the row's groups of 16."""
    return max(
        len(row.unique()) / max(len(row) // 16, 1)
        for block in decoder_blocks(model)
        for layer in linear_layers(block).values()
        for row in layer.weight_OI()
    )


# Every kind of method runs on the architectures of most tests, and on each other one those that
# differ in what they ask of it: a statistic, none, columns in order, scales that move between
# layers. Where several YAMLs set one kind, the first stands for it and the others run on two
# architectures. `-m slow` has the rest.
ON_ALL = ("awq", "magnitude", "sparsegpt", "wanda")
FOR_OTHER_SETTINGS = ("llama", "gpt2")  # plain, and transposed with biases


def kind_of(method):
    return type(method), type(getattr(method, "base", None))


FIRST_OF_A_KIND = {kind_of(method): name for name, method in reversed(METHODS.items())}


def is_slow(architecture, name):
    if name in ON_ALL:
        return False
    if name in FIRST_OF_A_KIND.values():
        return architecture not in ARCHITECTURES
    return architecture not in FOR_OTHER_SETTINGS


PAIRS = [
    pytest.param(
        architecture,
        name,
        id=f"{architecture}-{name}",
        marks=pytest.mark.slow if is_slow(architecture, name) else (),
    )
    for architecture in TINY
    for name in METHODS
]


@pytest.mark.parametrize(("architecture", "name"), PAIRS)
def test_every_method_does_what_was_asked(architecture, name):
    method, model = narrow(METHODS[name]), fresh(architecture)
    try:
        reads_data = isinstance(method, StructuredMethod) or method.statistic is not None
        reports = compress(model, method, TOKENS if reads_data else None)
    except ConfigError as refusal:
        assert (architecture, name) in REFUSED, refusal
        pytest.skip(str(refusal))
    assert (architecture, name) not in REFUSED
    assert [report.layer for report in reports] == 2 * list(LAYERS[architecture][0])
    has_bits = getattr(method, "bits", None) is not None
    if hasattr(method, "sparsity"):
        # Thresholds take their ties along and dead features are zeroed too; of 32 columns a share
        # that varies is cut to whole ones; what is rounded as well has more zeros.
        least, most = -0.04, 0.15 if has_bits else 0.05
        if isinstance(method, FLAP):
            # A head is a fourteenth of such a model, and the one at the threshold goes too. Rows
            # stay that other heads read as well, or that are normed with those of other heads.
            least, most = -0.1, 0.15
        asked = of_experts(reports) if isinstance(method, REAP) else reports
        assert least < overall(asked, "sparsity") - method.sparsity < most
    if has_bits:
        assert all(report.bits is not None for report in reports)
        # Outliers are on no grid, and where AWQ keeps a scale in the weights every column has one.
        is_on_grid = not hasattr(method, "outlier_threshold")
        is_on_grid &= all("stays in the weights" not in (report.note or "") for report in reports)
        assert most_levels(model) <= 2**method.bits or not is_on_grid
    with torch.no_grad():
        assert bool(torch.isfinite(model(TOKENS).logits).all())


@pytest.mark.parametrize("architecture", TINY)
def test_a_compressed_model_saved_and_loaded_gives_the_same_logits(architecture, tmp_path):
    model = fresh(architecture)
    compress(model, METHODS["wanda"], TOKENS)
    save_dense(model, byte_tokenizer(), tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32").eval()
    with torch.no_grad():
        assert torch.equal(loaded(TOKENS).logits, model(TOKENS).logits)
    for old, new in zip(decoder_blocks(model), decoder_blocks(loaded), strict=True):
        for name, layer in linear_layers(new).items():
            zeros = linear_layers(old)[name].weight_OI() == 0
            assert bool(zeros.any()) and torch.equal(layer.weight_OI() == 0, zeros)
