"""Which layers of a decoder block can be scaled, and what the inverse is folded into.

Features of a tensor can be divided by a scale s > 0 where it is made, if the columns of every layer
that reads it are multiplied by s: the block computes what it did. A norm makes the tensor, or a
linear layer whose outputs reach the reader only added up or multiplied by what does not depend on
them. (A linear layer behind a ReLU will do too, one behind a GELU will not: the scale then stays in
the reader's weights.) This file knows the architectures of which that is known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from calib_sweep.errors import ConfigError
from calib_sweep.method.base import ScalingGroup
from calib_sweep.model.blocks import ROUTERS, DecoderBlock, Layer, LinearLayer
from calib_sweep.model.input_rotation import has_rotated_input


@dataclass(frozen=True)
class Architecture:
    """The ways to scale the blocks of an architecture."""

    groups: tuple[ScalingGroup, ...]
    score_layers: frozenset[str]  # linear layers whose outputs are queries or keys
    values: ScalingGroup | None = None  # the layer after attention, scaled where shapes allow it
    norm_offset: float = 0.0  # norms multiply by their weight plus this


def group(layers: str, folds_into: str | None, inspected: str | None = None) -> ScalingGroup:
    """A group of the layers in a list of names."""
    return ScalingGroup(layers=tuple(layers.split()), folds_into=folds_into, inspected=inspected)


Q_K_V = "self_attn.q_proj self_attn.k_proj self_attn.v_proj"
Q_K = frozenset({"self_attn.q_proj", "self_attn.k_proj"})
GATE_UP = "mlp.gate_proj mlp.up_proj"
DOWN = group("mlp.down_proj", "mlp.up_proj")
OUT = group("self_attn.o_proj", "self_attn.v_proj")

LLAMA = Architecture(
    groups=(
        group(Q_K_V, "input_layernorm", "self_attn"),
        group(GATE_UP, "post_attention_layernorm", "mlp"),
        DOWN,
    ),
    score_layers=Q_K,
    values=OUT,
)
GEMMA = replace(LLAMA, norm_offset=1.0)
GEMMA_2 = replace(  # what follows attention is normed before it is added
    GEMMA,
    groups=(
        group(Q_K_V, "input_layernorm", "self_attn"),
        group(GATE_UP, "pre_feedforward_layernorm", "mlp"),
        DOWN,
    ),
)
AFTER = {"down_proj": "up_proj", "w2": "w3"}  # in an expert: what feeds which, by either name
OLMO_2 = replace(LLAMA, groups=(DOWN,))  # no norm before attention and MLP
PARALLEL = replace(  # attention and MLP read the same norm
    LLAMA, groups=(group(f"{Q_K_V} {GATE_UP}", "input_layernorm", ""), DOWN)
)
PHI = Architecture(  # attention and MLP read the same norm; a GELU stands before fc2
    groups=(group(f"{Q_K_V} mlp.fc1", "input_layernorm", ""), group("mlp.fc2", None)),
    score_layers=Q_K,
    values=group("self_attn.dense", "self_attn.v_proj"),
)
PHI_3 = Architecture(  # q, k and v in one matrix, gate and up in another
    groups=(
        group("self_attn.qkv_proj", "input_layernorm", "self_attn"),
        group("mlp.gate_up_proj", "post_attention_layernorm", "mlp"),
        group("mlp.down_proj", "mlp.gate_up_proj"),
    ),
    score_layers=frozenset({"self_attn.qkv_proj"}),
    values=group("self_attn.o_proj", "self_attn.qkv_proj"),
)
OPT = Architecture(
    groups=(
        group(Q_K_V, "self_attn_layer_norm", "self_attn"),
        group("fc1", "final_layer_norm"),
        group("fc2", "fc1"),
    ),
    score_layers=Q_K,
    values=group("self_attn.out_proj", "self_attn.v_proj"),
)
GPT_2 = Architecture(
    groups=(
        group("attn.c_attn", "ln_1", "attn"),
        group("mlp.c_fc", "ln_2", "mlp"),
        group("mlp.c_proj", None),
    ),
    score_layers=frozenset({"attn.c_attn"}),
    values=group("attn.c_proj", "attn.c_attn"),
)
GPT_NEOX = Architecture(  # q, k and v head by head in one matrix: nothing absorbs for `dense`
    groups=(
        group("attention.query_key_value", "input_layernorm", "attention"),
        group("mlp.dense_h_to_4h", "post_attention_layernorm", "mlp"),
        group("mlp.dense_4h_to_h", None),
    ),
    score_layers=frozenset({"attention.query_key_value"}),
)
BLOOM = Architecture(
    groups=(
        group("self_attention.query_key_value", "input_layernorm", "self_attention"),
        group("mlp.dense_h_to_4h", "post_attention_layernorm", "mlp"),
        group("mlp.dense_4h_to_h", None),
    ),
    score_layers=frozenset({"self_attention.query_key_value"}),
)
FALCON_7B = replace(
    BLOOM,
    groups=(
        group("self_attention.query_key_value mlp.dense_h_to_4h", "input_layernorm", ""),
        group("mlp.dense_4h_to_h", None),
    ),
)
FALCON_40B = replace(
    BLOOM,
    groups=(
        group("self_attention.query_key_value", "ln_attn", "self_attention"),
        group("mlp.dense_h_to_4h", "ln_mlp", "mlp"),
        group("mlp.dense_4h_to_h", None),
    ),
)


def _mixture(block: DecoderBlock) -> Architecture:
    """LLaMA with experts in place of some blocks' MLP; routers read the norm as experts do."""
    children = block.module.named_children()
    parts = {name: tuple(dict(child.named_children())) for name, child in children}
    mixture = next((name for name, inside in parts.items() if "experts" in inside), None)
    if mixture is None:
        return LLAMA
    names = [name for name in block.layers if name.startswith(f"{mixture}.")]
    maker_of = {
        name: f"{_stem(name)}.{AFTER[_leaf(name)]}" for name in names if _leaf(name) in AFTER
    }
    experts = ScalingGroup(
        layers=tuple(name for name in names if name not in maker_of),
        folds_into="post_attention_layernorm",
        inspected=mixture,
        followers=tuple(f"{mixture}.{name}" for name in parts[mixture] if name in ROUTERS),
    )
    downs = [group(name, maker) for name, maker in maker_of.items()]
    return replace(LLAMA, groups=(LLAMA.groups[0], experts, *downs))


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _opt(block: DecoderBlock) -> Architecture:
    """OPT-350M norms after it adds, so a norm's output is also what is added to."""
    norm = block.module.get_submodule("self_attn_layer_norm")
    norms_first = block.module.do_layer_norm_before and "weight" in dict(norm.named_parameters())
    groups = OPT.groups if norms_first else OPT.groups[2:]
    if not isinstance(block.module.activation_fn, nn.ReLU):  # Galactica
        groups = (*groups[:-1], group("fc2", None))
    return replace(OPT, groups=groups)


