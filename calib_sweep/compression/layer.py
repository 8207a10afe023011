"""Compressing one linear layer: replace its weight, check it, say what was done.

Shapes: O, I = out_features, in_features.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from calib_sweep.method.base import LayerMethod
from calib_sweep.method.grids.weight_format import WeightGrid
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.model.blocks import Layer, LinearLayer
from calib_sweep.model.input_quantizer import (
    InputQuantizer,
    input_quantizer_of,
    name_of,
    set_input_quantizer,
)
from calib_sweep.results.record import CompressionNote

WIDER_DTYPE = "Try model.dtype=bfloat16 or model.dtype=float32"


class LayerError(Exception):
    """One layer could not be compressed; the message names block, layer and shape."""


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """The account of one linear layer."""

    block: int
    layer: str
    num_out: int
    num_in: int
    sparsity: float  # fraction of zeros in the new weight, counted
    bits: float | None  # average bits per weight; None: not on a grid
    output_error: float | None  # ||XW^T - XW'^T||^2 / ||XW^T||^2, see _output_error
    damping: float | None  # fraction really used; None: no solve
    num_tokens: int | None  # calibration tokens that reached the layer; None: data-free method
    products: str | None  # of inputs, in the statistic: float32 | tensor cores; None: data-free
    seconds: float  # compressing the layer; observing and propagating belong to the block
    note: str | None
    num_removed: int = 0  # weights of removed parts, which a smaller model would not hold
    input_quantizer: str | None = None  # name of what its inputs are put through; None: nothing
    num_routed: int | None = None  # of these tokens, sent to this expert by its router; None: none
    # Where the new weights lie, on the CPU, while it is wanted; no column of tables.
    grid: WeightGrid | None = field(default=None, repr=False)

    def row(self) -> dict[str, object]:
        """One row of a table of layers."""
        names = [known.name for known in fields(self) if known.name != "grid"]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """What a layer is to become."""

    weight_OI: Tensor
    bias_O: Tensor | None  # None: it stays as it is
    input_quantizer: InputQuantizer | None  # None: what is there stays
    report: LayerReport


def compress_layer(
    index: int,
    name: str,
    layer: Layer,
    method: LayerMethod,
    statistic: Statistic | None,
    routed: Mapping[str, int | None] | None = None,
) -> LayerReport:
    """Replace one weight; all else as of `replacement_of`."""
    replacement = replacement_of(index, name, layer, method, statistic, routed)
    put(layer, replacement)
    return replacement.report


def put(layer: Layer, replacement: Replacement) -> None:
    """Make a layer what it is to become."""
    if replacement.input_quantizer is not None:
        assert isinstance(layer, LinearLayer), layer
        set_input_quantizer(layer.module, replacement.input_quantizer)
    layer.set_weight_OI(replacement.weight_OI)
    if replacement.bias_O is not None:
        layer.set_bias_O(replacement.bias_O)


def replacement_of(
    index: int,
    name: str,
    layer: Layer,
    method: LayerMethod,
    statistic: Statistic | None,
    routed: Mapping[str, int | None] | None = None,
) -> Replacement:
    """Compress one weight; whatever goes wrong is raised with block, layer and shape.

    `routed`: by layer, the tokens that a router sent there where the statistic saw others as well.
    """
    start_s = time.perf_counter()
    weight_OI = layer.weight_OI()
    where = _where(index, name, weight_OI)
    if method.statistic is not None and statistic is None:
        if not layer.is_routed:
            raise LayerError(f"{where}: no calibration token went through its module")
        statistic = method.statistic(weight_OI.shape[1], weight_OI.device)
    check_finite(index, name, layer, statistic)
    try:
        compressed = method.for_layer(name).compress_weight(weight_OI, statistic)
    except (ArithmeticError, RuntimeError) as error:
        raise LayerError(f"{where}: {error}") from error
    new_OI = compressed.weight_OI
    _check_replacement(where, weight_OI, new_OI, compressed.bias_O)
    output_error = _output_error(weight_OI, new_OI, statistic)
    quantizer = _quantizer_of(where, layer, compressed.input_quantizer)
    report = LayerReport(
        block=index,
        layer=name,
        num_out=weight_OI.shape[0],
        num_in=weight_OI.shape[1],
        sparsity=int((new_OI == 0).sum()) / new_OI.numel(),
        bits=compressed.bits,
        output_error=output_error,
        damping=compressed.damping,
        num_tokens=None if statistic is None else statistic.num_tokens,
        num_routed=_num_routed(name, layer, statistic, routed or {}),
        products=None if statistic is None else statistic.products,
        seconds=time.perf_counter() - start_s,
        note=compressed.note,
        num_removed=compressed.num_removed,
        input_quantizer=None if quantizer is None else name_of(quantizer),
        grid=None if compressed.grid is None else compressed.grid.cpu(),
    )
    return Replacement(
        weight_OI=new_OI,
        bias_O=compressed.bias_O,
        input_quantizer=compressed.input_quantizer,
        report=report,
    )


def _num_routed(
    name: str, layer: Layer, statistic: Statistic | None, routed: Mapping[str, int | None]
) -> int | None:
    if statistic is None or not layer.is_routed:
        return None
    return routed.get(name, statistic.num_tokens)


def _check_replacement(
    where: str, weight_OI: Tensor, new_OI: Tensor, bias_O: Tensor | None
) -> None:
    assert new_OI.shape == weight_OI.shape and new_OI.dtype == weight_OI.dtype, where
    new = [new_OI] if bias_O is None else [new_OI, bias_O]
    if not all(bool(torch.isfinite(values).all()) for values in new):
        raise LayerError(
            f"{where}: the compressed weight is not finite in {_name_of(new_OI.dtype)}. "
            f"{WIDER_DTYPE}."
        )


def _quantizer_of(
    where: str, layer: Layer, quantizer: InputQuantizer | None
) -> InputQuantizer | None:
    """Return what will be in front of the layer's module; `quantizer` None: what is there now."""
    there = input_quantizer_of(layer.module) if isinstance(layer, LinearLayer) else None
    if quantizer is None:
        return there
    if not isinstance(layer, LinearLayer):
        raise LayerError(
            f"{where}: its inputs cannot be quantised ({name_of(quantizer)}), because it is one of "
            "several fused experts, which have no module of their own. Choose a model without "
            "fused experts, or a method that leaves inputs as they are."
        )
    if there is not None:
        raise LayerError(
            f"{where}: its inputs would be quantised twice, by activations ({name_of(there)}) and "
            f"by the method ({name_of(quantizer)}). Type activations=null."
        )
    return quantizer


