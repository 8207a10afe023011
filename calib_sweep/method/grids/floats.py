"""Floating-point numbers of few bits: FP4 (E2M1) and FP8 (E4M3), without infinities.

    E2M1    0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives
    E4M3    up to 448, with steps of 2^-9 below 2^-6: the format that torch calls float8_e4m3fn

A number is rounded to the nearest of these, a tie to the one with an even mantissa, and what lies
beyond the largest becomes the largest. With 2^e the largest power of two not above |x| (and not
below the smallest normal number) the numbers around x lie 2^(e - mantissa_bits) apart. A float32 of
1.5 * 2^23 such steps has no finer ones: adding it to x and taking it away again rounds x.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from calib_sweep.method.column_rounding import ColumnRounding, FloatRounding, float_kernel

EXPONENT = 0x7F800000  # the bits of a float32 that hold its exponent


@final
@dataclass(frozen=True, kw_only=True)
class Floats:
    """Numbers with a sign, some bits of exponent and some of mantissa."""

    bits: int
    mantissa_bits: int
    smallest: float  # normal number; below it, steps stay what they are there
    largest: float

    def snap(self, value: Tensor) -> Tensor:
        """Return the number nearest to every value, float32."""
        value = value.clamp(-self.largest, self.largest)
        steps = power_below(value).clamp_(min=self.smallest)
        steps.mul_(1.5 * 2 ** (23 - self.mantissa_bits))
        return value.add_(steps).sub_(steps)

    def nearest(self, weight: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        """Return the product of scale and such a number that is nearest to every weight."""
        assert zero_point is None
        return self.snap(weight / scale).mul_(scale)

    def rounding(self, scale_BO: Tensor, zero_point_BO: Tensor | None = None) -> ColumnRounding:
        assert zero_point_BO is None
        kernel = float_kernel(self.mantissa_bits, self.smallest, self.largest, scale_BO)
        return ColumnRounding(FloatRounding, (self, scale_BO), kernel)


def power_below(value: Tensor) -> Tensor:
    """Return the largest power of two not above each magnitude; 0 below 2^-126. float32."""
    return (value.view(torch.int32) & EXPONENT).view(torch.float32)


E2M1 = Floats(bits=4, mantissa_bits=1, smallest=1.0, largest=6.0)
E4M3 = Floats(bits=8, mantissa_bits=3, smallest=2.0**-6, largest=448.0)
