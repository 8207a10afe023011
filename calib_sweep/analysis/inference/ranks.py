"""Ranks of entrants, how sure they are, and whether fewer draws find the same order.

Entrants (methods, say) have scores on draws; draws come in blocks (datasets), which count equally.
Draws are resampled whole, all entrants of a draw together, those of different blocks apart;
residuals are stretched by sqrt(n / (n-1)), as the draws at hand lie closer to their own mean than
to the true one.

    rank            1 + the number of entrants that are better
    rank interval   1 + the entrants shown to be better .. the number of entrants less those shown
                    to be worse, by tests of all pairs at 5 % after Holm: holds for all at once
    tau             Kendall's tau-b between two orders

How often two independent studies agree is told by simulated pairs of them (`studies`): normal,
with the covariance of a draw that was seen, around means that could be the true ones. The means
that were seen cannot: they lie farther apart than the true ones, by their own error. So entrants
that t tests at 5 % do not tell apart, directly or through others, are drawn together until their
sum of squares is what it is expected to be without that error (after James and Stein 1961):

    m' = c + sqrt(max(0, 1 - E / S)) (m - c)    S = sum (m - c)^2,  E its expectation if all are c

A covariance of many entrants from few draws is singular, and its variances differ by chance:
(K-1) / df of it, at most all, are replaced by one of a single variance and correlation, the means.

Shapes: K entrants, P pairs of them (0, 1), (0, 2), ..., (1, 2), ..., S draws, E metrics,
B resamples.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.intervals import LEVEL, TAIL
from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.resampling import resampled_counts
from calib_sweep.seeding import stream

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


def studies(
    blocks: Sequence[Block], num_entrants: int, *, seed: int, num_resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return means that could be true [K, E], and the error of a study of one draw [B, K, E].

    A study of n draws of each block has means of the first plus the second over sqrt(n); B
    independent ones.
    """
    mean_KE = block_means(blocks, num_entrants)
    num_metrics = int(mean_KE.shape[1])
    draw_EKK, error_EKK = np.zeros((2, num_metrics, num_entrants, num_entrants))
    count_K = np.zeros(num_entrants)
    for entrants, value in blocks:
        away = value - value.mean(0)
        own = np.einsum("sie,sje->eij", away, away) / (len(value) - 1)
        rows, columns = entrants[:, None], entrants[None]
        draw_EKK[:, rows, columns] += own
        error_EKK[:, rows, columns] += own / len(value)
        count_K[entrants] += 1
    scale_KK = 1 / np.outer(count_K, count_K)
    df = sum(len(value) - 1 for _, value in blocks)
    normal_BK = stream("analysis/studies", seed).standard_normal((num_resamples, num_entrants))
    true_KE, noise_BKE = mean_KE.copy(), np.empty((num_resamples, *mean_KE.shape))
    for e in range(num_metrics):
        true_KE[:, e] = _drawn_together(mean_KE[:, e], error_EKK[e] * scale_KK, df)
        root_KK = _root(_regular(draw_EKK[e] * scale_KK, df))
        noise_BKE[:, :, e] = np.einsum("bk,ik->bi", normal_BK, root_KK)
    return true_KE, noise_BKE


def _drawn_together(mean_K: np.ndarray, error_KK: np.ndarray, df: int) -> np.ndarray:
    """Return means no farther apart than the true ones are expected to be, in each cluster."""
    own_K = np.diag(error_KK)
    se_KK = np.sqrt(np.maximum(own_K[:, None] + own_K - 2 * error_KK, 0))
    near_KK = np.abs(mean_K[:, None] - mean_K) <= typed_scipy.t_isf(TAIL, df) * se_KK
    true_K = mean_K.copy()
    for cluster in _clusters(near_KK):
        centred = np.eye(len(cluster)) - 1 / len(cluster)
        away = centred @ mean_K[cluster]
        expected = float(np.trace(centred @ error_KK[np.ix_(cluster, cluster)] @ centred))
        size = float(away @ away)
        kept = math.sqrt(max(0.0, 1 - expected / size)) if size > 0 else 0.0
        true_K[cluster] = mean_K[cluster].mean() + kept * away
    return true_K


def _clusters(near_KK: np.ndarray) -> list[np.ndarray]:
    """Return the entrants that are connected, cluster by cluster."""
    num = len(near_KK)
    reached_KK = near_KK | np.eye(num, dtype=bool)
    for _ in range(num.bit_length()):
        reached_KK = (reached_KK.astype(float) @ reached_KK) > 0
    return [np.flatnonzero(row) for row in np.unique(reached_KK, axis=0)]


def _regular(draw_KK: np.ndarray, df: int) -> np.ndarray:
    """Return a covariance that is not singular for want of draws."""
    num = len(draw_KK)
    sd_K = np.sqrt(np.diag(draw_KK))
    moves_K = sd_K > 0
    sizes_KK = np.outer(sd_K, sd_K)
    off_KK = np.outer(moves_K, moves_K) & ~np.eye(num, dtype=bool)
    common = float((draw_KK[off_KK] / sizes_KK[off_KK]).mean()) if off_KK.any() else 0.0
    variance = float((sd_K[moves_K] ** 2).mean()) if moves_K.any() else 0.0
    target_KK = variance * (common * off_KK + np.diag(moves_K))
    weight = min(1.0, (num - 1) / df)
    return (1 - weight) * draw_KK + weight * target_KK


def _root(covariance_KK: np.ndarray) -> np.ndarray:
    value_K, vector_KK = np.linalg.eigh(covariance_KK)
    return vector_KK * np.sqrt(np.maximum(value_K, 0))


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


def tau_b(sign_BPE: np.ndarray, other_BPE: np.ndarray) -> np.ndarray:
    """Return Kendall's tau-b of two orders [B, E], from the signs of their pairs.

    `other_BPE`: the second orders, or one of them [P, E] for all.
    """
    agreeing_BE = (sign_BPE * other_BPE).sum(-2, dtype=np.int32)
    untied_BE, others_BE = (np.abs(of).sum(-2, dtype=np.int32) for of in (sign_BPE, other_BPE))
    size_BE = np.sqrt(untied_BE * others_BE)
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
