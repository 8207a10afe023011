"""Norms of a layer's input features, as Wanda needs them.

    norm[i] = sqrt((1/N) sum over tokens of w x[i]^2),   N samples, w = 1 unless tokens are weighted

Shapes: T = tokens of one batch, I = in_features, O = out_features.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.statistics.statistic import Statistic, as_often
from calib_sweep.method.typed import vector_norm

# Tokens on which an output error is measured, at least: no Hessian knows it on all.
ERROR_TOKENS = 1024


class InputNorm(Statistic):
    """Sum of squares of every input feature, and the first inputs to measure an output error on."""

    sums: ClassVar[tuple[str, ...]] = ("_square_sum_I",)

    def __init__(self, num_in: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_in, device)
        self._square_sum_I = torch.zeros(num_in, device=self.device)
        self._first_TI = torch.empty(0, num_in, device=self.device)

    def norm_I(self) -> Tensor:
        """sqrt of the mean over samples of the sum over tokens of x^2, as the authors scale it."""
        return (self._square_sum_I / max(self.num_samples, 1)).sqrt()

    def weighted_square_sum(self, weight_OI: Tensor) -> float:
        """Over the first tokens: the products that all tokens need are a Hessian's, its cost too.

        Whole samples, as few as have `ERROR_TOKENS`, since the first tokens of a sample can be far
        larger than the others.
        """
        weight_OI = weight_OI.to(self.device, torch.float32)
        with full_float32():
            return float((self._first_TI @ weight_OI.T).square().sum(dtype=torch.float64))

    def _takes_as_it_is(self, inputs_TI: Tensor) -> bool:
        return inputs_TI.is_cuda

    def _accumulate(self, inputs_TI: Tensor) -> None:
        if inputs_TI.is_cuda:  # read once instead of three times, without a float32 copy
            self._square_sum_I += vector_norm(inputs_TI, dim=0).square()
        else:
            self._square_sum_I += inputs_TI.square().sum(dim=0)
        self._keep_first(inputs_TI)

    def _accumulate_weighted(self, inputs_TI: Tensor, weights_T: Tensor) -> None:
        self._accumulate(as_often(inputs_TI, weights_T))

    def _keep_first(self, inputs_TI: Tensor) -> None:
        sample_tokens = self.num_tokens // max(self.num_samples, 1)
        num_wanted = math.ceil(ERROR_TOKENS / max(sample_tokens, 1)) * sample_tokens
        num_missing = max(num_wanted, ERROR_TOKENS) - len(self._first_TI)
        if num_missing > 0:
            missing_TI = inputs_TI[:num_missing].to(self.device, torch.float32)
            self._first_TI = torch.cat([self._first_TI, missing_TI])

    def _merge(self, other: Statistic) -> None:
        assert isinstance(other, InputNorm), other
        self._keep_first(other._first_TI)

    def without_sums(self) -> Statistic:
        light = super().without_sums()
        assert isinstance(light, InputNorm), light
        if self.num_before >= 2 * ERROR_TOKENS:  # others have more than are kept
            light._first_TI = self._first_TI[:0]
        return light

    def square_sum_I(self) -> Tensor:
        return self._square_sum_I
