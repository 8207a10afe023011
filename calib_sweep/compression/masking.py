"""Simulated removal: rows, columns and biases of a layer become zero, and are counted.

What columns gave on average can move into the layer's bias:

    b'[o] = b[o] + sum over removed columns i of W[o, i] * mean[i]

Shapes: O = out_features, I = in_features.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.dense import Dense
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.structured import BlockParts, Part, Removal
from calib_sweep.model.additions import restrict_router
from calib_sweep.model.blocks import DecoderBlock, Layer
from calib_sweep.model.experts import ExpertLinear
from calib_sweep.model.structure import parts_of, rows_of_heads, rows_of_neurons


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Masked(LayerMethod):
    """Zeroes what goes of one layer."""

    rows_O: Tensor  # True where a row goes
    columns_I: Tensor  # True where a column goes
    bias_O: Tensor | None  # as it is; None: the layer has none
    mean_I: Tensor | None = None  # of the inputs; None: the bias takes up nothing
    note: str  # what goes

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        rows_O, columns_I = (mask.to(weight_OI.device) for mask in (self.rows_O, self.columns_I))
        removed_OI = rows_O.unsqueeze(1) | columns_I
        return CompressedWeight(
            weight_OI=weight_OI.masked_fill(removed_OI, 0.0),
            bias_O=self._new_bias_O(weight_OI, rows_O, columns_I),
            num_removed=int(removed_OI.sum()),
            note=self.note,
        )

    @full_float32()
    def _new_bias_O(self, weight_OI: Tensor, rows_O: Tensor, columns_I: Tensor) -> Tensor | None:
        device = weight_OI.device
        bias_O = None if self.bias_O is None else self.bias_O.to(device).masked_fill(rows_O, 0.0)
        if self.mean_I is None:
            return bias_O
        mean_I = self.mean_I.to(device, torch.float32)
        moved_O = weight_OI.to(torch.float32) @ (mean_I * columns_I)
        whole_O = moved_O if bias_O is None else bias_O.to(torch.float32) + moved_O
        return whole_O.to(weight_OI.dtype)


def masks_of(block: DecoderBlock, parts: BlockParts, removal: Removal) -> dict[str, LayerMethod]:
    """Return what each layer of a block is masked with: those of which nothing goes stay dense."""
    if removal.whole:
        return {name: _whole(layer, "its block is removed") for name, layer in block.layers.items()}
    masks: dict[str, LayerMethod] = dict.fromkeys(block.layers, Dense())
    if removal.experts_E is not None:
        gone = set(removal.experts_E.nonzero().flatten().tolist())
        experts = {n: e for n, e in block.layers.items() if isinstance(e, ExpertLinear)}
        note = "its expert is removed"
        masks |= {n: _whole(layer, note) for n, layer in experts.items() if layer.expert in gone}
    if removal.attention:
        assert parts.attention is not None
        layers = {name: block.layers[name] for name in parts.attention.layers}
        masks |= {n: _whole(layer, "its attention is removed") for n, layer in layers.items()}
    if removal.heads_H is not None and removal.heads_H.any():
        assert parts.attention is not None
        masks |= _of_heads(block, parts.attention, removal)
    if removal.neurons_F is not None and removal.neurons_F.any():
        assert parts.feed_forward is not None
        masks |= _of_neurons(block, parts.feed_forward, removal)
    return masks


def mask_router(block: DecoderBlock, removed_E: Tensor | None) -> None:
    """Have the router of a block choose none of the removed experts; None: it has lost none."""
    mixture = parts_of(block).mixture
    if removed_E is not None and mixture is not None:
        restrict_router(block.module.get_submodule(mixture.router), removed_E)


def _of_heads(block: DecoderBlock, part: Part, removal: Removal) -> dict[str, LayerMethod]:
    removed_H = removal.heads_H
    assert removed_H is not None
    columns_I = removed_H.repeat_interleave(part.num_inputs // len(removed_H))
    note = f"{int(removed_H.sum())} of {len(removed_H)} heads are removed"
    return _of_part(block, part, rows_of_heads(block, removed_H), columns_I, removal, note)


def _of_neurons(block: DecoderBlock, part: Part, removal: Removal) -> dict[str, LayerMethod]:
    removed_F = removal.neurons_F
    assert removed_F is not None
    note = f"{int(removed_F.sum())} of {len(removed_F)} neurons are removed"
    rows = rows_of_neurons(block, part, removed_F)
    return _of_part(block, part, rows, removed_F, removal, note)


def _of_part(
    block: DecoderBlock,
    part: Part,
    rows: dict[str, Tensor],
    columns_I: Tensor,
    removal: Removal,
    note: str,
) -> dict[str, LayerMethod]:
    out = block.layers[part.out]
    masks: dict[str, LayerMethod] = {
        name: _mask(block.layers[name], note, rows_O=rows_O) for name, rows_O in rows.items()
    }
    mean_I = removal.means.get(part.out)
    masks[part.out] = _mask(out, note, columns_I=columns_I, mean_I=mean_I)
    return masks


def _whole(layer: Layer, note: str) -> Masked:
    num_out = layer.weight_OI().shape[0]
    return _mask(layer, note, rows_O=torch.ones(num_out, dtype=torch.bool))


def _mask(
    layer: Layer,
    note: str,
    *,
    rows_O: Tensor | None = None,
    columns_I: Tensor | None = None,
    mean_I: Tensor | None = None,
) -> Masked:
    num_out, num_in = layer.weight_OI().shape
    return Masked(
        rows_O=torch.zeros(num_out, dtype=torch.bool) if rows_O is None else rows_O,
        columns_I=torch.zeros(num_in, dtype=torch.bool) if columns_I is None else columns_I,
        bias_O=layer.bias_O(),
        mean_I=mean_I,
        note=note,
    )