def _bloom(block: DecoderBlock) -> Architecture:
    norm_is_added_to = block.module.apply_residual_connection_post_layernorm
    return replace(BLOOM, groups=BLOOM.groups[2:]) if norm_is_added_to else BLOOM


def _falcon(block: DecoderBlock) -> Architecture:
    norms = {name for name, _ in block.module.named_children()}
    if "ln_mlp" in norms:
        return FALCON_40B
    return BLOOM if "post_attention_layernorm" in norms else FALCON_7B


def _stablelm(block: DecoderBlock) -> Architecture:
    return PARALLEL if block.module.use_parallel_residual else LLAMA


# Class of the blocks, as transformers calls it: how they are scaled, or a function that tells.
ARCHITECTURES: dict[str, Architecture | Callable[[DecoderBlock], Architecture]] = {
    "LlamaDecoderLayer": LLAMA,
    "MistralDecoderLayer": LLAMA,
    "Qwen2DecoderLayer": LLAMA,
    "Qwen3DecoderLayer": LLAMA,
    "GraniteDecoderLayer": LLAMA,
    "SmolLM3DecoderLayer": LLAMA,
    "MixtralDecoderLayer": _mixture,
    "Qwen2MoeDecoderLayer": _mixture,
    "Qwen3MoeDecoderLayer": _mixture,
    "GemmaDecoderLayer": GEMMA,
    "Gemma2DecoderLayer": GEMMA_2,
    "Gemma3DecoderLayer": GEMMA_2,
    "CohereDecoderLayer": PARALLEL,
    "Olmo2DecoderLayer": OLMO_2,
    "Olmo3DecoderLayer": OLMO_2,
    "StableLmDecoderLayer": _stablelm,
    "PhiDecoderLayer": PHI,
    "Phi3DecoderLayer": PHI_3,
    "OPTDecoderLayer": _opt,
    "GPT2Block": GPT_2,
    "GPTNeoXLayer": GPT_NEOX,
    "BloomBlock": _bloom,
    "FalconDecoderLayer": _falcon,
}


