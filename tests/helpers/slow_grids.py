"""Integer grids of GPTQ and RTN, written from their definition in Python numbers (float64)."""

import numpy as np


def slow_grid(values, bits, symmetric, mse=False):
    """(scale, zero point) of a list of numbers."""
    low, high = min(0.0, *values), max(0.0, *values)
    if symmetric:
        high = max(-low, high)
        low = -high if low < 0 else low
    if low == high == 0:
        low, high = -1.0, 1.0
    scale = (high - low) / (2**bits - 1)
    zero = 2.0 ** (bits - 1) if symmetric else round(-low / scale)
    if not mse:
        return scale, zero
    errors = []
    for step in range(80):
        low_p, high_p = (end * (1 - step / 100) for end in (low, high))
        tried = (high_p - low_p) / (2**bits - 1)
        zero_p = zero if symmetric else round(-low_p / tried)
        error = sum(abs(slow_round(v, (tried, zero_p), bits) - v) ** 2.4 for v in values)
        errors.append((error, step, tried, zero_p))
    return min(errors)[2:]


def slow_published_search(values, bits, symmetric):
    """(scale, zero point) of the published search with its order of operations, in float32.

    `values`: one group, float32. A zero point between two whole numbers is decided by last digits.
    """
    single, levels = np.float32, np.float32(2**bits - 1)
    low, high = min(single(0), values.min()), max(single(0), values.max())
    if symmetric:
        high = max(abs(low), high)
        low = -high if low < 0 else low
    if low == high == 0:
        low, high = single(-1), single(1)
    best, found = np.inf, None
    for step in range(80):
        share = single(1 - step / 100)
        low_p, high_p = share * low, share * high
        scale = (high_p - low_p) / levels
        zero = single(2 ** (bits - 1)) if symmetric else np.rint(-low_p / scale)
        codes = np.clip(np.rint(values / scale) + zero, single(0), levels)
        error = (np.abs(scale * (codes - zero) - values).astype(float) ** 2.4).sum()
        if error < best * (1 - 1e-6):  # nearer ones are decided by how the errors are added up
            best, found = error, (scale, zero)
    return found


def slow_round(value, grid, bits):
    """The nearest grid point; halves go to the even level."""
    scale, zero = grid
    return scale * (min(max(round(value / scale) + zero, 0), 2**bits - 1) - zero)


def distance_from_tie(value, grid):
    """How far a weight is from the middle between two levels, in levels."""
    position = value / grid[0]
    return abs(abs(position - round(position)) - 0.5)
