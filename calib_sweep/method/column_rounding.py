"""The decision of GPTQ and its kin: a weight goes to the nearest point of the grid of its column.

Grids say here what they need column by column, so that a method that solves columns asks none of
them what it is (`Levels.rounding` in `grids/weight_format.py`).

Shapes: O = out_features, B = columns of a block.
"""

from collections.abc import Hashable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from calib_sweep.method.column_solver import Decision, Kernel, Pulled


class ColumnRounding(NamedTuple):
    """How the columns of a block are rounded: the arguments of `ColumnSolver.solve`."""

    decision: type[Decision]
    arguments: tuple[Hashable, ...]
    kernel: Kernel  # does the same at once, where kernels run


class Snapping(Protocol):
    """Floating-point numbers of few bits; hashable, as launches are recorded by it."""

    def snap(self, value: Tensor) -> Tensor: ...


class Rounding(Decision):
    """Each weight rounded to the nearest point of the integer grid of its column."""

    def __init__(self, weight_BO: Tensor, highest: int, scale_BO: Tensor, zero_BO: Tensor) -> None:
        self._scale_BO = scale_BO
        self._low_BO, self._high_BO = -zero_BO, highest - zero_BO
        self._nearest_BO = torch.empty_like(weight_BO)

    def decide(self, column: int, weight_BO: Tensor, taken_O: Tensor) -> None:
        # With z = zero point, clamp(round(w / s) + z, 0, max) - z, in fewer steps.
        level_O = (weight_BO[column] / self._scale_BO[column]).round_()
        level_O.clamp_(self._low_BO[column], self._high_BO[column])
        nearest_O = torch.mul(level_O, self._scale_BO[column], out=self._nearest_BO[column])
        torch.sub(weight_BO[column], nearest_O, out=taken_O)

    def new_BO(self, weight_BO: Tensor) -> Tensor:
        return self._nearest_BO

    def range_BO(self) -> tuple[Tensor, Tensor]:
        return self._low_BO * self._scale_BO, self._high_BO * self._scale_BO


class FloatRounding(Decision):
    """Each weight rounded to the nearest floating-point number of few bits times its scale."""

    def __init__(self, weight_BO: Tensor, floats: Snapping, scale_BO: Tensor) -> None:
        self._floats, self._scale_BO = floats, scale_BO
        self._nearest_BO = torch.empty_like(weight_BO)

    def decide(self, column: int, weight_BO: Tensor, taken_O: Tensor) -> None:
        level_O = self._floats.snap(weight_BO[column] / self._scale_BO[column])
        nearest_O = torch.mul(level_O, self._scale_BO[column], out=self._nearest_BO[column])
        torch.sub(weight_BO[column], nearest_O, out=taken_O)

    def new_BO(self, weight_BO: Tensor) -> Tensor:
        return self._nearest_BO

    def range_BO(self) -> tuple[Tensor, Tensor]:
        high_BO = self._floats.snap(torch.full_like(self._scale_BO, torch.inf)) * self._scale_BO
        return -high_BO, high_BO


def integer_kernel(highest: int, scale_BO: Tensor, zero_BO: Tensor) -> Kernel:
    """Return a function that does to a whole block at once what `Rounding` does."""

    def kernel(
        weight_BO: Tensor, upper_BB: Tensor, pulled: Pulled | None = None
    ) -> tuple[Tensor, ...]:
        from calib_sweep.method.gpu.kernels import round_columns  # where there is Triton

        return round_columns(weight_BO, upper_BB, scale_BO, zero_BO, highest, pulled)

    return kernel


def float_kernel(mantissa_bits: int, smallest: float, largest: float, scale_BO: Tensor) -> Kernel:
    """Return a function that does to a whole block at once what `FloatRounding` does."""

    def kernel(
        weight_BO: Tensor, upper_BB: Tensor, pulled: Pulled | None = None
    ) -> tuple[Tensor, ...]:
        from calib_sweep.method.gpu.kernels import round_columns_to_floats

        floats = mantissa_bits, smallest, largest
        return round_columns_to_floats(weight_BO, upper_BB, scale_BO, *floats, pulled)

    return kernel
