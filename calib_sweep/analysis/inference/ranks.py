"""Ranks of entrants, how sure they are, and whether fewer draws find the same order.

Entrants (methods, say) have scores on draws; draws come in blocks (datasets), which count equally.
Draws are resampled whole, all entrants of a draw together, those of different blocks apart;
residuals are stretched by sqrt(n / (n-1)), as the draws at hand lie closer to their own mean than
to the true one.

    rank            1 + the number of entrants that are better
    rank interval   1 + the entrants shown to be better .. the number of entrants less those shown
                    to be worse, by tests of all pairs at 5 % after Holm: holds for all at once
    tau             Kendall's tau-b between two orders

Shapes: K entrants, P pairs of them (0, 1), (0, 2), ..., (1, 2), ..., S draws, E metrics,
B resamples.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from calib_sweep.analysis.inference.intervals import LEVEL
from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.resampling import resampled_counts

Block = tuple[np.ndarray, np.ndarray]  # which entrants [k], their scores [S, k, E]


def block_means(blocks: Sequence[Block], num_entrants: int) -> np.ndarray:
    """Return the mean of each entrant [K, E], blocks counting equally."""
    return _joined(blocks, [value.mean(0)[None] for _, value in blocks], num_entrants)[0]


def resampled_means(
    blocks: Sequence[Block],
    num_entrants: int,
    num_draws: int | None = None,
    *,
    seed: int,
    num_resamples: int,
) -> np.ndarray:
    """Return means over `num_draws` draws of each block (None: as many as it has) [B, K, E]."""
    parts: list[np.ndarray] = []
    for block, (_, value) in enumerate(blocks):
        num = len(value)
        size = num_draws or num
        count_BS = resampled_counts(block, num, size, seed, num_resamples)
        mean = value.mean(0)
        moved = np.einsum("bs,ske->bke", count_BS / size, value - mean)
        parts.append(mean + np.sqrt(num / (num - 1)) * moved)
    return _joined(blocks, parts, num_entrants)


def _joined(blocks: Sequence[Block], parts: Sequence[np.ndarray], num_entrants: int) -> np.ndarray:
    num_resamples, _, num_metrics = parts[0].shape
    total, count = np.zeros((num_resamples, num_entrants, num_metrics)), np.zeros(num_entrants)
    for (entrants, _), part in zip(blocks, parts, strict=True):
        total[:, entrants] += part
        count[entrants] += 1
    return total / count[:, None]


def pair_signs(score_BKE: np.ndarray) -> np.ndarray:
    """Return the sign of the difference of each pair of entrants [B, P, E], as small integers."""
    pairs = combinations(range(score_BKE.shape[1]), 2)
    signs = [
        np.greater(score_BKE[:, i], score_BKE[:, j]).view(np.int8)
        - np.less(score_BKE[:, i], score_BKE[:, j]).view(np.int8)
        for i, j in pairs
    ]
    return np.stack(signs, axis=1)


def ranks(sign_BPE: np.ndarray, directions_E: np.ndarray) -> np.ndarray:
    """Return 1 + the number of entrants that are better [B, K, E], from the signs of all pairs.

    `directions_E`: +1 where more is better, -1 where less is.
    """
    num_pairs = sign_BPE.shape[1]
    num = (1 + math.isqrt(1 + 8 * num_pairs)) // 2
    rank_BKE = np.ones((len(sign_BPE), num, sign_BPE.shape[2]), dtype=np.int16)
    for pair, (i, j) in enumerate(combinations(range(num), 2)):
        better_BE = sign_BPE[:, pair] * directions_E
        rank_BKE[:, i] += better_BE < 0
        rank_BKE[:, j] += better_BE > 0
    return rank_BKE


def tau_b(sign_BPE: np.ndarray, reference_PE: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b of two orders [B, E], from the signs of their pairs."""
    agreeing_BE = (sign_BPE * reference_PE).sum(1, dtype=np.int32)
    untied_BE = np.abs(sign_BPE).sum(1, dtype=np.int32)
    size_BE = np.sqrt(untied_BE * np.abs(reference_PE).sum(0, dtype=np.int32))
    return agreeing_BE / np.where(size_BE > 0, size_BE, np.nan)


def rank_intervals(
    score_K: np.ndarray, a_P: np.ndarray, b_P: np.ndarray, p_P: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest rank [K] that tests of pairs leave open, after Holm.

    `score_K`: larger is better. `a_P`, `b_P`: which entrants a pair is; `p_P`: its uncorrected p.
    Pairs without a test are what their scores are.
    """
    num = len(score_K)
    p_KK = np.zeros((num, num))
    p_KK[a_P, b_P] = p_KK[b_P, a_P] = holm_corrected(p_P)
    is_shown_KK = p_KK < 1 - LEVEL
    low_K = 1 + np.sum(is_shown_KK & (score_K[:, None] < score_K), axis=1)
    high_K = num - np.sum(is_shown_KK & (score_K[:, None] > score_K), axis=1)
    return low_K, high_K
