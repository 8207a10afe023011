"""Ranks, how sure they are, and how many seeds it would take to be sure.

Entrants are the methods on one dataset (or on all, each counting equally), or the datasets by the
mean over methods. Draws are resampled whole, all methods of a draw together, those of different
datasets apart; residuals are stretched by sqrt(n / (n-1)), as the draws at hand lie closer to their
own mean than to the true one.

    probability of a rank   over resamples of as many draws as there are    rank_probabilities.csv
    p_first                 the same, of rank 1                                        ranking.csv
    rank_lo .. rank_hi      1 + the entrants shown to be better .. the number of entrants less those
                            shown to be worse, by t tests of all pairs at 5 % after Holm: holds for
                            all entrants at once
    unresolved              other entrants with P(better) between 0.25 and 0.75
    p_top1, p_order, tau    how often two independent studies of k seeds (of each dataset) agree on
                            the first, and on the whole order; Kendall's tau-b between their
                            orders, mean and 5 % quantile                      rank_stability.csv

The two studies are simulated (`inference.ranks.studies`).

Shapes: K entrants, S draws, E metrics, B resamples, P pairs of entrants.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.inference.ranks import (
    Block,
    block_means,
    pair_signs,
    rank_intervals,
    ranks,
    resampled_means,
    studies,
    tau_b,
)
from calib_sweep.analysis.scores.arrays import MAX_METHODS, ScoreArray
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.comparisons import POOLED

SEED_COUNTS = (1, 2, 3, 5, 10, 20, 50)
UNRESOLVED = (0.25, 0.75)
KEYS = ["model", "metric", "kind", "dataset"]
RANKING_COLUMNS = [
    *(*KEYS, "name", "n", "mean", "rank", "rank_lo", "rank_hi", "p_first", "unresolved"),
]
PROBABILITY_COLUMNS = [*KEYS, "name", "rank", "probability"]
STABILITY_COLUMNS = [
    *(*KEYS, "draw", "num_entrants", "num_seeds", "p_top1", "p_order", "tau", "tau_q05"),
]


@dataclass(frozen=True, eq=False)
class Field:
    """Entrants that are ranked together. Draws of one block are shared by its entrants."""

    model: str
    kind: str
    dataset: str
    draw: str  # settings of calibration, as in the names
    names: tuple[str, ...]  # K
    metrics: tuple[str, ...]  # E
    directions_E: np.ndarray
    blocks: list[Block]

    @property
    def num_draws(self) -> int:
        return min(len(value) for _, value in self.blocks)

    def means(self) -> np.ndarray:
        """Return the mean of each entrant [K, E], blocks counting equally."""
        return block_means(self.blocks, len(self.names))

    def resampled(self, num_seeds: int | None, settings: AnalysisSettings) -> np.ndarray:
        """Return means over `num_seeds` draws of each block (None: all it has) [B, K, E]."""
        return resampled_means(self.blocks, len(self.names), num_seeds, **settings.resampling)


Key = tuple[str, str, str, str]  # the values of KEYS
Test = tuple[str, str, float, float]  # a, b, p of the t test, P(A > B)
Tests = Mapping[Key, Sequence[Test]]


def ranking_tables(
    arrays: Sequence[ScoreArray], comparisons: pd.DataFrame, settings: AnalysisSettings
) -> dict[str, pd.DataFrame]:
    """Make ranking, rank_probabilities and rank_stability."""
    ranking: list[tuple] = []
    probabilities: list[tuple] = []
    stability: list[tuple] = []
    tests = _tests(comparisons)
    for array in arrays:
        for field in _fields(array):
            signs = pair_signs(field.resampled(None, settings))
            rank_BKE = ranks(signs, field.directions_E)
            ranking += _ranking(field, rank_BKE, tests)
            probabilities += _probabilities(field, rank_BKE)
            stability += _stability(field, settings)
    return {
        "ranking": pd.DataFrame(ranking, columns=pd.Index(RANKING_COLUMNS)),
        "rank_probabilities": pd.DataFrame(probabilities, columns=pd.Index(PROBABILITY_COLUMNS)),
        "rank_stability": pd.DataFrame(stability, columns=pd.Index(STABILITY_COLUMNS)),
    }


def _tests(comparisons: pd.DataFrame) -> Tests:
    tests: dict[Key, list[Test]] = {}
    columns = [comparisons[name].tolist() for name in (*KEYS, "a", "b", "p", "prob_better")]
    for model, metric, kind, dataset, a, b, p, share in zip(*columns, strict=True):
        tests.setdefault((model, metric, kind, dataset), []).append((a, b, p, share))
    return tests


def _fields(array: ScoreArray) -> Iterator[Field]:
    """Yield every set of entrants of an array that has enough complete, finite draws."""
    for draw in array.draws:
        methods = array.drawn_with(draw, data_free=True)
        names = tuple(array.methods[m].method for m in methods)
        value = array.value_MDSE[methods]
        everyone = np.arange(len(methods))
        if 1 < len(methods) <= MAX_METHODS:
            for dataset, own in zip(array.datasets, value.swapaxes(0, 1), strict=True):
                blocks = [(everyone, own.swapaxes(0, 1))]
                yield from _complete(array, "method", dataset, draw, names, blocks)
            blocks = [(everyone, own.swapaxes(0, 1)) for own in value.swapaxes(0, 1)]
            yield from _complete(array, "method", POOLED, draw, names, blocks)
        mean_DSE = array.value_MDSE[array.drawn_with(draw)].mean(0)
        blocks = [(np.array([d]), own[:, None]) for d, own in enumerate(mean_DSE)]
        if 1 < len(blocks) <= MAX_METHODS:
            names = tuple(f"{name} {draw}".rstrip() for name in array.datasets)
            yield from _complete(array, "dataset", POOLED, draw, names, blocks)


def _complete(
    array: ScoreArray,
    kind: str,
    dataset: str,
    draw: str,
    names: tuple[str, ...],
    blocks: Sequence[Block],
) -> Iterator[Field]:
    """Yield fields of metrics with the same complete draws, three or more in each block."""
    metrics_of: dict[bytes, list[int]] = {}
    for e in np.flatnonzero(array.directions_E):
        kept = [np.isfinite(value[..., e]).all(axis=1) for _, value in blocks]
        if min(own.sum() for own in kept) >= MIN_DRAWS:
            metrics_of.setdefault(np.concatenate(kept).tobytes(), []).append(int(e))
    for metrics in metrics_of.values():
        own = [(entrants, value[..., metrics]) for entrants, value in blocks]
        yield Field(
            model=array.model,
            kind=kind,
            dataset=dataset,
            draw=draw,
            names=names,
            metrics=tuple(array.metrics[e] for e in metrics),
            directions_E=array.directions_E[metrics],
            blocks=[(k, v[np.isfinite(v).all(axis=(1, 2))]) for k, v in own],
        )


def _keys(field: Field, metric: str) -> Key:
    return field.model, metric, field.kind, field.dataset


def _ranking(field: Field, rank_BKE: np.ndarray, tests: Tests) -> Iterator[tuple]:
    mean_KE = field.means()
    rank_KE = ranks(pair_signs(mean_KE[None]), field.directions_E)[0]
    first_KE = (rank_BKE == 1).mean(0)
    for e, metric in enumerate(field.metrics):
        keys = _keys(field, metric)
        score_K = mean_KE[:, e] * field.directions_E[e]
        low_K, high_K, open_K = _left_open(field.names, score_K, tests.get(keys, ()))
        for k, name in enumerate(field.names):
            places = (int(rank_KE[k, e]), int(low_K[k]), int(high_K[k]))
            numbers = (field.num_draws, float(mean_KE[k, e]), *places, float(first_KE[k, e]))
            yield *keys, name, *numbers, int(open_K[k])


def _left_open(
    names: Sequence[str], score_K: np.ndarray, tests: Sequence[Test]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ranks that pairwise tests leave open, and how many pairs of each are open.

    Two methods without data have no test: their scores are what they are.
    """
    num = len(names)
    place = {name: k for k, name in enumerate(names)}
    own = [test for test in tests if test[0] in place and test[1] in place]
    a, b = (np.array([place[name] for name in names], dtype=int) for names in _ends(own))
    p, share = np.array([test[2:] for test in own], dtype=float).reshape(-1, 2).T
    share_KK = np.full((num, num), np.nan)
    share_KK[a, b], share_KK[b, a] = share, 1 - share
    is_open_KK = (share_KK > UNRESOLVED[0]) & (share_KK < UNRESOLVED[1])
    return *rank_intervals(score_K, a, b, p), is_open_KK.sum(1)


