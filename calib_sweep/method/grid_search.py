"""Integer grids that clip: the min-max grid, shrunk to where a group is rounded with least error.

    p* = argmin_p sum |w - round_p(w)|^2.4,   p = 1, 0.99, ..., 0.21: both ends of the grid times p

The optional search of the published GPTQ code, with its exponent and its 80 steps. Both ends shrink
alike, so the zero point stays where it is; of equal errors the widest grid is kept.

Shapes: O = out_features, I = in_features, G = groups per row.
"""

import torch
from torch import Tensor

from calib_sweep.method.grid import Grid, fit_grid

EXPONENT = 2.4
NUM_STEPS = 80
STEP = 0.01


def search_grid(weight_OI: Tensor, bits: int, group_size: int | None, symmetric: bool) -> Grid:
    """Fit one grid per `group_size` columns of a row (None: one per row); clip where it pays."""
    widest = fit_grid(weight_OI, bits, group_size, symmetric)
    num_groups = widest.scale_OG.shape[1]
    best_scale_OG = widest.scale_OG.clone()
    lowest_OG = torch.full_like(best_scale_OG, torch.inf)
    for step in range(NUM_STEPS):
        scale_OG = widest.scale_OG * (1 - step * STEP)
        grid = Grid(scale_OG=scale_OG, zero_point_OG=widest.zero_point_OG, bits=bits)
        error_OI = (grid.round(weight_OI) - weight_OI).abs_().pow_(EXPONENT)
        error_OG = error_OI.unflatten(1, (num_groups, -1)).sum(dim=2)
        is_better_OG = error_OG < lowest_OG
        lowest_OG = torch.where(is_better_OG, error_OG, lowest_OG)
        best_scale_OG = torch.where(is_better_OG, scale_OG, best_scale_OG)
    return Grid(scale_OG=best_scale_OG, zero_point_OG=widest.zero_point_OG, bits=bits)
