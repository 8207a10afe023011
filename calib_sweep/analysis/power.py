"""How many seeds it takes: for an interval of given half-width, to see a difference of given size.

    half-width          t(1 - a/2; n-1) s / sqrt(n)
    two methods         d s / sqrt(n),          s the SD of the differences of pairs, df = n - 1
    two datasets        d s sqrt(2 / n),        s the SD of either sample (the root mean square of
                                                the two), n draws in each, df = 2n - 2
    d                   such that P(|T| > t(1 - a/2; df)) = power, T noncentral t(df; d)

`smallest_detectable` is d s / sqrt(n) with the n and s that there are: what a test of this size
would have found with the given power. s is an estimate: `seeds_lo` and `seeds_hi` are for the ends
of its own interval. P(A > B) has no SD: `superiority`.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import product

import numpy as np
import pandas as pd
from scipy import special, stats

from calib_sweep.analysis import intervals, superiority
from calib_sweep.analysis.grids import Grid
from calib_sweep.analysis.intervals import MIN_DRAWS, TAIL
from calib_sweep.analysis.rounding import variance
from calib_sweep.analysis.settings import AnalysisSettings

MAX_SEEDS = 10_000  # more is no plan
COLUMNS = [
    *("model", "metric", "goal", "kind", "method", "against", "dataset", "n", "sd", "now"),
    *("target", "seeds", "seeds_lo", "seeds_hi"),
]


def noncentrality(df: np.ndarray, power: float) -> np.ndarray:
    """d: how many standard errors a difference must be for a two-sided t test to have `power`.

    Only the tail on the difference's own side counts; at a power above 1/2 the other has nothing.
    """
    df = np.asarray(df, dtype=float)
    different, place = np.unique(df, return_inverse=True)  # a grid has few, and each is dear
    threshold = stats.t.isf(TAIL, different)
    return special.nctdtrinc(different, 1 - power, threshold)[place].reshape(df.shape)


def smallest_detectable(se: np.ndarray, df: np.ndarray, power: float) -> np.ndarray:
    """The difference that a t test with this standard error and df finds with `power`."""
    return noncentrality(df, power) * se


def seeds_for_half_width(sd: np.ndarray, target: float) -> np.ndarray:
    """Draws until the 95 % interval of the mean has at most this half-width."""
    return _first_n(_half_widths(), sd, target)


def seeds_for_difference(
    sd: np.ndarray, target: float, power: float, *, is_paired: bool
) -> np.ndarray:
    """Draws (in each sample, if unpaired) until a difference of `target` is found with `power`."""
    return _first_n(_detectable(power, is_paired), sd, target)


def _candidates() -> np.ndarray:
    """Numbers of draws that are tried: all up to 200, then in steps of 1 %."""
    large = np.unique(np.geomspace(200, MAX_SEEDS, 400).astype(int))
    return np.unique(np.concatenate([np.arange(MIN_DRAWS, 200), large]))


@lru_cache(maxsize=1)
def _half_widths() -> np.ndarray:
    """Half-widths of one SD for each candidate, falling."""
    n = _candidates()
    return stats.t.isf(TAIL, n - 1) / np.sqrt(n)


@lru_cache(maxsize=8)
def _detectable(power: float, is_paired: bool) -> np.ndarray:
    """Detectable differences of one SD for each candidate, falling."""
    n = _candidates()
    df, factor = (n - 1, 1.0) if is_paired else (2 * n - 2, 2.0)
    return noncentrality(df, power) * np.sqrt(factor / n)


def _first_n(falling: np.ndarray, sd: np.ndarray, target: float) -> np.ndarray:
    """The first candidate at which falling * sd <= target; infinite beyond the last."""
    sd = np.asarray(sd, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.searchsorted(-falling, -(target / sd) * (1 + 1e-12), side="left")
    found = np.append(_candidates().astype(float), np.inf)[place]
    return np.where(np.isfinite(sd), found, np.nan)


def power_table(
    grids: Sequence[Grid], comparisons: pd.DataFrame, settings: AnalysisSettings
) -> pd.DataFrame:
    """power.csv: goal half_width, a row per method; difference, per pair; superiority, of any pair.

    Seeds are those of one dataset, of a pair of datasets in each. On the scale of the analysis: log
    perplexity, everything else as recorded. `*` stands for all methods.
    """
    methods, datasets = _differences_now(comparisons)
    tables = []
    for target in settings.targets:
        for table, seeds_for in (
            (_half_widths_now(grids), seeds_for_half_width),
            (methods, partial(seeds_for_difference, power=settings.power, is_paired=True)),
            (datasets, partial(seeds_for_difference, power=settings.power, is_paired=False)),
        ):
            sd = table["sd"].to_numpy(float)
            low, high = intervals.sd_interval(sd, table["df"].to_numpy(float) + 1)
            needed = {"seeds": sd, "seeds_lo": low, "seeds_hi": high}
            found = {name: seeds_for(of, target) for name, of in needed.items()}
            tables.append(table.assign(target=target, **found))
    tables.append(superiority.needed(pd.concat([methods, datasets]), settings))
    return pd.concat(tables, ignore_index=True).reindex(columns=COLUMNS)


def _differences_now(comparisons: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs of methods on each dataset, and pairs of datasets by the mean over methods."""
    called = {"n_pairs": "n", "mde": "now", "sd_diff": "sd"}
    pairs = comparisons.rename(columns=called).assign(goal="difference")
    methods = pairs.loc[(pairs["kind"] == "method") & (pairs["dataset"] != "")]
    methods = methods.rename(columns={"a": "method", "b": "against"})
    datasets = pairs.loc[pairs["kind"] == "dataset"].drop(columns="dataset")
    datasets = datasets.rename(columns={"a": "dataset", "b": "against"})
    sd = datasets["sd"] / np.sqrt(2)  # the variance of a difference is the sum of the two
    return methods, datasets.assign(method=superiority.ANY, sd=sd)


def _half_widths_now(grids: Sequence[Grid]) -> pd.DataFrame:
    """Every method and dataset with its draws' SD and the half-width that they give."""
    rows = [row for grid in grids for row in _spreads(grid)]
    columns = ["model", "method", "dataset", "metric", "n", "sd"]
    table = pd.DataFrame(rows, columns=pd.Index(columns))
    n, sd = table["n"].to_numpy(float), table["sd"].to_numpy(float)
    now = stats.t.isf(TAIL, n - 1) * sd / np.sqrt(n)
    return table.assign(goal="half_width", kind="", against="", df=n - 1, now=now)


def _spreads(grid: Grid) -> Iterator[tuple[str, str, str, str, int, float]]:
    for m, d in product(np.flatnonzero(grid.reads_data_M), range(len(grid.datasets))):
        value_SE = grid.value_MDSE[m, d]
        names = grid.model, grid.methods[m].method, grid.datasets[d]
        for e in np.flatnonzero(grid.directions_E):
            value_S = value_SE[np.isfinite(value_SE[:, e]), e]
            if len(value_S) >= MIN_DRAWS:
                yield *names, grid.metrics[e], len(value_S), float(np.sqrt(variance(value_S)))
