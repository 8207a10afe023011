"""Smallest and largest value of every input feature, for static scales and for SmoothQuant.

    low[i] = min over tokens of x[i],   high[i] = max over tokens of x[i]

A token counts or does not: how often it does moves no extreme.

Shapes: T = tokens of one batch, I = in_features.
"""

import math

import torch
from torch import Tensor

from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic, as_often


class InputRange(InputNorm):
    """Extremes of every input feature, beside what `InputNorm` knows."""

    def __init__(self, num_in: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_in, device)
        self._low_I = torch.full((num_in,), math.inf, device=self.device)
        self._high_I = torch.full((num_in,), -math.inf, device=self.device)

    def low_I(self) -> Tensor:
        """Smallest value of each feature; inf before any token."""
        return self._low_I

    def high_I(self) -> Tensor:
        """Largest value of each feature; -inf before any token."""
        return self._high_I

    def magnitude_I(self) -> Tensor:
        """Largest magnitude of each feature; 0 before any token."""
        return torch.maximum(self._high_I, -self._low_I).clamp(min=0)

    def _accumulate(self, inputs_TI: Tensor) -> None:
        super()._accumulate(inputs_TI)
        self._widen(inputs_TI)

    def _accumulate_weighted(self, inputs_TI: Tensor, weights_T: Tensor) -> None:
        super()._accumulate(as_often(inputs_TI, weights_T))
        self._widen(inputs_TI.to(torch.float32))

    def _widen(self, inputs_TI: Tensor) -> None:
        self._low_I = torch.minimum(self._low_I, inputs_TI.amin(dim=0).to(torch.float32))
        self._high_I = torch.maximum(self._high_I, inputs_TI.amax(dim=0).to(torch.float32))

    def _merge(self, other: Statistic) -> None:
        assert isinstance(other, InputRange), other
        super()._merge(other)
        self._low_I = torch.minimum(self._low_I, other._low_I.to(self.device))
        self._high_I = torch.maximum(self._high_I, other._high_I.to(self.device))

    def divide_inputs(self, scale_I: Tensor) -> None:
        scale_I = scale_I.to(self.device, torch.float32)
        self._square_sum_I /= scale_I.square()
        self._first_TI /= scale_I
        self._low_I /= scale_I
        self._high_I /= scale_I
