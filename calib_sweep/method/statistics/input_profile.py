"""Statistics of a layer's inputs for AWQ: their size, their products, and some of them.

    mean magnitude   mean over tokens of |x_i|: sum w |x_i| / sum w
    products         sum over tokens of w x x^T: the change of the layer's own output
    spaced tokens    every s-th token, s the largest power of two that leaves 512 of them or more

The published code takes every floor(T / 512)-th of T tokens, which is the same where T is 512 times
a power of two; it fails with fewer than 512, where all are taken here. (Its own data, 128 documents
of at most 512 tokens, joined and cut into blocks of 512, gives fewer than 128 blocks: any number.)
With powers of two the spacing can widen as batches arrive, so no tokens beyond these need be kept,
and the split into batches is of no account, nor that into ranks that know how many tokens come
before their own. A token kept counts as often as its weight w says; w is 1 unless tokens are
weighted.

Shapes: T = tokens, I = in_features, G = groups of neighbouring features, C = features of a group.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.statistic import Statistic, as_often
from calib_sweep.method.typed import unflatten

NUM_SPACED = 512


class InputProfile(Hessian):
    """Mean magnitudes, products and evenly spaced tokens of the inputs."""

    sees_places: ClassVar[bool] = True
    sums: ClassVar[tuple[str, ...]] = (*Hessian.sums, "_magnitude_sum_I")

    def __init__(self, num_in: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_in, device)
        self._magnitude_sum_I = torch.zeros(num_in, device=self.device)
        self._spaced: list[Tensor] = []
        self._step = 1
        self._num_seen = 0

    def mean_magnitude_I(self) -> Tensor:
        return self._magnitude_sum_I / (self.sum_weights or 1)

    def spaced_TI(self) -> Tensor:
        """The tokens kept, from 512 to 1024; all where there are fewer. Weighted: sqrt(w) x."""
        empty = torch.zeros(0, self.num_in, device=self.device)
        return torch.cat([empty, *self._spaced])

    @full_float32()
    def spaced_products_GCC(self, group_size: int) -> Tensor:
        """Sum of x x^T over the spaced tokens, features of a group with each other only."""
        spaced_GTC = unflatten(self.spaced_TI(), 1, (-1, group_size)).transpose(0, 1)
        return spaced_GTC.transpose(1, 2) @ spaced_GTC

    def divide_inputs(self, scale_I: Tensor) -> None:
        """Become the profile of the inputs divided by a scale."""
        scale_I = scale_I.to(self.device)
        self._magnitude_sum_I /= scale_I
        super().divide_inputs(scale_I)
        self._spaced = [spaced_TI / scale_I for spaced_TI in self._spaced]

    def _accumulate(self, inputs_TI: Tensor) -> None:
        self._add_products(inputs_TI)
        self._magnitude_sum_I += inputs_TI.abs().sum(dim=0, dtype=torch.float32)
        self._keep_spaced(inputs_TI)

    @full_float32()
    def _accumulate_weighted(self, inputs_TI: Tensor, weights_T: Tensor) -> None:
        super()._accumulate_weighted(inputs_TI, weights_T)
        self._magnitude_sum_I += weights_T @ inputs_TI.abs().to(torch.float32)
        self._keep_spaced(as_often(inputs_TI, weights_T))

    def _keep_spaced(self, inputs_TI: Tensor) -> None:
        first = -(self.num_before + self._num_seen) % self._step
        self._spaced.append(inputs_TI[first :: self._step].to(torch.float32, copy=True))
        self._num_seen += len(inputs_TI)
        self._widen_spacing()

    def _widen_spacing(self) -> None:
        while self._num_seen // (2 * self._step) >= NUM_SPACED:
            self._spaced = [self._spaced_TI(2 * self._step).clone()]
            self._step *= 2

    def _spaced_TI(self, step: int) -> Tensor:
        """The tokens kept whose place among all is a multiple of a wider step."""
        first_place = math.ceil(self.num_before / self._step) * self._step
        return self.spaced_TI()[-first_place % step // self._step :: step // self._step]

    def _merge(self, other: Statistic) -> None:
        """Add sums, and join the tokens kept at the wider of the two spacings.

        They are evenly spaced throughout where the others know how many come before them, or that
        spacing divides the number of tokens seen here. Else the step between both is a shorter one.
        """
        assert isinstance(other, InputProfile), other
        super()._merge(other)
        step = max(self._step, other._step)
        parts = [part._spaced_TI(step) for part in (self, other)]
        self._spaced = [part_TI.to(self.device, copy=True) for part_TI in parts]
        self._step, self._num_seen = step, self._num_seen + other._num_seen
        self._widen_spacing()
