"""Which numbers are equal: those that are no farther apart than the order of a sum can take them.

A mean of equal numbers may differ from them in its last digit, and so may two accuracies of the
same answers. Neither is a spread.
"""

import numpy as np

ROUNDING = 1e-12  # of the largest of the numbers; a double has 2e-16


def without_rounding(difference: np.ndarray, size: np.ndarray | float) -> np.ndarray:
    """Return differences of numbers of this size, 0 where they are rounding."""
    is_rounding = np.isfinite(difference) & (np.abs(difference) <= ROUNDING * size)
    return np.where(is_rounding, 0.0, difference)


def variance(value: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the sample variance (ddof = 1): 0 where all are equal, NaN with one not finite."""
    with np.errstate(invalid="ignore"):
        spread = np.ptp(value, axis=axis)
        are_equal = without_rounding(spread, np.abs(value).max(axis=axis)) == 0
        return np.where(are_equal, 0.0, np.var(value, axis=axis, ddof=1))


def equalised(value: np.ndarray, *, are_logs: bool = False) -> np.ndarray:
    """Return `value` with equal numbers the same to the last digit: that of the smallest.

    Logarithms are equal where the numbers are: however near to 0, their rounding is that of 1.
    """
    ordered = np.sort(value[np.isfinite(value)])
    if not ordered.size:
        return value
    size = np.maximum(np.abs(ordered[1:]), 1.0 if are_logs else 0.0)
    is_first = np.append(True, without_rounding(np.diff(ordered), size) > 0)
    first = ordered[is_first]
    place = np.searchsorted(first, value, side="right") - 1
    return np.where(np.isfinite(value), first[np.clip(place, 0, None)], value)
