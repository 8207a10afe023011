"""Rank correlation over draws, of one dataset or pooled within several.

    rho        Spearman's, over the draws of one dataset
    interval   tanh(atanh(rho) -+ t(1 - a/2; n-2) sqrt((1 + rho^2 / 2) / (n - 3)))
               Bonett and Wright 2000, with t for the few draws there are
    p          permutations of the draws: all of them while they are few, else random ones
    pooled     mean of rho_d weighted by n_d - 3, draws permuted within their dataset; differences
               between datasets have no part in it
    rho = 1    its interval begins half a step of rho lower, as that of 1 would have no width

Shapes: S draws, B permutations.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations
from typing import NamedTuple

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.intervals import TAIL
from calib_sweep.seeding import stream

MIN_PAIRS = 5  # with fewer, no interval leaves anything out

Pair = tuple[np.ndarray, np.ndarray]  # x and y of the draws of one dataset [S]


class Correlation(NamedTuple):
    """Spearman's rho of `n` draws with the ends of its 95 % interval and its p."""

    n: int
    rho: float
    lo: float
    hi: float
    p: float


def correlate(blocks: Sequence[Pair], *, seed: int, num_resamples: int) -> Correlation:
    """Correlate x and y over the draws of each block; several blocks are pooled.

    Each needs MIN_PAIRS draws, and neither x nor y may be the same on all of them.
    """
    n_D = np.array([len(x) for x, _ in blocks])
    rank_D = [(_ranks(x), _ranks(y)) for x, y in blocks]
    rho_D = np.array([float(x @ y) for x, y in rank_D])
    weight_D = (n_D - 3) / (n_D - 3).sum()
    seen = float(weight_D @ rho_D)
    n = int(n_D.min())
    highest = 1 - 6 / (n * (n**2 - 1))  # half a step of rho below 1, whose z is infinite
    z = math.atanh(min(max(seen, -highest), highest))
    se = math.sqrt(float(weight_D**2 @ ((1 + rho_D**2 / 2) / (n_D - 3))))
    half = float(typed_scipy.t_isf(TAIL, (n_D - 2).sum())) * se
    simulated_B = np.zeros(())
    for number, (weight, (x, y)) in enumerate(zip(weight_D, rank_D, strict=True)):
        order_BS = _orders(number, len(x), len(blocks) == 1, seed, num_resamples)
        simulated_B = simulated_B + weight * (y[order_BS] @ x)
    is_exact = len(blocks) == 1 and math.factorial(int(n_D[0])) <= num_resamples
    count = int(np.sum(np.abs(simulated_B) >= abs(seen) - 1e-9))
    p = (count + (not is_exact)) / (simulated_B.size + (not is_exact))
    lo, hi = min(seen, math.tanh(z - half)), max(seen, math.tanh(z + half))
    return Correlation(int(n_D.sum()), seen, lo, hi, p)


def _ranks(value_S: np.ndarray) -> np.ndarray:
    """Return ranks of mean 0 and length 1: their product is Spearman's rho."""
    rank_S = typed_scipy.rank_data(value_S)
    rank_S -= rank_S.mean()
    return rank_S / np.linalg.norm(rank_S)


def _orders(block: int, num: int, is_only: bool, seed: int, num_resamples: int) -> np.ndarray:
    """Return orders of `num` draws [B, S]: all of the only block, if few; else random ones."""
    if is_only and math.factorial(num) <= num_resamples:
        return _all_orders(num)
    return _random_orders(block, num, seed, num_resamples)


@lru_cache(maxsize=8)
def _all_orders(num: int) -> np.ndarray:
    return np.array(list(permutations(range(num))))


@lru_cache(maxsize=64)
def _random_orders(block: int, num: int, seed: int, num_resamples: int) -> np.ndarray:
    draw = stream("analysis/orders", seed, block, num)
    return draw.random((num_resamples, num)).argsort(axis=1)
