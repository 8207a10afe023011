"""The grids of a layer as a solver wants them: by column, and set group by group on the way.

Shapes: O = out_features, I = in_features, G = groups per row, B = columns of a block.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from calib_sweep.method.grids.grid import Grid


@dataclass(frozen=True, kw_only=True)
class ColumnGrids:
    """Scale and zero point of every group, and the group of each column in the solver's order."""

    scale_GO: Tensor
    zero_point_GO: Tensor
    group_I: Tensor

    @classmethod
    def known(cls, grid: Grid, num_in: int, order_I: Tensor | None = None) -> "ColumnGrids":
        """Those of `grid`, whose groups are of neighbouring columns; `order_I`: the solver's."""
        column_I = torch.arange(num_in, device=grid.scale_OG.device)
        group_I = (column_I if order_I is None else order_I) // (grid.group_size or num_in)
        scale_GO, zero_point_GO = grid.scale_OG.T.contiguous(), grid.zero_point_OG.T.contiguous()
        return cls(scale_GO=scale_GO, zero_point_GO=zero_point_GO, group_I=group_I)

    @classmethod
    def unknown(cls, weight_OI: Tensor, group_size: int) -> "ColumnGrids":
        """Room for those that will be fitted to groups of `group_size` columns in turn."""
        num_out, num_in = weight_OI.shape
        scale_GO = weight_OI.new_empty(-(-num_in // group_size), num_out)
        group_I = torch.arange(num_in, device=weight_OI.device) // group_size
        zero_point_GO = torch.empty_like(scale_GO)
        return cls(scale_GO=scale_GO, zero_point_GO=zero_point_GO, group_I=group_I)

    def of_columns(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Scale and zero point of columns start, ..., stop - 1, [B, O]."""
        group_B = self.group_I[start:stop]
        return self.scale_GO[group_B], self.zero_point_GO[group_B]

    def as_grid(self, bits: int, group_size: int | None) -> Grid:
        """The same grids by row, for groups of neighbouring columns."""
        scale_OG, zero_point_OG = self.scale_GO.T, self.zero_point_GO.T
        return Grid(
            scale_OG=scale_OG, zero_point_OG=zero_point_OG, bits=bits, group_size=group_size
        )
