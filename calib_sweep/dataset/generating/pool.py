"""The samples of a pool whose scores are below a quantile of all.

Shapes: N samples of the pool.
"""

import numpy as np


def num_below(quantile: float, pool_size: int) -> int:
    """Return how many of `pool_size` different numbers lie below this quantile of them.

    The quantile stands at place quantile * (pool_size - 1), counted from 0, as NumPy's does.
    """
    return int(np.ceil(round(quantile * (pool_size - 1), 9)))


def smallest_pool(quantile: float, num_samples: int) -> int:
    """Return the smallest pool of which so many lie below this quantile.

    That is the least n of quantile * (n - 1) > num_samples - 1.
    """
    return max(num_samples, int(round((num_samples - 1) / quantile, 9)) + 2)


def below_quantile(score_N: np.ndarray, quantile: float) -> list[int]:
    """Return the places of the scores below this quantile of all, in their order."""
    return np.flatnonzero(score_N < np.quantile(score_N, quantile)).tolist()
