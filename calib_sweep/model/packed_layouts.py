"""How the library `compressed-tensors` stores the weights of each format, and what it reads back.

    int                pack-quantized        codes of `bits` bits, scales in the model's dtype
    nvfp4              nvfp4-pack-quantized  two codes a byte, scales of FP8, a factor per tensor
    mxfp4              mxfp4-pack-quantized  two codes a byte, exponents of scales
    fp8, fp8_block     float-quantized       FP8 numbers, scales in the model's dtype

The library multiplies FP4 numbers in bfloat16. That is exact for mxfp4; for nvfp4 it gives the very
weights of a model in bfloat16, and of no other. Experts that transformers fuses stay in bfloat16.

Shapes: O, I = out_features, in_features, G = groups per row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from calib_sweep.errors import ConfigError, require
from calib_sweep.method.grids.float_formats import FP8, MXFP4, NVFP4, OCP
from calib_sweep.method.grids.float_grid import FloatGrid
from calib_sweep.method.grids.floats import E4M3
from calib_sweep.method.grids.grid import Grid
from calib_sweep.method.grids.integer_format import IntegerFormat
from calib_sweep.method.grids.weight_format import WeightFormat, WeightGrid

DENSE = "Type save_model=dense."
NOT_PLAIN = "is an expert, of which transformers reads one scale per group of a row and no more"


@dataclass(frozen=True)
class Layout:
    """One format in the words of the library."""

    name: str
    arguments: Mapping[str, Any]  # of its QuantizationArgs
    scales: Callable[[Any], dict[str, Tensor]]  # of a grid, beside the weight
    rounds_scales: bool = False  # whether they are stored in the model's dtype
    not_of_experts: tuple[str, str] | None = None  # what it is that keeps them out, what to type
    only_dtype: str | None = None  # that is read back as it was
    only_dtype_of_experts: str | None = None


def layout_of(form: WeightFormat) -> Layout:
    """Return how weights of a format are stored; `ConfigError` where they cannot be."""
    if isinstance(form, IntegerFormat):
        return _integers(form)
    if isinstance(form, NVFP4):
        return _NVFP4
    if isinstance(form, MXFP4):
        require(
            form.scale_rule == OCP,
            "method.scale_rule",
            form.scale_rule,
            f"{OCP} with save_model=compressed-tensors, which stores powers of two",
            f"Type method.scale_rule={OCP}, or save_model=dense.",
        )
        return _MXFP4
    assert isinstance(form, FP8), form
    return _fp8(form)


def check_dtype(layout: Layout, dtype: str) -> None:
    """Raise `ConfigError` where a model of this dtype would not be read back as it was."""
    require(
        layout.only_dtype in (None, dtype),
        "model.dtype",
        dtype,
        f"{layout.only_dtype} with save_model=compressed-tensors and this format, whose numbers "
        f"are read back in {layout.only_dtype}",
        f"Type model.dtype={layout.only_dtype}, or save_model=dense.",
    )


def misfit(
    layout: Layout, form: WeightFormat, dtype: str, num_in: int, is_expert: bool
) -> tuple[str, str] | None:
    """Say why a layer cannot be stored so, and what to type; None: it can."""
    if is_expert and layout.not_of_experts is not None:
        return layout.not_of_experts
    if is_expert and layout.only_dtype_of_experts not in (None, dtype):
        kept = layout.only_dtype_of_experts
        return (
            f"is an expert, which is read back in {kept}",
            f"Type model.dtype={kept}, or save_model=dense.",
        )
    if form.group_size is not None and num_in % form.group_size:
        remedy = "Type a method.group_size that divides it, or save_model=dense."
        return (
            f"has {num_in} columns, which groups of {form.group_size} do not fill",
            remedy if isinstance(form, IntegerFormat) else DENSE,
        )
    return None


def refused(name: str, layer: str, found: str, remedy: str) -> ConfigError:
    return ConfigError(
        "save_model='compressed-tensors': expected a model whose layers can be packed, but "
        f"{layer} of {name} {found}. {remedy}"
    )


def _integers(form: IntegerFormat) -> Layout:
    asymmetric = "is an expert, of which transformers reads symmetric grids only"
    return Layout(
        name="pack-quantized",
        arguments={
            "num_bits": form.bits,
            "type": "int",
            "symmetric": form.symmetric,
            "strategy": "channel" if form.group_size is None else "group",
            "group_size": form.group_size,
        },
        scales=_integer_scales,
        rounds_scales=True,
        not_of_experts=None
        if form.symmetric
        else (asymmetric, "Type method.symmetric=true, or save_model=dense."),
    )


def _integer_scales(grid: WeightGrid) -> dict[str, Tensor]:
    assert isinstance(grid, Grid), grid
    zero_point_OG = grid.zero_point_OG - 2 ** (grid.bits - 1)
    return {"weight_scale": grid.scale_OG, "weight_zero_point": zero_point_OG.to(torch.int8)}


def _factored_scales(grid: FloatGrid) -> dict[str, Tensor]:
    factor = grid.tensor_factor
    assert factor is not None
    return {
        "weight_scale": E4M3.snap(grid.scale_OG * factor),
        "weight_global_scale": grid.scale_OG.new_tensor([factor]),
    }


def _plain_scales(grid: FloatGrid) -> dict[str, Tensor]:
    return {"weight_scale": grid.scale_OG[:: grid.num_rows]}


_NVFP4 = Layout(
    name="nvfp4-pack-quantized",
    arguments={
        "num_bits": 4,
        "type": "float",
        "strategy": "tensor_group",
        "group_size": 16,
        "scale_dtype": torch.float8_e4m3fn,
        "zp_dtype": torch.float8_e4m3fn,
    },
    scales=_factored_scales,
    not_of_experts=(NOT_PLAIN, DENSE),
    only_dtype="bfloat16",
)
_MXFP4 = Layout(
    name="mxfp4-pack-quantized",
    arguments={
        "num_bits": 4,
        "type": "float",
        "strategy": "group",
        "group_size": 32,
        "scale_dtype": torch.uint8,
        "zp_dtype": torch.uint8,
    },
    scales=_plain_scales,
    only_dtype_of_experts="bfloat16",
)


def _fp8(form: FP8) -> Layout:
    number = {"num_bits": 8, "type": "float"}
    if form.group_size is None:
        return Layout(
            name="float-quantized",
            arguments={**number, "strategy": "channel"},
            scales=_plain_scales,
            rounds_scales=True,
        )
    block = {"strategy": "block", "block_structure": [form.num_rows, form.group_size]}
    return Layout(
        name="float-quantized",
        arguments={**number, **block},
        scales=_plain_scales,
        rounds_scales=True,
        not_of_experts=(NOT_PLAIN, DENSE),
    )
