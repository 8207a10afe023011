"""Seeds needed: to show a difference, to narrow an interval, to show that one is better."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.intervals import LEVEL, MIN_DRAWS, TAIL
from calib_sweep.analysis.inference.power import (
    KNOWN,
    seeds_for_difference,
    seeds_for_half_width,
    smallest_detectable,
)
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
from calib_sweep.analysis.tables.claims import METHODS, NEW_DATASET, SWEEP
from calib_sweep.analysis.tables.comparisons import UNPAIRED

COLUMNS = [
    *("model", "metric", "goal", "kind", "method", "against", "dataset", "num_datasets", "n", "sd"),
    *("now", "target", "power", "alpha", "seeds", "seeds_lo", "seeds_hi"),
]
POOLED = ""  # the dataset of a pair on all datasets together
PAIR = ["model", "metric", "method", "against"]
# Goals of the rows on the pair that is hardest to tell apart, on these datasets and on a new one.
OPEN, OPEN_FOR_NEW = "open", "open_for_new"


def power_table(
    arrays: Sequence[ScoreArray],
    comparisons: pd.DataFrame,
    claims: pd.DataFrame,
    settings: AnalysisSettings,
) -> pd.DataFrame:
    """Make power.csv: half_width per method; difference per pair; superiority of any pair.

    Goal `open`: of a headline score the pair of methods with the smallest difference that is not
    claimed, and as target half of that difference, or the smallest of the targets where half is
    less; `open_for_new`: the same for a dataset not seen, where `n` and `seeds` are datasets.

    Seeds are those of one dataset, of a pair of datasets in each; those of a row on all datasets
    together (`dataset` empty) are of each. `seeds` finds the difference with `analysis.power` on
    average over what the SD seen leaves open; `seeds_lo..seeds_hi` are for the ends of its
    interval. `alpha` is the level: for a claim of claims.csv its share of the sweep's 5 %. On the
    scale of the analysis: log perplexity, everything else as recorded. `*` stands for all methods.
    """
    methods, datasets = _differences_now(comparisons, claims, settings.power)
    tables = [_open(methods, claims, settings), _open_for_new(claims, settings)]
    for target in settings.targets:
        widths = _half_widths_now(arrays).assign(target=target)
        tables.append(_until_as_narrow(widths, settings.power))
        tables.append(_with_seeds(methods.assign(target=target), settings.power, is_paired=True))
        tables.append(_with_seeds(datasets.assign(target=target), settings.power, is_paired=False))
    tables.append(needed(pd.concat([methods, datasets]), settings))
    known = [table for table in tables if not table.empty]
    if not known:
        return pd.DataFrame(columns=pd.Index(COLUMNS))
    table = pd.concat(known, ignore_index=True).assign(power=settings.power)
    return table.reindex(columns=COLUMNS)


def _differences_now(
    comparisons: pd.DataFrame, claims: pd.DataFrame, power: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return pairs of methods, on each of several datasets and on all; pairs of datasets."""
    pairs = comparisons.rename(columns={"n_pairs": "n", "sd_diff": "sd"}).assign(goal="difference")
    pairs = pairs.loc[pairs["kind"].isin(["method", "dataset"])]
    of_methods = pairs["kind"] == "method"
    methods = pairs.loc[of_methods].rename(columns={"a": "method", "b": "against"})
    # Datasets that are in the mean over all of them.
    least = np.where(methods["design"] == UNPAIRED, MIN_DRAWS, 1)
    single = methods.loc[(methods["dataset"] != POOLED) & (methods["n"] >= least)]
    counts = single.groupby(PAIR, as_index=False)["n"].agg(num_datasets="size", fewest="min")
    methods = methods.merge(counts, on=PAIR, how="left")
    methods = methods.fillna({"num_datasets": 1, "fewest": 0})
    is_pooled = methods["dataset"] == POOLED
    methods = methods.assign(
        n=methods["n"].where(~is_pooled, methods["fewest"]),
        num_datasets=methods["num_datasets"].where(is_pooled, 1),
        alpha=_levels(methods, claims),
        has_twin=~is_pooled & (methods["num_datasets"] == 1),
    )
    methods = methods.loc[~methods["has_twin"]]
    datasets = pairs.loc[~of_methods].drop(columns="dataset")
    datasets = datasets.rename(columns={"a": "dataset", "b": "against"})
    sd = datasets["sd"] / np.sqrt(2)  # the variance of a difference is the sum of the two
    datasets = datasets.assign(method=ANY, sd=sd, num_datasets=2, alpha=1 - LEVEL)
    return _with_now(methods, power), _with_now(datasets, power)


def _levels(methods: pd.DataFrame, claims: pd.DataFrame) -> np.ndarray:
    """Return the level of each pair: the share that its claim has of the sweep's."""
    own = claims.loc[claims["kind"].isin(SWEEP) & claims["weight"].notna()]
    shares = own["weight"].astype(float) / own["weight"].astype(float).sum()
    of_pairs = own["kind"].isin(["methods", "methods_on"])
    names = ["model", "metric", "a", "b", "dataset"]
    share_of = dict(
        zip(
            own.loc[of_pairs, names].itertuples(index=False, name=None),
            shares[of_pairs],
            strict=True,
        )
    )
    keys = methods[[*PAIR, "dataset"]].itertuples(index=False, name=None)
    return np.array([(1 - LEVEL) * share_of.get(key, 1.0) for key in keys], dtype=float)


