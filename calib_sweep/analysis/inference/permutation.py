"""Permutation tests of a mean difference: exact where that is possible, and always valid.

`sign_flip_p`: paired. If the two do not differ, every pair's difference is as likely with the other
sign, so of all 2^N signed sums the p-value is the share at least as large in size as the one seen.
All are counted, in one of two ways:

    N <= EXACT_PAIRS  of each half of the pairs the 2^(N/2) sums are made, one half is sorted, and
                      for each sum of the other it is looked up how many reach the threshold
    beyond            differences are rounded to r_i, whole numbers whose sizes add up to STEPS, and
                      the share of sums is built up pair by pair (Pagano and Tritchler 1983):
                          f_0(0) = 1,    f_i(k) = (f_{i-1}(k) + f_{i-1}(k - |r_i|)) / 2
                      f_N(k) is the share with positive r adding up to k, hence of the sum 2k - R,
                      R = sum |r_i|. Rounding keeps signs exchangeable: the level is exact.

The smallest p of N pairs is 2^(1-N): 5 pairs cannot reach 0.05. No p is too small for a correction
for many pairs, as one of 2,000 random signs, not below 1/2001, would be.

`two_sample_p`: unpaired. The same with all ways of calling n_a of the n_a + n_b draws "a", and of
each the size of Welch's t instead of the sum (Janssen 1997): the sum alone rejects equal means too
often where the sample with fewer draws spreads farther. Of equally many draws both are one test.

    t = (abar - bbar) / sqrt(s_a^2 / n_a + s_b^2 / n_b)

Where the ways are more than `num_resamples`, so many random ones are drawn, and
p = (1 + count) / (1 + num_resamples), which keeps the level (Phipson and Smyth 2010). A single draw
has no s: then it is the difference that counts.

Shares of p <= 5 % where means are equal and a has three times the SD (8,000 sweeps; in brackets
those of the sum):

    draws of a, b    5, 5    10, 10    20, 20    5, 10        5, 20        10, 5
    normal           6.5     6.0       5.4       7.7 (18)     7.6 (27)     4.1 (1.6)
    exponential      11      9.3       7.4       13 (20)      15 (29)      6.0 (4.3)

Shapes: N pairs or draws, K comparisons, B permutations.
"""

import math
from functools import lru_cache
from itertools import combinations
from typing import cast

import numpy as np

from calib_sweep.analysis.rounding import without_rounding
from calib_sweep.seeding import stream

EXACT_PAIRS = 20
STEPS = 2**14  # the rounding of 50 normal differences moves their sum by 0.001 of its SD
ROUNDING = 1e-9  # of the sum of sizes: sums that are equal but for rounding are equal


def sign_flip_p(difference_NK: np.ndarray) -> np.ndarray:
    """Return the two-sided p of the mean of each column of paired differences [K].

    NaN entries are pairs that are not there; a column with an infinite one has no p.
    """
    p_K = np.full(difference_NK.shape[1], np.nan)
    for k, column in enumerate(difference_NK.T):
        difference_N = column[~np.isnan(column)]
        if difference_N.size and np.isfinite(difference_N).all():
            is_few = difference_N.size <= EXACT_PAIRS
            p_K[k] = _of_all_sums(difference_N) if is_few else _of_rounded_sums(difference_N)
    return p_K


def _of_all_sums(difference_N: np.ndarray) -> float:
    num = difference_N.size
    seen = abs(difference_N.sum()) - ROUNDING * np.abs(difference_N).sum()
    half = num // 2
    left = _all_signs(half) @ difference_N[:half]
    right = np.sort(_all_signs(num - half) @ difference_N[half:])
    num_above = right.size - cast(np.ndarray, np.searchsorted(right, seen - left, side="left"))
    num_below = cast(np.ndarray, np.searchsorted(right, -seen - left, side="right"))
    # With a threshold of 0 every sum counts once, not once on each side.
    return min(1.0, float(num_above.sum() + num_below.sum()) / 2.0**num)


