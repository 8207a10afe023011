"""RTN: round every weight to the nearest point of the grid of its group. Needs no data.

The baseline of the quantization papers; grid and rounding as in `grid.py`, or `float_formats.py`
for other formats than integers, in float32, then back to the weight's own dtype (simulated
quantization: the result is stored as ordinary weights).

Shapes: O = out_features, I = in_features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from calib_sweep.errors import collected
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.grids.float_formats import OCP
from calib_sweep.method.grids.formats import INT, check_format, weight_format
from calib_sweep.method.grids.weight_format import WeightFormat
from calib_sweep.method.settings import check_flag
from calib_sweep.method.statistics.statistic import Statistic


@final
@dataclass(frozen=True, kw_only=True)
class RTN(LayerMethod):
    bits: int  # bits of a weight's code; of an integer 2 to 8
    group_size: int | None  # columns that share a scale; None: the whole row, or the format's own
    symmetric: bool  # whether the zero point is the middle of the grid; integers only
    format: str = INT  # what a code is: an integer, or a floating-point number of this format
    mse: bool = False  # whether grids are shrunk to the least rounding error
    scale_rule: str = OCP  # of mxfp4: how a power of two is chosen
    tensor_factor: float | None = None  # no setting: shared with layers that runtimes fuse

    def __post_init__(self) -> None:
        with collected() as problems:
            settings = self.format, self.bits, self.group_size, self.symmetric, self.scale_rule
            problems.of(check_format, *settings)
            problems.of(check_flag, "method.mse", self.mse, "Example: method.mse=false.")

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        form = self.grid_format()
        grid = form.fit(weight_OI)
        return CompressedWeight(
            weight_OI=grid.round(weight_OI).to(weight_OI.dtype),
            bits=form.average_bits(*weight_OI.shape),
            grid=grid,
        )

    def for_fused(self, weights: Sequence[Tensor]) -> LayerMethod:
        return replace(self, tensor_factor=self.grid_format().factor_of(weights))

    def grid_format(self) -> WeightFormat:
        return weight_format(
            self.format,
            self.bits,
            self.group_size,
            self.symmetric,
            searches=self.mse,
            scale_rule=self.scale_rule,
            tensor_factor=self.tensor_factor,
        )
