"""Moving a scale from the layers that read a tensor into what makes it: the block stays the same.

Shapes: O = out_features, I = in_features.
"""

import torch
from torch import Tensor, nn

from calib_sweep.method.base import ScalingGroup
from calib_sweep.model.blocks import DecoderBlock, Layer, LinearLayer
from calib_sweep.model.scaling_groups import architecture_of


@torch.no_grad()
def fold(block: DecoderBlock, scaled: ScalingGroup, scale_I: Tensor) -> Tensor:
    """Divide the features that feed `scaled` by a scale, multiply its columns; change nothing else.

    Returns the scale [I] that the producer was really divided by, after rounding to its dtype, and
    the columns multiplied by. Another than asked for in half precision only, above all in Gemma,
    whose norms store their gain less 1.
    """
    assert scaled.folds_into is not None
    if scaled.folds_into in block.layers:
        _divide_last_rows(block.layers[scaled.folds_into], scale_I)
    else:
        norm = block.module.get_submodule(scaled.folds_into)
        offset = architecture_of(block).norm_offset
        scale_I = _divide_norm(norm, scale_I, offset)
    for name in scaled.layers:
        layer = block.layers[name]
        weight_OI = layer.weight_OI()
        layer.set_weight_OI((weight_OI.to(torch.float32) * scale_I).to(weight_OI.dtype))
    for name in scaled.followers:
        block.module.get_submodule(name).get_parameter("weight").mul_(scale_I)
    return scale_I


def _divide_last_rows(layer: Layer, scale_O: Tensor) -> None:
    """Divide outputs; of several matrices stacked in one, the last makes them (v, or up)."""
    # An expert's matrix has no bias that is known here; the table leaves those with one out.
    weight_OI = layer.weight_OI().to(torch.float32, copy=True)
    weight_OI[-len(scale_O) :] /= scale_O.unsqueeze(1)
    layer.set_weight_OI(weight_OI.to(layer.weight_OI().dtype))
    bias_O = layer.module.bias if isinstance(layer, LinearLayer) else None
    if bias_O is not None:
        bias_O[-len(scale_O) :] /= scale_O


def _divide_norm(norm: nn.Module, scale_I: Tensor, offset: float) -> Tensor:
    """Divide gain and bias; a gain that would round to nothing stays as it is."""
    weight_I = norm.get_parameter("weight")
    gain_I = weight_I.to(torch.float32) + offset
    divided_I = (gain_I / scale_I - offset).to(weight_I.dtype)
    left_I = divided_I.to(torch.float32) + offset
    divided_I = torch.where(left_I == 0, weight_I, divided_I)
    allowed_I = torch.where(left_I == 0, torch.ones_like(scale_I), gain_I / left_I)
    weight_I.copy_(divided_I)
    bias_I = dict(norm.named_parameters()).get("bias")
    if bias_I is not None:
        bias_I /= allowed_I
    return allowed_I
