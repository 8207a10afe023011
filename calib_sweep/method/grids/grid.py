"""Integer grids by minimum and maximum, one per group of neighbouring columns of a row.

    w ~ scale * (q - zero_point),   q = clamp(round(w / scale) + zero_point, 0, 2^bits - 1)

The grid of the published GPTQ code (Frantar et al. 2022, arXiv:2210.17323): zero always lies on the
grid, an all-zero group spans [-1, 1], rounding is half to even. In its symmetric form the lower end
is moved only where a group has a negative weight; a group without any keeps scale = max / levels
while its zero point sits in the middle, and clips its largest weights. That is kept as published.

Groups that do not fill the row leave a shorter last one, as in that code. It is computed as a full
one with zeros behind it, which move no end of its range and add no error.

Shapes: O = out_features, I = in_features, G = groups per row, C = columns per group.
"""

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from calib_sweep.method.column_rounding import ColumnRounding, Rounding, integer_kernel
from calib_sweep.method.typed import unflatten

SCALE_BITS = 16  # a stored scale is a half-precision number


@final
@dataclass(frozen=True, kw_only=True)
class Integers:
    """The whole numbers 0, ..., 2^bits - 1, shifted by a zero point."""

    bits: int

    def nearest(self, weight: Tensor, scale: Tensor, zero_point: Tensor | None) -> Tensor:
        assert zero_point is not None
        return nearest(weight, scale, zero_point, self.bits)

    def rounding(self, scale_BO: Tensor, zero_point_BO: Tensor | None) -> ColumnRounding:
        assert zero_point_BO is not None
        arguments = 2**self.bits - 1, scale_BO, zero_point_BO
        return ColumnRounding(Rounding, arguments, integer_kernel(*arguments))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Scale and zero point of every group."""

    scale_OG: Tensor
    zero_point_OG: Tensor
    bits: int
    group_size: int | None = None  # columns of all groups but the last; None: all have as many

    @property
    def levels(self) -> Integers:
        return Integers(bits=self.bits)

    def cpu(self) -> "Grid":
        return replace(self, scale_OG=self.scale_OG.cpu(), zero_point_OG=self.zero_point_OG.cpu())

    def round(self, weight_OI: Tensor) -> Tensor:
        """Return the nearest representable weight, float32."""
        num_in, num_groups = weight_OI.shape[1], self.scale_OG.shape[1]
        weight_OGC = grouped(weight_OI.to(torch.float32), self.group_size or num_in // num_groups)
        scale_OG1, zero_point_OG1 = self.scale_OG.unsqueeze(2), self.zero_point_OG.unsqueeze(2)
        rounded_OGC = nearest(weight_OGC, scale_OG1, zero_point_OG1, self.bits)
        return rounded_OGC.flatten(1)[:, :num_in]


def grouped(value_OI: Tensor, group_size: int) -> Tensor:
    """Return the columns in groups [O, G, C], with zeros behind a last one that is shorter."""
    num_missing = -value_OI.shape[1] % group_size
    value_OI = functional.pad(value_OI, (0, num_missing)) if num_missing else value_OI
    return unflatten(value_OI, 1, (-1, group_size))


def mean_group(num_in: int, group_size: int | None) -> float:
    """Return the columns per group of a row, on average."""
    return num_in / -(-num_in // (group_size or num_in))


def nearest(weight: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    """Return the grid point nearest to every weight; shapes broadcast."""
    level = ((weight / scale).round() + zero_point).clamp(0, 2**bits - 1)
    return scale * (level - zero_point)


def fit_grid(weight_OI: Tensor, bits: int, group_size: int | None, symmetric: bool) -> Grid:
    """Fit one grid per `group_size` columns of a row (None: one per row) to its extremes."""
    grid = grid_between(*ends(weight_OI, group_size, symmetric), bits, symmetric)
    return replace(grid, group_size=group_size)


def ends(weight_OI: Tensor, group_size: int | None, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Return the lowest and the highest weight that the grid of each group is to reach [O, G]."""
    weight_OGC = grouped(weight_OI.to(torch.float32), group_size or weight_OI.shape[1])
    low_OG = weight_OGC.amin(dim=2).clamp(max=0)
    high_OG = weight_OGC.amax(dim=2).clamp(min=0)
    if symmetric:
        high_OG = torch.maximum(low_OG.abs(), high_OG)
        low_OG = torch.where(low_OG < 0, -high_OG, low_OG)
    is_zero_OG = (low_OG == 0) & (high_OG == 0)
    return low_OG.masked_fill(is_zero_OG, -1.0), high_OG.masked_fill(is_zero_OG, 1.0)


def grid_between(low_OG: Tensor, high_OG: Tensor, bits: int, symmetric: bool) -> Grid:
    """Return the grids from `low` to `high`."""
    # By a tensor: a GPU divides by a number with its reciprocal, and the last digit decides ties.
    scale_OG = (high_OG - low_OG) / torch.full_like(high_OG, 2**bits - 1)
    if symmetric:
        zero_point_OG = torch.full_like(scale_OG, 2 ** (bits - 1))
    else:
        zero_point_OG = (-low_OG / scale_OG).round()
    return Grid(scale_OG=scale_OG, zero_point_OG=zero_point_OG, bits=bits)


def average_bits(bits: int, group_size: float, symmetric: bool) -> float:
    """Return the bits per weight, its share of scale and (asymmetric) zero point included."""
    return bits + (SCALE_BITS + (0 if symmetric else bits)) / group_size
