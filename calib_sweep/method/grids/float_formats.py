"""The formats of weights that hold FP4 or FP8 numbers, by how they store scales.

    nvfp4      E2M1, groups of 16   scale = E4M3(limit / 6 * g) / g,   g = 448 * 6 / max |W|
    mxfp4      E2M1, groups of 32   scale = 2^(floor(log2 limit) - 2);  four_thirds: 4/3 of that
    fp8        E4M3, rows           scale = limit / 448
    fp8_block  E4M3, 128 x 128      scale = limit / 448

`limit` is that of `float_grid.py`: the largest magnitude of a group, or the one that the search
finds. All are symmetric. g is a float32 number per tensor; layers that runtimes fuse share the
smallest g of them, which their common largest weight gives. A scale of nvfp4 that rounds to 0 is
stored as 1, so that its group becomes 0; FP-Quant puts 1 into the place of the scale itself, which
cannot be stored. Exponents of mxfp4 stop at -126, where FP-Quant goes two further.

Bits count a scale of 8 bits a group and 32 for g (nvfp4), 8 bits a group (mxfp4), 16 bits a row or
block (fp8).

Shapes: O = out_features, I = in_features, G = groups per row.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from calib_sweep.method.grids.float_grid import SMALLEST_SCALE, FloatGrid, Groups, scale_to
from calib_sweep.method.grids.floats import E2M1, E4M3, Floats, power_below
from calib_sweep.method.grids.grid import SCALE_BITS, mean_group

OCP, FOUR_THIRDS = "ocp", "four_thirds"
SMALL_SCALE_BITS, FACTOR_BITS = 8, 32
LARGEST_FACTOR = 2.0**100  # beyond it, scales are no normal float32 numbers


@final
@dataclass(frozen=True, kw_only=True)
class NVFP4:
    """FP4 in groups of 16, whose scales are FP8 numbers over one factor per tensor."""

    searches: bool = False
    tensor_factor: float | None = None  # shared with other layers; None: of the weights at hand

    @property
    def bits(self) -> int:
        return E2M1.bits

    @property
    def group_size(self) -> int:
        return 16

    @property
    def is_static(self) -> bool:
        return True

    def fit(self, weight_OI: Tensor, importance_I: Tensor | None = None) -> FloatGrid:
        limit_OG = _limit_OG(
            Groups(size=self.group_size), weight_OI, E2M1, self.searches, importance_I
        )
        factor = self.tensor_factor or self.factor_of([weight_OI])
        scale_OG = nvfp4_scale_OG(limit_OG, torch.full_like(limit_OG, factor))
        return FloatGrid(
            scale_OG=scale_OG, levels=E2M1, group_size=self.group_size, tensor_factor=factor
        )

    def average_bits(self, num_out: int, num_in: int) -> float:
        share = SMALL_SCALE_BITS / mean_group(num_in, self.group_size)
        return self.bits + share + FACTOR_BITS / (num_out * num_in)

    def factor_of(self, weights: Iterable[Tensor]) -> float:
        """Return g, a float32 number, of weights that share it."""
        largest = max(float(weight_OI.abs().max()) for weight_OI in weights)
        if not (0 < largest < math.inf):  # whose weight is no number is told when it is compressed
            return 1.0
        factor = E4M3.largest * E2M1.largest / largest
        return torch.tensor(min(factor, LARGEST_FACTOR), dtype=torch.float32).item()


def nvfp4_scale_OG(limit_OG: Tensor, factor_OG: Tensor) -> Tensor:
    """Return the scales that FP8 numbers over a factor hold; the factor may be a row's own."""
    stored_OG = E4M3.snap(scale_to(limit_OG, E2M1) * factor_OG)
    return stored_OG.masked_fill(stored_OG == 0, 1.0) / factor_OG


@final
@dataclass(frozen=True, kw_only=True)
class MXFP4:
    """FP4 in groups of 32, whose scales are powers of two."""

    searches: bool = False
    scale_rule: str = OCP  # or four_thirds, as FP-Quant has it: less is clipped, steps are wider

    @property
    def bits(self) -> int:
        return E2M1.bits

    @property
    def group_size(self) -> int:
        return 32

    @property
    def is_static(self) -> bool:
        return True

    def fit(self, weight_OI: Tensor, importance_I: Tensor | None = None) -> FloatGrid:
        limit_OG = _limit_OG(
            Groups(size=self.group_size), weight_OI, E2M1, self.searches, importance_I
        )
        limit_OG = limit_OG.masked_fill(limit_OG == 0, E2M1.largest)
        scale_OG = (power_below(limit_OG) / 4).clamp_(min=SMALLEST_SCALE)
        if self.scale_rule == FOUR_THIRDS:
            scale_OG = scale_OG / torch.full_like(scale_OG, 3 / 4)
        return FloatGrid(scale_OG=scale_OG, levels=E2M1, group_size=self.group_size)

    def average_bits(self, num_out: int, num_in: int) -> float:
        return self.bits + SMALL_SCALE_BITS / mean_group(num_in, self.group_size)

    def factor_of(self, weights: Iterable[Tensor]) -> None:
        return None


@final
@dataclass(frozen=True, kw_only=True)
class FP8:
    """FP8 with a scale for each row, or for each block of rows and columns."""

    searches: bool = False
    group_size: int | None = None  # columns of a block; None: the whole row
    num_rows: int = 1  # rows of a block

    @property
    def bits(self) -> int:
        return E4M3.bits

    @property
    def is_static(self) -> bool:
        return True

    def fit(self, weight_OI: Tensor, importance_I: Tensor | None = None) -> FloatGrid:
        groups = Groups(size=self.group_size, num_rows=self.num_rows)
        scale_OG = scale_to(_limit_OG(groups, weight_OI, E4M3, self.searches, importance_I), E4M3)
        return FloatGrid(
            scale_OG=scale_OG, levels=E4M3, group_size=self.group_size, num_rows=self.num_rows
        )

    def average_bits(self, num_out: int, num_in: int) -> float:
        block = mean_group(num_in, self.group_size) * mean_group(num_out, self.num_rows)
        return self.bits + SCALE_BITS / block

    def factor_of(self, weights: Iterable[Tensor]) -> None:
        return None


def _limit_OG(
    groups: Groups,
    weight_OI: Tensor,
    levels: Floats,
    searches: bool,
    importance_I: Tensor | None,
) -> Tensor:
    if searches or importance_I is not None:
        return groups.searched_limit_OG(weight_OI, levels, importance_I)
    return groups.limit_OG(weight_OI)
