"""The parts of decoder blocks that structured methods remove: attention, its heads, neurons.

A head of queries is a run of columns of the layer after attention. Its rows lie in the layers
before attention, one below the other or in turn; rows of keys and values go when all heads that
read them go. A neuron is a column of the last layer of the feed-forward part, and a row of each
layer before.

Shapes: O, I = out_features, in_features, H = heads of queries, F = neurons.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from calib_sweep.method.structured import BlockParts, Mixture, Part
from calib_sweep.model.additions import is_plain_router
from calib_sweep.model.blocks import DecoderBlock, decoder_blocks
from calib_sweep.model.experts import DOWN, holds_fused_experts

# Names of the norm between the last block and the head, beside the list of blocks.
FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")
# Names of the router of a mixture, beside its experts.
ROUTER_NAMES = ("gate", "router")
# A child of a block that attends, and layers within that read what was attended to.
ATTENTION = ("self_attn", "attn", "attention", "self_attention")
AFTER_ATTENTION = ("o_proj", "out_proj", "dense", "c_proj")
# The last layer of a feed-forward part.
LAST = ("down_proj", "fc2", "c_proj", "dense_4h_to_h")
# Layers before attention: a matrix each, one below the other in one matrix, or head by head.
QUERIES, KEYS_VALUES = "q_proj", ("k_proj", "v_proj")
STACKED = ("qkv_proj", "c_attn")
IN_TURN = "query_key_value"


def final_norm(model: nn.Module) -> nn.Module:
    """The norm between the last block and the head; where there is none, what changes nothing."""
    blocks = decoder_blocks(model)
    owner = next(module for module in model.modules() if blocks in list(module.children()))
    beside = dict(owner.named_children())
    return next((beside[name] for name in FINAL_NORMS if name in beside), nn.Identity())


def parts_of(block: DecoderBlock) -> BlockParts:
    """Say what a block is made of, as far as it is known."""
    attention = {name for name in block.layers if _stem(name) in ATTENTION}
    others = set(block.layers) - attention
    return BlockParts(
        kind=type(block.module).__name__,
        attention=_part(block, attention, AFTER_ATTENTION),
        feed_forward=None
        if any("experts" in name.split(".") for name in others)
        else _part(block, others, LAST),
        num_heads=None if _heads_of_rows(block) is None else _num_heads(block),
        mixture=_mixture(block),
    )


def _mixture(block: DecoderBlock) -> Mixture | None:
    """The fused experts of a block, whose router has a row for each and nothing else."""
    for name, module in block.module.named_modules():
        stem, _, leaf = name.rpartition(".")
        if leaf != "experts" or not holds_fused_experts(module):
            continue
        beside = dict(block.module.get_submodule(stem).named_children())
        router = next((own for own in ROUTER_NAMES if own in beside), None)
        num_experts = len(module.get_parameter(DOWN))
        if router is not None and is_plain_router(beside[router], num_experts):
            return Mixture(
                experts=name,
                router=f"{stem}.{router}",
                num_experts=num_experts,
                num_chosen=int(cast(int, beside[router].top_k)),
            )
    return None


def _part(block: DecoderBlock, names: set[str], ends: tuple[str, ...]) -> Part | None:
    out = [name for name in names if _leaf(name) in ends]
    if len(out) != 1:
        return None
    sizes = {name: layer.weight_OI().numel() for name, layer in block.layers.items()}
    return Part(
        out=out[0],
        layers=tuple(name for name in block.layers if name in names),
        num_weights=sum(sizes[name] for name in names),
        num_inputs=block.layers[out[0]].weight_OI().shape[1],
        has_bias=block.layers[out[0]].bias_O() is not None,
    )


def rows_of_heads(block: DecoderBlock, removed_H: Tensor) -> dict[str, Tensor]:
    """Mark the rows [O] of every layer before attention that go with heads of queries."""
    heads_of = _heads_of_rows(block)
    assert heads_of is not None
    return {name: (~heads_OH | removed_H).all(dim=1) for name, heads_OH in heads_of.items()}


def rows_of_neurons(block: DecoderBlock, part: Part, removed_F: Tensor) -> dict[str, Tensor]:
    """Mark the rows [O] of every layer before the last one that go with neurons."""
    names = [name for name in part.layers if name != part.out]
    times = {name: block.layers[name].weight_OI().shape[0] // len(removed_F) for name in names}
    return {name: removed_F.repeat(times[name]) for name in names}


def _heads_of_rows(block: DecoderBlock) -> Mapping[str, Tensor] | None:
    """By layer before attention the heads that read each of its rows [O, H]; None: not known."""
    names = {_leaf(name): name for name in block.layers if _stem(name) in ATTENTION}
    out = next((names.pop(leaf) for leaf in AFTER_ATTENTION if leaf in names), None)
    num_heads = _num_heads(block)
    if out is None or num_heads is None:
        return None
    width, rest = divmod(block.layers[out].weight_OI().shape[1], num_heads)
    num_groups = _num_groups(block, num_heads)
    found = {name: _rows(block, leaf, num_heads, num_groups, width) for leaf, name in names.items()}
    sizes = {name: block.layers[name].weight_OI().shape[0] for name in found}
    if rest or any(rows is None or len(rows) != sizes[name] for name, rows in found.items()):
        return None
    return {name: rows for name, rows in found.items() if rows is not None}


def _rows(
    block: DecoderBlock, leaf: str, num_heads: int, num_groups: int, width: int
) -> Tensor | None:
    """The heads that read each row of the layer `leaf` [O, H]; None: a layer that is not known."""
    head_OH = torch.eye(num_heads, dtype=torch.bool)
    group_OH = torch.eye(num_groups, dtype=torch.bool)
    group_OH = group_OH.repeat_interleave(num_heads // num_groups, dim=1)
    per_head, per_group = (rows.repeat_interleave(width, dim=0) for rows in (head_OH, group_OH))
    if leaf == QUERIES:
        return torch.ones_like(per_head) if _norms_all_heads(block, width) else per_head
    if leaf in KEYS_VALUES:
        is_normed = leaf == "k_proj" and _norms_all_heads(block, width)
        return torch.ones_like(per_group) if is_normed else per_group
    if leaf in STACKED or (leaf == IN_TURN and num_groups == 1):
        return torch.cat([per_head, per_group, per_group])
    if leaf != IN_TURN:
        return None
    # Group by group: its queries, its key, its value.
    parts = [rows.unflatten(0, (num_groups, -1)) for rows in (per_head, per_group, per_group)]
    return torch.cat(parts, dim=1).flatten(0, 1)


def _norms_all_heads(block: DecoderBlock, width: int) -> bool:
    """Tell whether queries and keys of all heads are normed together: then they all stay."""
    norms = (
        module
        for name, module in block.module.named_modules()
        if _leaf(name) in ("q_norm", "k_norm")
    )
    weights = (dict(norm.named_parameters()).get("weight") for norm in norms)
    return any(w is not None and w.ndim == 1 and w.numel() > width for w in weights)


def _num_heads(block: DecoderBlock) -> int | None:
    return _number(block, "num_attention_heads", "num_heads")


def _num_groups(block: DecoderBlock, num_heads: int) -> int:
    """Heads of keys and values; as many as of queries where nothing else is said."""
    attention = _attention(block)
    if getattr(attention, "multi_query", False) and not getattr(
        attention, "new_decoder_architecture", False
    ):
        return 1  # Falcon
    own = "num_kv_heads" if hasattr(attention, "multi_query") else "num_key_value_heads"
    return _number(block, own) or num_heads


def _number(block: DecoderBlock, *names: str) -> int | None:
    attention = _attention(block)
    owners = (attention, getattr(attention, "config", None))
    found = (getattr(owner, name, None) for owner in owners for name in names)
    return next((number for number in found if isinstance(number, int)), None)


def _attention(block: DecoderBlock) -> nn.Module | None:
    return next((m for name, m in block.module.named_children() if name in ATTENTION), None)


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