def _of_rounded_sums(difference_N: np.ndarray, steps: int = STEPS) -> float:
    total = np.abs(difference_N).sum()
    if total == 0:
        return 1.0
    rounded_N = np.rint(difference_N * (steps / total)).astype(int)
    size_N = np.sort(np.abs(rounded_N))  # the order of pairs moves no digit
    share = np.zeros(size_N.sum() + 1)  # f, of every k from 0 to R
    share[0], reached = 1.0, 0
    for size in size_N:
        before = share[: reached + 1].copy()
        share[: reached + 1] = before / 2
        share[size : size + reached + 1] += before / 2
        reached += size
    # |2k - R| >= |sum of r|: the smaller of the two k that give the sum seen, or less; and mirrored
    upto = (reached - abs(rounded_N.sum())) // 2
    return min(1.0, 2.0 * float(share[: upto + 1].sum()))


@lru_cache(maxsize=32)
def _all_signs(num: int) -> np.ndarray:
    """List every row of `num` signs, 2^num of them."""
    bits = cast(np.ndarray, np.arange(2**num)[:, None] >> np.arange(num)) & 1
    return 1.0 - 2.0 * bits


def two_sample_p(a_NK: np.ndarray, b_NK: np.ndarray, seed: int, num_resamples: int) -> np.ndarray:
    """Return the two-sided p of the difference of means of each column [K].

    No NaN among the draws. `seed`, `num_resamples`: where there are too many choices to count all.
    """
    num_a, num_b = len(a_NK), len(b_NK)
    both_NK = np.concatenate([a_NK, b_NK])
    if not num_a or not num_b:
        return np.full(len(b_NK.T), np.nan)
    both_NK = without_rounding(both_NK - both_NK.mean(0), np.abs(both_NK).max(axis=0))
    is_exact = math.comb(num_a + num_b, num_a) <= num_resamples
    choose = _all_choices if is_exact else _random_choices
    chosen_BN = choose(num_a, num_b, seed, num_resamples)
    seen_K = _squared_t(both_NK[:num_a].sum(0), (both_NK[:num_a] ** 2).sum(0), both_NK, num_a)
    sum_BK, square_BK = (np.einsum("bn,nk->bk", chosen_BN, own) for own in (both_NK, both_NK**2))
    found_BK = _squared_t(sum_BK, square_BK, both_NK, num_a)
    count_K = np.sum(found_BK >= seen_K * (1 - ROUNDING), axis=0)
    p_K = count_K / len(chosen_BN) if is_exact else (1 + count_K) / (1 + len(chosen_BN))
    return np.where(np.isfinite(both_NK).all(axis=0), p_K, np.nan)


def _squared_t(
    sum_BK: np.ndarray, square_BK: np.ndarray, both_NK: np.ndarray, num_a: int
) -> np.ndarray:
    """Return t^2 of draws "a" with these sums and sums of squares; all draws sum to 0."""
    num_b = len(both_NK) - num_a
    total_K = (both_NK**2).sum(0)
    difference_BK = sum_BK * (1 / num_a + 1 / num_b)
    if min(num_a, num_b) < 2:
        return without_rounding(difference_BK**2, total_K)
    within_a = (square_BK - sum_BK**2 / num_a) / (num_a - 1) / num_a
    within_b = (total_K - square_BK - sum_BK**2 / num_b) / (num_b - 1) / num_b
    variance_BK = np.maximum(without_rounding(within_a + within_b, total_K), 0)
    difference_BK = without_rounding(difference_BK, np.sqrt(total_K))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference_BK == 0, 0.0, difference_BK**2 / variance_BK)


@lru_cache(maxsize=32)
def _all_choices(num_a: int, num_b: int, seed: int, num_resamples: int) -> np.ndarray:
    """List every choice of `num_a` of all draws, as rows of zeros and ones."""
    places = np.array(list(combinations(range(num_a + num_b), num_a)))
    chosen_BN = np.zeros((len(places), num_a + num_b))
    np.put_along_axis(chosen_BN, places, 1.0, axis=1)
    return chosen_BN


@lru_cache(maxsize=32)
def _random_choices(num_a: int, num_b: int, seed: int, num_resamples: int) -> np.ndarray:
    draw = stream("analysis/choices", seed, num_a, num_b)
    order_BN = np.asarray(draw.random((num_resamples, num_a + num_b)).argsort(axis=1))
    return np.asarray(order_BN < num_a, dtype=float)
