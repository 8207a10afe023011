"""Seeds needed: to show a difference, to narrow an interval, to show that one is better."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.intervals import MIN_DRAWS, TAIL
from calib_sweep.analysis.inference.power import seeds_for_difference, seeds_for_half_width
from calib_sweep.analysis.inference.superiority import (
    draws_needed,
    draws_show,
    pairs_needed,
    pairs_show,
)
from calib_sweep.analysis.inference.typed_scipy import t_isf
from calib_sweep.analysis.rounding import variance
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.settings import AnalysisSettings

COLUMNS = [
    *("model", "metric", "goal", "kind", "method", "against", "dataset", "n", "sd", "now"),
    *("target", "seeds", "seeds_lo", "seeds_hi"),
]


def power_table(
    arrays: Sequence[ScoreArray], comparisons: pd.DataFrame, settings: AnalysisSettings
) -> pd.DataFrame:
    """Make power.csv: half_width per method; difference per pair; superiority of any pair.

    Seeds are those of one dataset, of a pair of datasets in each. On the scale of the analysis: log
    perplexity, everything else as recorded. `*` stands for all methods.
    """
    methods, datasets = _differences_now(comparisons)
    tables = []
    for target in settings.targets:
        for table, seeds_for in (
            (_half_widths_now(arrays), seeds_for_half_width),
            (methods, partial(seeds_for_difference, power=settings.power, is_paired=True)),
            (datasets, partial(seeds_for_difference, power=settings.power, is_paired=False)),
        ):
            sd = table["sd"].to_numpy(float)
            low, high = intervals.sd_interval(sd, table["df"].to_numpy(float) + 1)
            spread = {"seeds": sd, "seeds_lo": low, "seeds_hi": high}
            found = {name: seeds_for(of, target) for name, of in spread.items()}
            tables.append(table.assign(target=target, **found))
    tables.append(needed(pd.concat([methods, datasets]), settings))
    return pd.concat(tables, ignore_index=True).reindex(columns=COLUMNS)


def _differences_now(comparisons: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return pairs of methods on each dataset, pairs of datasets by the mean of methods."""
    called = {"n_pairs": "n", "mde": "now", "sd_diff": "sd"}
    pairs = comparisons.rename(columns=called).assign(goal="difference")
    methods = pairs.loc[(pairs["kind"] == "method") & (pairs["dataset"] != "")]
    methods = methods.rename(columns={"a": "method", "b": "against"})
    datasets = pairs.loc[pairs["kind"] == "dataset"].drop(columns="dataset")
    datasets = datasets.rename(columns={"a": "dataset", "b": "against"})
    sd = datasets["sd"] / np.sqrt(2)  # the variance of a difference is the sum of the two
    return methods, datasets.assign(method=ANY, sd=sd)


def _half_widths_now(arrays: Sequence[ScoreArray]) -> pd.DataFrame:
    """Return each method and dataset with its draws' SD and the half-width they give."""
    rows = [row for array in arrays for row in _spreads(array)]
    columns = ["model", "method", "dataset", "metric", "n", "sd"]
    table = pd.DataFrame(rows, columns=pd.Index(columns))
    n, sd = table["n"].to_numpy(float), table["sd"].to_numpy(float)
    now = t_isf(TAIL, n - 1) * sd / np.sqrt(n)
    return table.assign(goal="half_width", kind="", against="", df=n - 1, now=now)


def _spreads(array: ScoreArray) -> Iterator[tuple[str, str, str, str, int, float]]:
    for m, d in product(np.flatnonzero(array.reads_data_M), range(len(array.datasets))):
        value_SE = array.value_MDSE[m, d]
        names = array.model, array.methods[m].method, array.datasets[d]
        for e in np.flatnonzero(array.directions_E):
            value_S = value_SE[np.isfinite(value_SE[:, e]), e]
            if len(value_S) >= MIN_DRAWS:
                yield *names, array.metrics[e], len(value_S), float(np.sqrt(variance(value_S)))


ANY = "*"  # whichever methods


def needed(pairs: pd.DataFrame, settings: AnalysisSettings) -> pd.DataFrame:
    """Make rows of power.csv: one per model, metric and kind; n the fewest draws of any pair."""
    target, power = settings.better_from, settings.power
    of_kind = {
        "method": (pairs_needed(target, power), pairs_show),
        "dataset": (draws_needed(target, power), draws_show),
    }
    rows: list[dict] = []
    own = pairs[pairs["prob_better"].notna()]
    fewest = own.groupby(["model", "metric", "kind"], sort=False).agg(n=("n", "min")).reset_index()
    for row in fewest.to_dict("records"):
        seeds, show = of_kind[row["kind"]]
        row |= {"goal": "superiority", "method": ANY, "against": ANY, "dataset": ""}
        rows.append(row | {"target": target, "seeds": seeds, "now": show(int(row["n"]), power)})
    return pd.DataFrame(rows)
