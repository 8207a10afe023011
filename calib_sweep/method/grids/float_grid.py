"""Grids of floating-point numbers: a scale for every group, fitted to its largest weight.

    w ~ scale * q,   q = the number of `floats.py` nearest to w / scale

    limit = max |w| of the group                      scale = limit / largest number
    searched: limit_i = f_i max |w|,  f_i = 1 - 0.8 i / 100,  i = 0, ..., 99:  the limit with the
    smallest  sum |w - q_i limit_i / largest|^2.4;  of equal errors the widest

    by importance:  f_i = 1 - i / 20, i = 0, ..., 19, and  sum E[x^2] |w - ...|^3  (grid_search.py)

A group is of neighbouring columns of one row, or of several neighbouring rows. Groups that do not
fill the matrix leave shorter last ones. The search is that of FP-Quant (Egiazarian et al. 2025,
arXiv:2509.23202): it tries scales before they are rounded themselves, so that a format which rounds
scales may end with a larger error than the search saw.

Shapes: O = out_features, I = in_features, G = groups per row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from calib_sweep.method.grids.floats import Floats
from calib_sweep.method.grids.grid import grouped
from calib_sweep.method.grids.grid_search import BY_IMPORTANCE

EXPONENT = 2.4
NUM_STEPS = 100
MOST_SHRUNK = 0.8  # of the limit is what a hundredth step would take away
SMALLEST_SCALE = torch.finfo(torch.float32).tiny


@final
@dataclass(frozen=True, kw_only=True)
class FloatGrid:
    """The scale of every group."""

    scale_OG: Tensor  # of rows that share a scale, each has it
    levels: Floats
    group_size: int | None  # columns of all groups but the last; None: one group
    num_rows: int = 1  # neighbouring rows that share their scales
    tensor_factor: float | None = None  # times a scale is what is stored of it; None: the scale is

    @property
    def zero_point_OG(self) -> None:
        return None

    def cpu(self) -> "FloatGrid":
        return replace(self, scale_OG=self.scale_OG.cpu())

    def round(self, weight_OI: Tensor) -> Tensor:
        """Return the nearest representable weight, float32."""
        num_in = weight_OI.shape[1]
        weight_OGC = grouped(weight_OI.to(torch.float32), self.group_size or num_in)
        return self.levels.nearest(weight_OGC, self.scale_OG.unsqueeze(2)).flatten(1)[:, :num_in]


@final
@dataclass(frozen=True, kw_only=True)
class Groups:
    """Which weights share a scale."""

    size: int | None  # neighbouring columns; None: the whole row
    num_rows: int = 1  # neighbouring rows

    def limit_OG(self, weight_OI: Tensor) -> Tensor:
        """Return the largest magnitude of every group."""
        return self._reduced(weight_OI.to(torch.float32).abs(), torch.amax)

    def searched_limit_OG(
        self, weight_OI: Tensor, levels: Floats, importance_I: Tensor | None = None
    ) -> Tensor:
        """Return the limit up to which rounding every group does least harm."""
        shares = [1 - MOST_SHRUNK * step / NUM_STEPS for step in range(NUM_STEPS)]
        exponent = EXPONENT
        if importance_I is not None:
            shares, exponent = BY_IMPORTANCE.shares, BY_IMPORTANCE.exponent
        weight_OI = weight_OI.to(torch.float32)
        widest_OG = self.limit_OG(weight_OI)
        best_OG, lowest_OG = widest_OG, torch.full_like(widest_OG, torch.inf)
        for share in shares:
            limit_OG = widest_OG * share
            scale_OG = scale_to(limit_OG, levels)
            grid = FloatGrid(scale_OG=scale_OG, levels=levels, group_size=self.size)
            error_OI = (grid.round(weight_OI) - weight_OI).abs_().pow_(exponent)
            if importance_I is not None:
                error_OI *= importance_I
            error_OG = self._reduced(error_OI, torch.sum)
            is_better_OG = error_OG < lowest_OG
            lowest_OG = torch.where(is_better_OG, error_OG, lowest_OG)
            best_OG = torch.where(is_better_OG, limit_OG, best_OG)
        return best_OG

    def _reduced(self, value_OI: Tensor, reduce: Callable[..., Tensor]) -> Tensor:
        """`reduce` of every group, repeated for all of its rows; zeros stand behind the last."""
        num_out, num_in = value_OI.shape
        value_OG = reduce(grouped(value_OI, self.size or num_in), dim=2)
        if self.num_rows == 1:
            return value_OG
        value_GR = reduce(grouped(value_OG.T, self.num_rows), dim=2)  # R = groups of rows
        return value_GR.repeat_interleave(self.num_rows, dim=1)[:, :num_out].T


def scale_to(limit_OG: Tensor, levels: Floats) -> Tensor:
    """Return the scales whose grids reach the limits; 1 where a limit is 0."""
    limit_OG = limit_OG.masked_fill(limit_OG == 0, levels.largest)
    # By a tensor: a GPU divides by a number with its reciprocal, and the last digit decides ties.
    return (limit_OG / torch.full_like(limit_OG, levels.largest)).clamp_(min=SMALLEST_SCALE)
