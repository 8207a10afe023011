"""RTN: round every weight to the nearest point of a min-max integer grid. Needs no data.

The baseline of the quantization papers; grid and rounding as in `grid.py`, in float32, then back to
the weight's own dtype (simulated quantization: the result is stored as ordinary weights).

Shapes: O = out_features, I = in_features.
"""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from calib_sweep.errors import collected
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.grids.grid import GridFormat, average_bits, fit_grid, mean_group
from calib_sweep.method.settings import (
    check_bits,
    check_group_size,
    check_symmetric,
)
from calib_sweep.method.statistics.statistic import Statistic


@final
@dataclass(frozen=True, kw_only=True)
class RTN(LayerMethod):
    bits: int  # bits of a weight's integer code, 2 to 8
    group_size: int | None  # columns that share a scale; None: the whole row
    symmetric: bool  # whether the zero point is the middle of the grid

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_bits, self.bits)
            problems.of(check_group_size, self.group_size)
            problems.of(check_symmetric, self.symmetric)

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        grid = fit_grid(weight_OI, self.bits, self.group_size, self.symmetric)
        group = mean_group(weight_OI.shape[1], self.group_size)
        return CompressedWeight(
            weight_OI=grid.round(weight_OI).to(weight_OI.dtype),
            bits=average_bits(self.bits, group, self.symmetric),
            grid=grid,
        )

    def grid_format(self) -> GridFormat:
        return GridFormat(bits=self.bits, group_size=self.group_size, symmetric=self.symmetric)
