"""The grids of a layer as a solver wants them: by column, and set group by group on the way.

Shapes: O = out_features, I = in_features, G = groups per row, B = columns of a block.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from calib_sweep.method.column_rounding import ColumnRounding
from calib_sweep.method.grids.grid import Grid, Integers
from calib_sweep.method.grids.weight_format import Levels, WeightGrid


@final
@dataclass(frozen=True, kw_only=True)
class ColumnGrids:
    """Scale and zero point of every group, and the group of each column in the solver's order."""

    scale_GO: Tensor
    zero_point_GO: Tensor | None  # None: the grid has none
    group_I: Tensor
    levels: Levels
    # How much errors count in those that are fitted on the way, in the solver's order; None: alike.
    importance_I: Tensor | None = None

    @classmethod
    def known(cls, grid: WeightGrid, num_in: int, order_I: Tensor | None = None) -> "ColumnGrids":
        """Those of `grid`, whose groups are of neighbouring columns; `order_I`: the solver's."""
        column_I = torch.arange(num_in, device=grid.scale_OG.device)
        group_I = (column_I if order_I is None else order_I) // (grid.group_size or num_in)
        zero_point_OG = grid.zero_point_OG
        return cls(
            scale_GO=grid.scale_OG.T.contiguous(),
            zero_point_GO=None if zero_point_OG is None else zero_point_OG.T.contiguous(),
            group_I=group_I,
            levels=grid.levels,
        )

    @classmethod
    def unknown(
        cls, weight_OI: Tensor, group_size: int, levels: Integers, importance_I: Tensor | None
    ) -> "ColumnGrids":
        """Room for those that will be fitted to groups of `group_size` columns in turn."""
        num_out, num_in = weight_OI.shape
        scale_GO = weight_OI.new_empty(-(-num_in // group_size), num_out)
        group_I = torch.arange(num_in, device=weight_OI.device) // group_size
        zero_point_GO = torch.empty_like(scale_GO)
        return cls(
            scale_GO=scale_GO,
            zero_point_GO=zero_point_GO,
            group_I=group_I,
            levels=levels,
            importance_I=importance_I,
        )

    def set(self, groups: slice, scale_GO: Tensor, zero_point_GO: Tensor) -> None:
        """Take in the grids of some groups, as they were fitted on the way."""
        assert self.zero_point_GO is not None
        self.scale_GO[groups], self.zero_point_GO[groups] = scale_GO, zero_point_GO

    def importance(self, columns: slice) -> Tensor | None:
        """How much errors in some columns count, for grids that are fitted to them."""
        return None if self.importance_I is None else self.importance_I[columns]

    def of_columns(self, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
        """Scale and zero point of columns start, ..., stop - 1, [B, O]."""
        group_B, zero_point_GO = self.group_I[start:stop], self.zero_point_GO
        return self.scale_GO[group_B], None if zero_point_GO is None else zero_point_GO[group_B]

    def rounding(self, start: int, stop: int) -> ColumnRounding:
        """How a solver rounds columns start, ..., stop - 1."""
        return self.levels.rounding(*self.of_columns(start, stop))

    def as_grid(self, bits: int, group_size: int | None) -> Grid:
        """The integer grids by row, for groups of neighbouring columns."""
        assert self.zero_point_GO is not None
        scale_OG, zero_point_OG = self.scale_GO.T, self.zero_point_GO.T
        return Grid(
            scale_OG=scale_OG, zero_point_OG=zero_point_OG, bits=bits, group_size=group_size
        )
