"""Sum and variance of every input feature, beside what another statistic knows.

    sum[i]       (1/N) sum over tokens of w x[i],   N samples, w = 1 unless tokens are weighted
    variance[i]  sum w x[i]^2 / sum w - (sum w x[i] / sum w)^2
    variance_inside[i]   the mean over tokens of the variance of the sample that a token is of

The sums are float64: a variance is the small difference of two of them where a feature is far from
zero. A sample is what is added at once; `calib_sweep.compression.rows` adds them one by one.

    InputMoments     beside the norms        (DSnoT after Wanda or magnitude)
    HessianMoments   beside the Hessian      (DSnoT after SparseGPT)

Shapes: T = tokens of one batch, R = some of them, I = in_features.
"""

from typing import ClassVar

import torch
from torch import Tensor

from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic

ROWS = 1024  # turned into float64 at once


class Moments(Statistic):
    """Stands before another statistic among the bases of a class, and adds to what that keeps."""

    sees_samples: ClassVar[bool] = True
    sums: ClassVar[tuple[str, ...]] = ("_value_sum_I", "_exact_square_sum_I", "_inside_I")

    def __init__(self, num_in: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_in, device)
        self._value_sum_I = torch.zeros(num_in, dtype=torch.float64, device=self.device)
        self._exact_square_sum_I = torch.zeros_like(self._value_sum_I)
        self._inside_I = torch.zeros_like(self._value_sum_I)  # variances, weighted by tokens

    def add(self, inputs_TI: Tensor, num_samples: int = 1, weights_T: Tensor | None = None) -> None:
        before = self.sum_weights
        super().add(inputs_TI, num_samples, weights_T)
        total = self.sum_weights - before
        if total == 0:
            return
        inputs_TI = inputs_TI.detach().to(self.device)
        value_sum_I = torch.zeros_like(self._inside_I)
        square_sum_I = torch.zeros_like(self._inside_I)
        for start in range(0, len(inputs_TI), ROWS):
            rows_RI = inputs_TI[start : start + ROWS].to(torch.float64)
            weighted_RI = rows_RI
            if weights_T is not None:
                weights_R = weights_T[start : start + ROWS].to(rows_RI)
                weighted_RI = rows_RI * weights_R.unsqueeze(1)
            value_sum_I += weighted_RI.sum(dim=0)
            square_sum_I += (weighted_RI * rows_RI).sum(dim=0)
        self._value_sum_I += value_sum_I
        self._exact_square_sum_I += square_sum_I
        self._inside_I += (square_sum_I - value_sum_I.square() / total).clamp(min=0)

    def sum_I(self) -> Tensor:
        """Mean over samples of the sum over tokens, float32."""
        return (self._value_sum_I / max(self.num_samples, 1)).to(torch.float32)

    def variance_I(self) -> Tensor:
        """Over all tokens, float32; 0 where there are none."""
        total = self.sum_weights or 1
        mean_I = self._value_sum_I / total
        variance_I = self._exact_square_sum_I / total - mean_I.square()
        return variance_I.clamp(min=0).to(torch.float32)

    def variance_inside_I(self) -> Tensor:
        """The mean over tokens of variances inside samples, float32; 0 where there are none."""
        return (self._inside_I / (self.sum_weights or 1)).to(torch.float32)


class InputMoments(Moments, InputNorm):
    """Norm, sum and variance of every input feature."""

    sums: ClassVar[tuple[str, ...]] = (*Moments.sums, *InputNorm.sums)


class HessianMoments(Moments, Hessian):
    """The Hessian, sum and variance of every input feature."""

    sums: ClassVar[tuple[str, ...]] = (*Moments.sums, *Hessian.sums)
