"""Grids of FP4 and FP8 numbers, written from their definition in Python numbers (float64)."""

import math
from bisect import bisect

FP4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
# E4M3: 4 bits of exponent, 3 of mantissa; the last code is NaN. Even places: even mantissas.
FP8 = [code * 2.0**-9 for code in range(8)]
FP8 += [(8 + m) / 8 * 2.0 ** (e - 7) for e in range(1, 16) for m in range(8)][:-1]
NUMBERS = {"fp4": FP4, "fp8": FP8}


def slow_snap(value, numbers):
    """The nearest number; of two as near, the one whose place in the list is even."""
    above = min(bisect(numbers, abs(value)), len(numbers) - 1)
    near = (above - 1, above)
    place = min(near, key=lambda p: (abs(numbers[p] - abs(value)), p % 2))
    return math.copysign(numbers[place], value)


def slow_limit(values, numbers, mse=False):
    """Up to which magnitude the grid of a group reaches."""
    widest = max(abs(v) for v in values)
    if not mse or widest == 0:
        return widest
    errors = []
    for step in range(100):
        limit = widest * (1 - 0.8 * step / 100)
        scale = limit / numbers[-1]
        error = sum(abs(slow_snap(v / scale, numbers) * scale - v) ** 2.4 for v in values)
        errors.append((error, step, limit))
    return min(errors)[2]


def slow_scale(values, form, factor=None, scale_rule="ocp", mse=False):
    """The scale of a group; `factor`: g of nvfp4."""
    numbers = FP8 if form.startswith("fp8") else FP4
    limit = slow_limit(values, numbers, mse) or numbers[-1]
    if form == "nvfp4":
        return (slow_snap(limit / 6 * factor, FP8) or 1.0) / factor
    if form == "mxfp4":
        power = 2.0 ** (math.frexp(limit)[1] - 3)
        return power * 4 / 3 if scale_rule == "four_thirds" else power
    return limit / 448
