"""Dense: every weight stays as it is. The point of comparison of all methods."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod, Work
from calib_sweep.method.statistics.statistic import Statistic


@final
@dataclass(frozen=True, kw_only=True)
class Dense(LayerMethod):
    """Compresses nothing; needs no data."""

    def work(self) -> Work:
        return Work(sweeps=0)

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        return CompressedWeight(weight_OI=weight_OI.clone())