def _output_error(weight_OI: Tensor, new_OI: Tensor, statistic: Statistic | None) -> float | None:
    """||XW^T - XW'^T||^2 / ||XW^T||^2, X the calibration tokens as the layer's statistic saw them.

    All of them where it is a Hessian, the first samples where it is an `InputNorm`. A method's
    quantiser of inputs is left out: both weights see them as they came. None: a method without
    data, a layer without tokens or with an output of zero, or a statistic that cannot tell.
    """
    if statistic is None:
        return None
    whole = statistic.weighted_square_sum(weight_OI)
    if not whole:
        return None
    change = statistic.weighted_square_sum(weight_OI.float() - new_OI.float())
    return None if change is None else max(change, 0.0) / whole


def check_finite(index: int, name: str, layer: Layer, statistic: Statistic | None) -> None:
    """Raise `LayerError` where a weight or an input of a layer is NaN or infinite."""
    weight_OI = layer.weight_OI()
    where = _where(index, name, weight_OI)
    if not bool(torch.isfinite(weight_OI).all()):
        raise LayerError(f"{where}: the model's weight is not finite; is the checkpoint damaged?")
    if statistic is not None and not statistic.is_finite():
        raise LayerError(
            f"{where}: inputs are not finite: the layers before it overflow in "
            f"{_name_of(weight_OI.dtype)}, or hold a NaN. "
            f"{WIDER_DTYPE}; if that does not help, the checkpoint is damaged."
        )


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _where(index: int, name: str, weight_OI: Tensor) -> str:
    return f"block {index} layer {name} ({weight_OI.shape[0]} x {weight_OI.shape[1]})"


def summarise_layers(
    layers: list[LayerReport], seconds: float, propagated: str | None
) -> CompressionNote:
    """Average sparsity and bits over all compressed weights, each layer weighted by its size."""
    sizes = [layer.num_out * layer.num_in for layer in layers]
    bits = [layer.bits for layer in layers]
    on_grid = layers and all(b is not None for b in bits)
    note: CompressionNote = {
        "sparsity": _weighted([layer.sparsity for layer in layers], sizes),
        "bits": _weighted([b for b in bits if b is not None], sizes) if on_grid else None,
        "num_weights": sum(sizes),
        "products": _listed(layer.products for layer in layers),
        "input_quantizer": _listed(layer.input_quantizer for layer in layers),
        "seconds": round(seconds, 3),
        "propagated": propagated,
    }
    num_removed = sum(layer.num_removed for layer in layers)
    if num_removed:
        note["removed"] = {"weights": num_removed, "share": num_removed / sum(sizes)}
    routed = _routed(layers)
    if routed:
        note["experts"] = {
            "num_experts": len(routed),
            "fewest": min(routed),
            "median": float(np.median(routed)),
            "most": max(routed),
            "unreached": routed.count(0),
        }
    return note


def _routed(layers: list[LayerReport]) -> list[int]:
    """Return the tokens of each expert that a router sent; layers of an expert have one number."""
    by_expert = {
        (layer.block, layer.layer.rpartition(".")[0]): layer.num_routed
        for layer in layers
        if layer.num_routed is not None
    }
    return list(by_expert.values())


def _listed(words: Iterable[str | None]) -> str | None:
    """Join the different words, in order of the alphabet; None where there are none."""
    return ", ".join(sorted({word for word in words if word is not None})) or None


def _weighted(values: list[float], sizes: list[int]) -> float | None:
    return float(np.average(values, weights=sizes)) if values else None
