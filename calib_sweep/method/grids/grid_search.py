"""Integer grids that clip: the min-max grid, shrunk to where a group is rounded with least error.

    p* = argmin_p sum |w - round_p(w)|^2.4,   p = 1, 0.99, ..., 0.21

    scale_p = (p max - p min) / (2^bits - 1),   zero_point_p = round(-p min / scale_p)

The optional search of the published GPTQ code, with its exponent and its 80 steps; of equal errors
the widest grid is kept. Both ends shrink alike, so zero_point_p is the same number for every p, but
where it lies between two whole ones, as for ends -a and a: there the last digit of p decides to
which it is rounded, in the published code as here, and the search has two grids of each p.

Shapes: O = out_features, I = in_features, G = groups per row.
"""

from dataclasses import replace

import torch
from torch import Tensor

from calib_sweep.method.grids.grid import Grid, ends, grid_between, grouped

EXPONENT = 2.4
NUM_STEPS = 80
PER_UNIT = 100  # steps of p in 1


def search_grid(weight_OI: Tensor, bits: int, group_size: int | None, symmetric: bool) -> Grid:
    """Fit one grid per `group_size` columns of a row (None: one per row); clip where it pays."""
    low_OG, high_OG = ends(weight_OI, group_size, symmetric)
    best = grid_between(low_OG, high_OG, bits, symmetric)
    lowest_OG = torch.full_like(low_OG, torch.inf)
    for step in range(NUM_STEPS):
        share = 1 - step / PER_UNIT
        grid = grid_between(share * low_OG, share * high_OG, bits, symmetric)
        grid = replace(grid, group_size=group_size)
        error_OI = (grid.round(weight_OI) - weight_OI).abs_().pow_(EXPONENT)
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
