"""The chapters on differences: of methods, together and on each dataset; of datasets by method.

Whoever is claimed to win, or else leads, stands first: A. The number of a row is that of the
sentence and of the figure. The interval is that of the row alone; what is claimed is corrected for
all that the sweep may claim (claims.csv).
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from calib_sweep.analysis.figures import diagrams
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report import beats, columns
from calib_sweep.analysis.report.claimed import CLAIMS, Tables, models_of
from calib_sweep.analysis.report.document import Block, Bullets
from calib_sweep.analysis.report.layout import chapter, each_metric, figures_of
from calib_sweep.analysis.report.material import Material

KEYS = ["model", "metric", "a", "b", "dataset"]
OF_PAIR = ["model", "metric", "a", "b"]
DIFFERING = (
    "Methods met on the same calibration sets, so they are compared pair by pair. A is the one "
    "that is ahead: of perplexity the ratio A / B is shown, of accuracy A - B in points. The "
    "interval is that of one pair by itself; 'claimed' is corrected for all that this sweep may "
    "claim. What is not claimed is not equal: see the interval, and 'detectable'."
)
OF_DATASETS = (
    "Calibration datasets, for each method by itself: their draws are independent samples. What "
    "helps one method may harm another."
)
CAPTION = (
    "Differences with 95 % intervals; filled: claimed, corrected for the whole sweep; thin line: "
    "the interval for a new dataset."
)
AGGREGATE = (
    "Over all draws and tasks: interquartile means of what is kept of the dense accuracy, and how "
    "often one method does better than another on one draw and task."
)
NUMBERS = {"lo": "hi", "new_lo": "new_hi"}  # ends that change places when a pair is turned round


def method_pairs(tables: Tables, kind: str = "methods", known: Metrics = OURS) -> pd.DataFrame:
    """Return pairs of methods of claims.csv with all that comparisons.csv says of them."""
    own = _of_kind(tables, kind)
    if own.empty:
        return own
    new = _of_kind(tables, "new_dataset").rename(columns={"lo": "new_lo", "hi": "new_hi"})
    if kind == "methods" and not new.empty:
        own = own.merge(new[[*OF_PAIR, "new_lo", "new_hi"]], on=OF_PAIR, how="left")
    compared = tables["comparisons"]
    compared = compared[compared["kind"] == "method"]
    return _oriented(_with(own, compared, KEYS), known)


def dataset_pairs(tables: Tables, known: Metrics = OURS) -> pd.DataFrame:
    """Return pairs of datasets for each method."""
    own = _of_kind(tables, "datasets")
    compared = tables.get("dataset_comparisons")
    if own.empty or compared is None:
        return own
    keys = ["model", "metric", "method", "a", "b"]
    return _oriented(_with(own, compared, keys), known)


def _of_kind(tables: Tables, kind: str) -> pd.DataFrame:
    claims = tables.get(CLAIMS)
    if claims is None or claims.empty:
        return pd.DataFrame(columns=pd.Index([*KEYS, "method", "lo", "hi"]))
    return pd.DataFrame(claims[claims["kind"] == kind]).reset_index(drop=True)


def _with(claims: Frame, compared: Frame, keys: Sequence[str]) -> Frame:
    """Add what the table of comparisons has besides the claim."""
    more = ["prob_better", "prob_lo", "prob_hi", "mde"]
    extra = compared.drop_duplicates(list(keys)).reindex(columns=[*keys, *more])
    return claims.merge(extra, on=list(keys), how="left")


def _oriented(pairs: Frame, known: Metrics) -> pd.DataFrame:
    """Let the one that is claimed to win, or that leads, stand first, and say what is claimed."""
    sign = pairs["metric"].map(lambda metric: known.of(metric).direction)
    winner = pairs["winner"].fillna("")
    is_turned = (winner == pairs["b"]) | ((winner == "") & (sign * pairs["estimate"] < 0))
    turned = pairs.assign(a=pairs["b"], b=pairs["a"], estimate=-pairs["estimate"])
    for low, high in NUMBERS.items():
        if low in pairs:
            turned = turned.assign(**{low: -pairs[high], high: -pairs[low]})
    turned = turned.assign(
        prob_better=1 - pairs["prob_better"],
        prob_lo=1 - pairs["prob_hi"],
        prob_hi=1 - pairs["prob_lo"],
    )
    own = pairs.where(~is_turned, turned).assign(winner=winner)
    claimed = own["reason"].fillna("").where(winner == "", "yes")
    own = own.assign(claimed=claimed.where(claimed != "", "no"))
    return pd.DataFrame(own.sort_values("model", kind="stable")).reset_index(drop=True)


def of_methods(
    material: Material, tables: Tables, figures: Sequence[str], words: Mapping[str, str]
) -> list[Block]:
    """Compare methods on all datasets together, and on each."""
    pooled = method_pairs(tables, known=material.known)
    each = method_pairs(tables, "methods_on", material.known)
    caption = CAPTION
    if any(diagrams.pairs_left_out(pooled, metric) for metric in words):
        caption += (
            f" The first {diagrams.MAX_PAIRS} pairs of each model; tables/claims.csv has all."
        )
    drawn = figures_of("differences", figures, caption)
    drawn += figures_of("aggregate", figures, AGGREGATE)
    shown = each_metric(pooled, columns.COMPARISONS, material, words)
    shown += each_metric(each, columns.COMPARISONS, material, words, folded="On each dataset")
    return chapter("Which method does better", [DIFFERING], drawn, shown)


def of_datasets(material: Material, tables: Tables, words: Mapping[str, str]) -> list[Block]:
    """Compare calibration datasets, for each method."""
    shown = each_metric(
        dataset_pairs(tables, material.known),
        columns.OF_DATASETS,
        material,
        words,
        folded="Pairs of datasets for each method",
    )
    told: list[Block] = []
    models = models_of(tables)
    for model in models:
        own = list(beats.of_datasets(tables, model, words, material.known))
        lines = [f"{model}: {line}" if len(models) > 1 else line for line in own]
        told += [Bullets(lines)] if lines else []
    return chapter("Which calibration dataset does better", [OF_DATASETS], told, shown)
