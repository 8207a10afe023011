"""Integer grids of SpQR, which are quantized themselves, and what it gains by leaving a weight out.

    w ~ scale * (q - zero_point),   q = clamp(round(w / scale + zero_point), 0, 2^bits - 1)

As the authors' code has them (Dettmers et al. 2023, arXiv:2306.03078): the ends of a grid are the
smallest and the largest weight of its group (0 may lie outside), equal ends span [-1, 1], the zero
point is not rounded, rounding is half to even.

Shapes: O = out_features, C = columns of a group; rows are the last axis of weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from calib_sweep.method.typed import unflatten

SMALLEST_SCALE = 1e-9  # a scale quantized to less still divides by this


@dataclass(frozen=True, kw_only=True)
class BilevelGrid:
    """One grid per row: w ~ scale * (q - zero_point), q = 0, ..., highest."""

    scale_O: Tensor
    zero_point_O: Tensor
    highest: int

    def round(self, weight: Tensor) -> Tensor:
        """The nearest representable weight; rows are the last axis."""
        level = weight / self.scale_O.clamp_min(SMALLEST_SCALE) + self.zero_point_O
        level = level.round_().clamp_(0, self.highest)
        return level.sub_(self.zero_point_O).mul_(self.scale_O)


def grid_between(low_O: Tensor, high_O: Tensor, bits: int) -> BilevelGrid:
    """Grids between two ends; equal ends span [-1, 1]."""
    is_point_O = low_O == high_O
    low_O, high_O = low_O.masked_fill(is_point_O, -1.0), high_O.masked_fill(is_point_O, 1.0)
    # By a tensor: a GPU divides by a number with its reciprocal, and the last digit decides ties.
    scale_O = (high_O - low_O) / torch.full_like(high_O, 2**bits - 1)
    return BilevelGrid(scale_O=scale_O, zero_point_O=-low_O / scale_O, highest=2**bits - 1)


def second_level(value_O: Tensor, bits: int | None, num_rows: int) -> Tensor:
    """Put the scales (or zero points) of `num_rows` neighbouring rows on a grid of their own."""
    if bits is None:
        return value_O
    value_RG = unflatten(value_O, 0, (-1, num_rows)).T  # R = rows of a group, G = groups of rows
    grid = grid_between(value_RG.amin(dim=0), value_RG.amax(dim=0), bits)
    return grid.round(value_RG).T.flatten()


def leave_one_out_gain(weight_CO: Tensor, diagonal_C: Tensor, bits: int) -> Tensor:
    """Return by how much the group's squared error falls when one weight is kept, for each.

    Without weight j the other weights keep their grid, and the gain is j's own error, unless j
    alone is the group's smallest or largest weight; then the grid is fitted to the rest.
    """
    square_C1 = diagonal_C.square().unsqueeze(1)
    low_2O, lowest_2O = weight_CO.topk(2, dim=0, largest=False)
    high_2O, highest_2O = weight_CO.topk(2, dim=0)
    grid = grid_between(low_2O[0], high_2O[0], bits)
    own_CO = (grid.round(weight_CO) - weight_CO).square_().div_(square_C1)
    total_1O = own_CO.sum(dim=0, keepdim=True)
    gain_CO = own_CO.clone()
    for low_O, high_O, left_out_1O in (
        (low_2O[1], high_2O[0], lowest_2O[:1]),
        (low_2O[0], high_2O[1], highest_2O[:1]),
    ):
        rest = grid_between(low_O, high_O, bits)
        rest_CO = (rest.round(weight_CO) - weight_CO).square_().div_(square_C1)
        rest_CO.scatter_(0, left_out_1O, 0.0)
        gain_CO.scatter_(0, left_out_1O, total_1O - rest_CO.sum(dim=0, keepdim=True))
    return gain_CO