def check_scaling(blocks: Sequence[DecoderBlock], *, behind_norms: bool = False) -> None:
    """Raise `ConfigError` unless it is known of all `blocks` how they are scaled.

    `behind_norms`: only between a norm and what reads it; that there is such a place, too.
    """
    for block in blocks:
        groups = architecture_of(block).groups
        if behind_norms and all(group.folds_into in (None, *block.layers) for group in groups):
            raise ConfigError(
                "model: expected layers that read a norm and nothing but it, to scale behind it, "
                f"but a {type(block.module).__name__} has none (it norms what is added). "
                "Choose another model, or a method that moves no scale, such as method=rtn."
            )


def check_absorbed(blocks: Sequence[DecoderBlock]) -> None:
    """Raise `ConfigError` where a layer would keep the scale of its inputs in its weights."""
    kept = [group for group in scaling_groups(blocks[0]) if group.folds_into is None]
    if kept:
        raise ConfigError(
            "save_model='compressed-tensors': expected a model in which every scale can be moved "
            f"out of the weights, but nothing before {kept[0].layers[0]} of a "
            f"{type(blocks[0].module).__name__} can take it. Type save_model=dense."
        )


def architecture_of(block: DecoderBlock) -> Architecture:
    """Return how `block` can be scaled; `ConfigError` where nobody told us."""
    name = type(block.module).__name__
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"model: expected one of {', '.join(ARCHITECTURES)}, whose layers are known to take "
            f"each other's scale, but this is {name}. Type method=gptq, which moves no scale, or "
            "add the architecture to calib_sweep/model/scaling_groups.py."
        )
    found = ARCHITECTURES[name]
    return found if isinstance(found, Architecture) else found(block)


def scaling_groups(block: DecoderBlock) -> tuple[ScalingGroup, ...]:
    """The groups of `block`, with the layer after attention where its inputs are all its own.

    The rule of the published code: where the matrix of values and the one after attention have one
    shape. With grouped heads a value feeds several inputs, and has no scale of its own for each.
    Features that are rotated before a layer reads them are scaled nowhere.
    """
    groups = (group for group in _groups(block) if not _is_rotated(block.layers[group.layers[0]]))
    return tuple(groups)


def _groups(block: DecoderBlock) -> tuple[ScalingGroup, ...]:
    found = architecture_of(block)
    if found.values is None:
        return found.groups
    (reader,), maker = found.values.layers, found.values.folds_into
    assert maker is not None
    num_out, num_in = block.layers[maker].weight_OI().shape
    parts = 3 if maker in found.score_layers else 1
    has_one_shape = block.layers[reader].weight_OI().shape == (num_out / parts, num_in)
    return (*found.groups, found.values) if has_one_shape else found.groups


def _is_rotated(layer: Layer) -> bool:
    return isinstance(layer, LinearLayer) and has_rotated_input(layer.module)