def _with_now(pairs: pd.DataFrame, power: float) -> pd.DataFrame:
    """Add the difference that the seeds there are would show, at the level of the pair."""
    df, half = (pairs[name].to_numpy(float) for name in ("df", "hi"))
    se = (half - pairs["mean_diff"].to_numpy(float)) / t_isf(TAIL, df)
    now = np.full(len(pairs), np.nan)
    for alpha in pairs["alpha"].unique():
        own = (pairs["alpha"] == alpha).to_numpy()
        now[own] = smallest_detectable(se[own], df[own], power, alpha)
    return pairs.assign(now=now)


def _with_seeds(pairs: pd.DataFrame, power: float, *, is_paired: bool) -> pd.DataFrame:
    """Add the seeds that find `target`: one number for what is known, and those of its ends."""
    sd, df, target, alpha = (
        pairs[name].to_numpy(float) for name in ("sd", "df", "target", "alpha")
    )
    low, high = intervals.sd_interval(sd, df + 1)
    sure = np.full(len(pairs), KNOWN)
    seeds = {name: np.full(len(pairs), np.nan) for name in ("seeds", "seeds_lo", "seeds_hi")}
    for num in pairs["num_datasets"].unique():
        own = (pairs["num_datasets"] == num).to_numpy()
        for name, of, known in (
            ("seeds", sd, df),
            ("seeds_lo", low, sure),
            ("seeds_hi", high, sure),
        ):
            seeds[name][own] = seeds_for_difference(
                of[own],
                target[own],
                power,
                is_paired=is_paired,
                num_datasets=int(num),
                known_df=known[own],
                alpha=alpha[own],
            )
    return pairs.assign(**seeds)


def _open(methods: pd.DataFrame, claims: pd.DataFrame, settings: AnalysisSettings) -> pd.DataFrame:
    """Return the pair of each model and headline score that is hardest to tell apart."""
    pooled = methods.loc[methods["dataset"] == POOLED]
    own = pooled.merge(_left_open(claims, METHODS)[PAIR], on=PAIR)
    own = own.loc[own["sd"] > 0]  # of a difference that never varied nothing can be planned
    own = _smallest(own.assign(size=own["mean_diff"].abs(), goal=OPEN), settings)
    return _with_seeds(own, settings.power, is_paired=True)


def _open_for_new(claims: pd.DataFrame, settings: AnalysisSettings) -> pd.DataFrame:
    """Return the same for a dataset not seen, of pairs that are not open on these.

    What is drawn are datasets: `n`, `seeds` and `sd` are of them.
    """
    on_these = _left_open(claims, METHODS)[PAIR].assign(is_open=True)
    own = _left_open(claims, NEW_DATASET).merge(on_these, on=PAIR, how="left")
    own = own.loc[own["is_open"].isna()]
    n, mean, high = (own[name].to_numpy(float) for name in ("n", "estimate", "hi"))
    sd = (high - mean) / t_isf(TAIL, n - 1) * np.sqrt(n)
    own = own.assign(size=np.abs(mean), sd=sd, df=n - 1, num_datasets=1).loc[sd > 0]
    own = _smallest(own.assign(goal=OPEN_FOR_NEW, kind="method", dataset=POOLED), settings)
    found = _with_seeds(own, settings.power, is_paired=True)
    return found.assign(num_datasets=found["n"])


def _left_open(claims: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the pairs of a kind that were tested and not told apart, each with its level.

    Those that no number of draws would tell apart are not open: one has diverged, or all are equal.
    """
    own = claims.loc[(claims["kind"] == kind) & claims["p"].notna()]
    weight = own["weight"].astype(float)  # of one family they add up to 1
    own = own.assign(alpha=(1 - LEVEL) * weight, method=own["a"], against=own["b"])
    is_open = (own["winner"] == "") & (own["reason"] == "")
    return own.loc[is_open, [*PAIR, "n", "estimate", "hi", "alpha"]]


def _smallest(pairs: pd.DataFrame, settings: AnalysisSettings) -> pd.DataFrame:
    """Return the smallest difference of each model and score, and half of it as the target."""
    pairs = pairs.assign(target=np.maximum(pairs["size"] / 2, min(settings.targets)))
    pairs = pairs.sort_values("size", kind="stable").drop_duplicates(["model", "metric"])
    return pairs.sort_values(["model", "metric"], kind="stable").reset_index(drop=True)


def _half_widths_now(arrays: Sequence[ScoreArray]) -> pd.DataFrame:
    """Return each method and dataset with its draws' SD and the half-width they give."""
    rows = [row for array in arrays for row in _spreads(array)]
    columns = ["model", "method", "dataset", "metric", "n", "sd"]
    table = pd.DataFrame(rows, columns=pd.Index(columns))
    n, sd = table["n"].to_numpy(float), table["sd"].to_numpy(float)
    now = t_isf(TAIL, n - 1) * sd / np.sqrt(n)
    return table.assign(
        goal="half_width", kind="", against="", num_datasets=1, alpha=1 - LEVEL, df=n - 1, now=now
    )


def _until_as_narrow(widths: pd.DataFrame, power: float) -> pd.DataFrame:
    """Add the seeds until the half-width is `target`, and those for the ends of the SD."""
    sd, df = (widths[name].to_numpy(float) for name in ("sd", "df"))
    target = float(widths["target"].iloc[0]) if len(widths) else np.nan
    low, high = intervals.sd_interval(sd, df + 1)
    return widths.assign(
        seeds=seeds_for_half_width(sd, target, power, df),
        seeds_lo=seeds_for_half_width(low, target),
        seeds_hi=seeds_for_half_width(high, target),
    )


def _spreads(array: ScoreArray) -> Iterator[tuple[str, str, str, str, int, float]]:
    for m, d in product(np.flatnonzero(array.reads_data_M), range(len(array.datasets))):
        value_SE = array.lasting_MDSE[m, d]
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
