"""Simulated removal: rows, columns and biases of a layer become zero, and are counted.

Shapes: O = out_features, I = in_features.
"""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.statistics.statistic import Statistic


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Masked(LayerMethod):
    """Zeroes what goes of one layer."""

    bias_O: Tensor | None  # as it is; None: the layer has none
    note: str  # what goes

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        return CompressedWeight(
            weight_OI=weight_OI.new_zeros(weight_OI.shape),
            bias_O=None if self.bias_O is None else self.bias_O.new_zeros(self.bias_O.shape),
            num_removed=weight_OI.numel(),
            note=self.note,
        )
