"""Does a draw with lower perplexity give higher accuracy? Rank correlation over draws.

    rho        Spearman's, over the draws of one dataset; perplexity down and accuracy up: negative
    interval   tanh(atanh(rho) -+ t(1 - a/2; n-2) sqrt((1 + rho^2 / 2) / (n - 3)))
               Bonett and Wright 2000, with t for the few draws there are
    p          permutations of the draws: all of them while they are few, else random ones
    pooled     dataset empty: mean of rho_d weighted by n_d - 3, draws permuted within their
               dataset; differences between datasets have no part in it
    rho = 1    its interval begins half a step of rho lower, as that of 1 would have no width

Perplexity is the headline (geometric mean over corpora) and each corpus; accuracy acc/mean, or each
task where there is no mean.

Shapes: S draws, B permutations.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import permutations

import numpy as np
import pandas as pd
from scipy import stats

from calib_sweep.analysis.inference.intervals import TAIL
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.means import ACC_MEAN
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.comparisons import POOLED
from calib_sweep.seeding import stream

MIN_PAIRS = 5  # with fewer, no interval leaves anything out
COLUMNS = ["model", "method", "dataset", "x", "y", "n", "rho", "rho_lo", "rho_hi", "p"]

Pair = tuple[np.ndarray, np.ndarray]  # x and y of the draws of one dataset [S]


def correlation_table(arrays: Sequence[ScoreArray], settings: AnalysisSettings) -> pd.DataFrame:
    """correlations.csv: each perplexity against accuracy, per method and dataset, and pooled."""
    rows = [row for array in arrays for row in _rows(array, settings)]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _rows(array: ScoreArray, settings: AnalysisSettings) -> Iterator[tuple]:
    perplexities = [metric for metric in array.metrics if metric.startswith("ppl/")]
    accuracies = [metric for metric in array.metrics if metric.startswith("acc/")]
    accuracies = [ACC_MEAN] if ACC_MEAN in accuracies else accuracies
    for m in np.flatnonzero(array.reads_data_M):
        for x, y in ((x, y) for x in perplexities for y in accuracies):
            columns = [array.metrics.index(x), array.metrics.index(y)]
            blocks: list[Pair] = []
            for dataset, value_SE in zip(array.datasets, array.value_MDSE[m], strict=True):
                own = value_SE[:, columns]
                own = own[np.isfinite(own).all(axis=1)]
                if len(own) >= MIN_PAIRS and np.ptp(own, axis=0).all():
                    blocks.append((own[:, 0], own[:, 1]))
                    keys = array.model, array.methods[m].method, dataset, x, y
                    yield *keys, *correlate([blocks[-1]], settings)
            if blocks:
                keys = array.model, array.methods[m].method, POOLED, x, y
                yield *keys, *correlate(blocks, settings)


def correlate(blocks: Sequence[Pair], settings: AnalysisSettings) -> tuple[float, ...]:
    """n, rho, its interval and p, within blocks."""
    n_D = np.array([len(x) for x, _ in blocks])
    rank_D = [(_ranks(x), _ranks(y)) for x, y in blocks]
    rho_D = np.array([float(x @ y) for x, y in rank_D])
    weight_D = (n_D - 3) / (n_D - 3).sum()
    seen = float(weight_D @ rho_D)
    n = int(n_D.min())
    highest = 1 - 6 / (n * (n**2 - 1))  # half a step of rho below 1, whose z is infinite
    z = math.atanh(min(max(seen, -highest), highest))
    se = math.sqrt(float(weight_D**2 @ ((1 + rho_D**2 / 2) / (n_D - 3))))
    half = float(stats.t.isf(TAIL, (n_D - 2).sum())) * se
    simulated_B = np.zeros(())
    for number, (weight, (x, y)) in enumerate(zip(weight_D, rank_D, strict=True)):
        order_BS = _orders(number, len(x), len(blocks) == 1, settings)
        simulated_B = simulated_B + weight * (y[order_BS] @ x)
    is_exact = len(blocks) == 1 and math.factorial(int(n_D[0])) <= settings.num_resamples
    count = int(np.sum(np.abs(simulated_B) >= abs(seen) - 1e-9))
    p = (count + (not is_exact)) / (simulated_B.size + (not is_exact))
    lo, hi = min(seen, math.tanh(z - half)), max(seen, math.tanh(z + half))
    return int(n_D.sum()), seen, lo, hi, p


def _ranks(value_S: np.ndarray) -> np.ndarray:
    """Ranks of mean 0 and length 1: their product is Spearman's rho."""
    rank_S = stats.rankdata(value_S)
    rank_S -= rank_S.mean()
    return rank_S / np.linalg.norm(rank_S)


def _orders(block: int, num: int, is_only: bool, settings: AnalysisSettings) -> np.ndarray:
    """Orders of `num` draws [B, S]: all, if they are few and there is one block; else random."""
    if is_only and math.factorial(num) <= settings.num_resamples:
        return _all_orders(num)
    return _random_orders(block, num, settings.seed, settings.num_resamples)


@lru_cache(maxsize=8)
def _all_orders(num: int) -> np.ndarray:
    return np.array(list(permutations(range(num))))


@lru_cache(maxsize=64)
def _random_orders(block: int, num: int, seed: int, num_resamples: int) -> np.ndarray:
    draw = stream("analysis/orders", seed, block, num)
    return draw.random((num_resamples, num)).argsort(axis=1)
