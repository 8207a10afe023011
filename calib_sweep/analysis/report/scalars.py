"""A sweep in a few numbers that a tracker can chart over sweeps: scalars.json.

    mean/METRIC/MODEL/METHOD           mean score, of draws within datasets, then over datasets
    draw_sd/METRIC/MODEL/METHOD        SD over draws of one dataset
    dataset_sd/METRIC/MODEL/METHOD     SD over datasets, draws taken off
    item_se/METRIC/MODEL/METHOD        standard error over test items
    icc/METRIC/MODEL/METHOD            dataset_sd^2 / (dataset_sd^2 + draw_sd^2): how much alike two
                                       draws of one dataset are (intraclass correlation)
    seeds_needed/METRIC/MODEL/METHOD   seeds until the mean on every dataset is known to within the
                                       largest of `analysis.targets`
    seeds_open/METRIC/MODEL            seeds of each dataset that would show half of the smallest
                                       difference between two methods that is open
    num_claims/KIND, num_claims/all    rows of claims.csv that have a winner
    num_tested/all                     rows of claims.csv that were tested

Of headline scores, on the scale of the analysis (log perplexity, shares); means as recorded. What
is not known is left out: a chart with a gap is no zero. All names begin with `PREFIX`. Twelve
digits, as in the tables.
"""

import math
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.tables.claims import SWEEP

PREFIX = "analysis"
FROM_SENSITIVITY = ("draw_sd", "dataset_sd", "item_se")

Tables = Mapping[str, Frame]


def scalars(tables: Tables, words: Mapping[str, str]) -> dict[str, float]:
    """Return the numbers by name, of the headline metrics in `words`."""
    found = {
        "/".join([PREFIX, *name]): float(f"{value:.12g}")
        for name, value in [
            *_means(tables, words),
            *_of_methods(tables, words),
            *_seeds(tables, words),
            *_claims(tables),
        ]
        if value is not None and math.isfinite(value)
    }
    return dict(sorted(found.items()))


Named = Iterator[tuple[list[str], float | None]]


def _rows(tables: Tables, name: str, words: Mapping[str, str]) -> list[dict[str, Any]]:
    table = tables[name]
    return table[table["metric"].isin(list(words))].to_dict("records")


def _means(tables: Tables, words: Mapping[str, str]) -> Named:
    means: dict[tuple[str, str, str], list[float]] = {}
    for row in _rows(tables, "summary", words):
        means.setdefault((row["metric"], row["model"], row["method"]), []).append(row["mean"])
    yield from ((["mean", *place], fmean(found)) for place, found in means.items())


def _of_methods(tables: Tables, words: Mapping[str, str]) -> Named:
    for row in _rows(tables, "sensitivity", words):
        place = [row["metric"], row["model"], row["method"]]
        for name in FROM_SENSITIVITY:
            yield [name, *place], row[name]
        between, within = row["dataset_sd"] ** 2, row["draw_sd"] ** 2
        yield ["icc", *place], between / (between + within) if between + within > 0 else None


def _seeds(tables: Tables, words: Mapping[str, str]) -> Named:
    rows = _rows(tables, "power", words)
    widths = [row for row in rows if row["goal"] == "half_width"]
    largest = max((row["target"] for row in widths), default=math.nan)
    needed: dict[tuple[str, str, str], float] = {}
    for row in widths:
        if row["target"] == largest:
            place = (row["metric"], row["model"], row["method"])
            needed[place] = max(needed.get(place, 0.0), row["seeds"])
    yield from ((["seeds_needed", *place], seeds) for place, seeds in needed.items())
    for row in rows:
        if row["goal"] == "open":
            yield ["seeds_open", row["metric"], row["model"]], row["seeds"]


def _claims(tables: Tables) -> Named:
    claims = tables["claims"]
    own = claims[claims["kind"].isin(SWEEP)]
    for kind in dict.fromkeys(own["kind"]):
        yield ["num_claims", kind], float(((own["kind"] == kind) & (own["winner"] != "")).sum())
    yield ["num_claims", "all"], float((own["winner"] != "").sum())
    yield ["num_tested", "all"], float(own["p"].notna().sum())
