"""Integer grids of GPTQ and RTN, written from their definition in Python numbers (float64)."""


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
        tried = scale * (1 - step / 100)
        error = sum(abs(slow_round(v, (tried, zero), bits) - v) ** 2.4 for v in values)
        errors.append((error, step, tried))
    return min(errors)[2], zero


def slow_round(value, grid, bits):
    """The nearest grid point; halves go to the even level."""
    scale, zero = grid
    return scale * (min(max(round(value / scale) + zero, 0), 2**bits - 1) - zero)


def distance_from_tie(value, grid):
    """How far a weight is from the middle between two levels, in levels."""
    position = value / grid[0]
    return abs(abs(position - round(position)) - 0.5)
