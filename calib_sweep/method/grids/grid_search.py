"""Integer grids that clip: the min-max grid, shrunk to where a group is rounded with least error.

    p* = argmin_p sum m |w - round_p(w)|^e,   p = 1, 1 - 1/n, 1 - 2/n, ...

    scale_p = (p max - p min) / (2^bits - 1),   zero_point_p = round(-p min / scale_p)

    PUBLISHED      e = 2.4, 80 steps of n = 100, m = 1: the optional search of the GPTQ code
    BY_IMPORTANCE  e = 3, 20 steps of n = 20, m[i] = E[x_i^2]: `imatrix_mse` of llm-compressor

Of equal errors the widest grid is kept. Both ends shrink alike, so zero_point_p is the same number
for every p, but where it lies between two whole ones, as for ends -a and a: there the last digit of
p decides to which it is rounded, in the published code as here, and the search has two grids of
each p. llm-compressor ends its search when no group of a layer has improved in five steps running;
here all steps are tried, so that a group hangs on none but its own weights.

Shapes: O = out_features, I = in_features, G = groups per row.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calib_sweep.method.grids.grid import Grid, ends, grid_between, grouped


@dataclass(frozen=True, kw_only=True)
class SearchRule:
    """Which grids a search tries, and what it calls an error."""

    exponent: float
    num_steps: int
    per_unit: int  # steps of p in 1

    @property
    def shares(self) -> list[float]:
        """Every p."""
        return [1 - step / self.per_unit for step in range(self.num_steps)]


PUBLISHED = SearchRule(exponent=2.4, num_steps=80, per_unit=100)
BY_IMPORTANCE = SearchRule(exponent=3.0, num_steps=20, per_unit=20)


def search_grid(
    weight_OI: Tensor,
    bits: int,
    group_size: int | None,
    symmetric: bool,
    importance_I: Tensor | None = None,
) -> Grid:
    """Fit one grid per `group_size` columns of a row (None: one per row); clip where it pays.

    `importance_I`: how much an error in each column counts; None: all alike, by another rule.
    """
    rule = PUBLISHED if importance_I is None else BY_IMPORTANCE
    low_OG, high_OG = ends(weight_OI, group_size, symmetric)
    best = grid_between(low_OG, high_OG, bits, symmetric)
    lowest_OG = torch.full_like(low_OG, torch.inf)
    for share in rule.shares:
        grid = grid_between(share * low_OG, share * high_OG, bits, symmetric)
        grid = replace(grid, group_size=group_size)
        error_OI = (grid.round(weight_OI) - weight_OI).abs_().pow_(rule.exponent)
        if importance_I is not None:
            error_OI *= importance_I
        error_OG = grouped(error_OI, group_size or weight_OI.shape[1]).sum(dim=2)
        is_better_OG = error_OG < lowest_OG
        lowest_OG = torch.where(is_better_OG, error_OG, lowest_OG)
        best = Grid(
            scale_OG=torch.where(is_better_OG, grid.scale_OG, best.scale_OG),
            zero_point_OG=torch.where(is_better_OG, grid.zero_point_OG, best.zero_point_OG),
            bits=bits,
            group_size=group_size,
        )
    return best
