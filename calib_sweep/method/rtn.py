"""RTN: round every weight to the nearest point of the grid of its group.

The baseline of the quantization papers; grid and rounding as in `grid.py`, or `float_formats.py`
for other formats than integers, in float32, then back to the weight's own dtype (simulated
quantization: the result is stored as ordinary weights).

It needs no data, unless `weighting` is `inputs`: then scales are searched by rounding errors, which
count most where inputs are strong (BY_IMPORTANCE in `grid_search.py`): the importance matrix of
llama.cpp, by the rule of llm-compressor's `imatrix_mse`.

Shapes: O = out_features, I = in_features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from calib_sweep.errors import collected
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work, rounding_sweeps
from calib_sweep.method.grids.float_formats import OCP
from calib_sweep.method.grids.formats import INT, check_format, weight_format
from calib_sweep.method.grids.weight_format import WeightFormat
from calib_sweep.method.settings import check_flag, check_weighting
from calib_sweep.method.statistics.importance import importance_of, unusual
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic


@final
@dataclass(frozen=True, kw_only=True)
class RTN(LayerMethod):
    bits: int  # bits of a weight's code; of an integer 2 to 8
    group_size: int | None  # columns that share a scale; None: the whole row, or the format's own
    symmetric: bool  # whether the zero point is the middle of the grid; integers only
    format: str = INT  # what a code is: an integer, or a floating-point number of this format
    mse: bool = False  # whether grids are shrunk to the least rounding error
    weighting: str | None = None  # "inputs": shrunk by errors weighted with the inputs' power
    scale_rule: str = OCP  # of mxfp4: how a power of two is chosen
    tensor_factor: float | None = None  # no setting: shared with layers that runtimes fuse

    def __post_init__(self) -> None:
        with collected() as problems:
            settings = self.format, self.bits, self.group_size, self.symmetric, self.scale_rule
            problems.of(check_format, *settings)
            problems.of(check_flag, "method.mse", self.mse, "Example: method.mse=false.")
            problems.of(check_weighting, self.weighting, self.mse)

    @property
    def statistic(self) -> type[Statistic] | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return None if self.weighting is None else InputNorm

    @classmethod
    def reads_data(cls, settings: Mapping[str, object]) -> bool:
        return settings.get("weighting") is not None

    def work(self) -> Work:
        return super().work()._replace(sweeps=rounding_sweeps(self.mse, self.weighting))

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        form, importance, note = self.grid_format(), None, None
        if self.weighting is not None:
            assert statistic is not None
            importance, note = importance_of(statistic).to(weight_OI.device), unusual(statistic)
        grid = form.fit(weight_OI, importance)
        return CompressedWeight(
            weight_OI=grid.round(weight_OI).to(weight_OI.dtype),
            bits=form.average_bits(*weight_OI.shape),
            grid=grid,
            note=note,
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