def _ends(tests: Sequence[Test]) -> tuple[list[str], list[str]]:
    return [test[0] for test in tests], [test[1] for test in tests]


def _probabilities(field: Field, rank_BKE: np.ndarray) -> Iterator[tuple]:
    for rank in range(1, len(field.names) + 1):
        share_KE = (rank_BKE == rank).mean(0)
        for e, metric in enumerate(field.metrics):
            for name, share in zip(field.names, share_KE[:, e].tolist(), strict=True):
                yield *_keys(field, metric), name, rank, share


def _stability(field: Field, settings: AnalysisSettings) -> Iterator[tuple]:
    """Make a row per metric and number of seeds: how often one study and the next one agree."""
    true_KE, noise_BKE = studies(field.blocks, len(field.names), **settings.resampling)
    for num_seeds in SEED_COUNTS:
        sign_BPE = pair_signs(true_KE + noise_BKE / np.sqrt(num_seeds))
        is_first_BKE = ranks(sign_BPE, field.directions_E) == 1
        tau_BE = tau_b(sign_BPE, _next(sign_BPE))
        numbers_4E = [
            (is_first_BKE == _next(is_first_BKE)).all(axis=1).mean(0),
            (sign_BPE == _next(sign_BPE)).all(axis=1).mean(0),
            tau_BE.mean(0),
            np.quantile(tau_BE, 0.05, axis=0),
        ]
        for e, metric in enumerate(field.metrics):
            numbers = (float(number_E[e]) for number_E in numbers_4E)
            yield *_keys(field, metric), field.draw, len(field.names), num_seeds, *numbers


def _next(of_studies: np.ndarray) -> np.ndarray:
    return np.roll(of_studies, 1, axis=0)
