"""Everything that a report may claim of a sweep, corrected for all of it together.

A row is a hypothesis that a sentence may be made of; a sentence that claims a difference is a row
whose `winner` is set. There is no other way to a claim.

    methods       a against b, on all these datasets together
    methods_on    a against b, on one of several datasets
    datasets      dataset a against dataset b, for one method
    spread        how far draws move a against b; estimate: log of the ratio of SDs; the winner is
                  who moves less
    loss          a method against the dense model, b
    new_dataset   a against b, for a dataset that was not seen
    equivalence   a and b lie within `analysis.equivalence` of each other, or the draws of `method`
                  do; the winner is "equal"

The first five, of the headline scores of all models, are one family: Holm at 5 % with weights.
Kind `methods` has half of the weight, the others share the rest equally; within a kind all rows
weigh the same. So in at most 5 % of sweeps in which nothing differs anything is claimed
(`inference.multiplicity`; simulated by benchmarks/claims.py). The last two are families of their
own. A `new_dataset` row has a winner only where the pair's `methods` row has the same one, or no
test, as with one draw on each dataset.

`estimate` is a - b on the scale of the analysis (log perplexity, shares); `lo..hi` is its own 95 %
interval, not corrected, and p the p of the very test that it belongs to. `p_sweep` is corrected.
`reason` says why there is no test.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.inference.intervals import LEVEL
from calib_sweep.analysis.inference.multiplicity import weighted_holm
from calib_sweep.analysis.scores.groups import direction
from calib_sweep.results.means import ACC_MEAN, PPL_MEAN

COLUMNS = [
    *("kind", "model", "metric", "method", "a", "b", "dataset", "n", "estimate", "lo", "hi"),
    *("p", "weight", "p_sweep", "winner", "reason"),
]
HEADLINE = (PPL_MEAN, ACC_MEAN)
SWEEP = ("methods", "methods_on", "datasets", "spread", "loss")  # one family
METHODS, NEW_DATASET, EQUIVALENCE, SPREAD = "methods", "new_dataset", "equivalence", "spread"
HALF = 0.5  # the weight of METHODS
TEXTS = ("method", "a", "b", "dataset", "reason")
PAIR = ["model", "metric", "a", "b"]

Tables = Mapping[str, Frame]


def claim_table(tables: Tables) -> Frame:
    """Make claims.csv of the tables that have something to claim; each of them may be lacking."""
    rows: Frame = pd.concat([_empty(), *_rows(tables)], ignore_index=True)
    rows = rows[rows["metric"].isin(HEADLINE)].reset_index(drop=True)
    rows.loc[rows["reason"] != "", "p"] = np.nan
    rows["weight"] = _weights(rows)
    rows["p_sweep"] = np.nan
    for family in (SWEEP, (NEW_DATASET,), (EQUIVALENCE,)):
        own = rows["kind"].isin(family).to_numpy()
        p, weight = (rows.loc[own, name].to_numpy(float) for name in ("p", "weight"))
        rows.loc[own, "p_sweep"] = weighted_holm(p, weight)
    rows["winner"] = _winners(rows)
    return rows.reindex(columns=COLUMNS)


def _empty() -> Frame:
    numbers = {name: float for name in ("n", "estimate", "lo", "hi", "p")}
    return pd.DataFrame({name: pd.Series(dtype=numbers.get(name, object)) for name in COLUMNS})


def _rows(tables: Tables) -> Iterator[Frame]:
    """Yield the rows of each kind that there are, without weights and winners."""
    comparisons = tables.get("comparisons", pd.DataFrame())
    if len(comparisons):
        yield from _of_methods(comparisons[comparisons["kind"] == "method"])
    for name, kind in (
        ("dataset_comparisons", "datasets"),
        ("spreads", SPREAD),
        ("losses", "loss"),
    ):
        if len(found := tables.get(name, pd.DataFrame())):
            yield _as_claims(found, kind)
    if len(found := tables.get("equivalence", pd.DataFrame())):
        yield _as_claims(found, EQUIVALENCE)


def _of_methods(comparisons: Frame) -> Iterator[Frame]:
    is_pooled = comparisons["dataset"] == ""
    yield _as_claims(comparisons[is_pooled], METHODS)
    single = comparisons[~is_pooled]
    several = single.groupby(PAIR)["dataset"].transform("size") > 1
    yield _as_claims(single[several], "methods_on")


def _as_claims(table: Frame, kind: str) -> Frame:
    """Return a table of comparisons as rows of a kind, under the names of claims.csv."""
    named = table.drop(columns=["kind", *({"p"} if "p_t" in table else ())], errors="ignore")
    called = {"n_pairs": "n", "mean_diff": "estimate", "p_t": "p"}
    named = named.rename(columns=called).assign(kind=kind)
    if kind == "loss":
        named = named.assign(a=named["method"], b="dense")
    if "verdict" in named:
        unknown = ~np.isfinite(named["p"].to_numpy(float))
        named = named.assign(reason=np.where(unknown, named["verdict"], ""))
    own = named.reindex(columns=COLUMNS).astype(dict.fromkeys(TEXTS, object))
    return own.fillna(dict.fromkeys(TEXTS, ""))


def _weights(rows: Frame) -> np.ndarray:
    """Return the weight of each row: its share of its family's level; NaN without a test."""
    kind, is_known = rows["kind"], rows["p"].notna()
    counts = kind[is_known].value_counts()
    others = [name for name in SWEEP if name in counts and name != METHODS]
    of_kind = {NEW_DATASET: 1.0, EQUIVALENCE: 1.0, METHODS: HALF if others else 1.0}
    rest = 1 - HALF if METHODS in counts else 1.0
    of_kind |= {name: rest / len(others) for name in others}
    return (kind.map(of_kind) / kind.map(counts)).where(is_known).to_numpy(float)


def _winners(rows: Frame) -> np.ndarray:
    """Name who wins each row, where its corrected p shows it; "" elsewhere."""
    signs = rows["metric"].map(direction).to_numpy(float)
    signs = np.where(rows["kind"] == SPREAD, -1.0, signs)  # less spread is better
    gain = signs * rows["estimate"].to_numpy(float)
    is_shown = rows["p_sweep"].to_numpy(float) < 1 - LEVEL
    ahead = np.select([gain > 0, gain < 0], [rows["a"], rows["b"]], "")
    ahead = np.where(rows["kind"] == EQUIVALENCE, "equal", ahead)
    winner: Frame = pd.Series(np.where(is_shown, ahead, ""), index=rows.index, dtype=object)
    is_new = rows["kind"] == NEW_DATASET
    if is_new.any():
        seen = rows[rows["kind"] == METHODS].assign(seen=winner)
        seen = seen[seen["p"].notna()].drop_duplicates(PAIR).set_index(PAIR)["seen"]
        ours = pd.MultiIndex.from_frame(rows.loc[is_new, PAIR])
        at = (
            seen.reindex(ours).to_numpy(object) if len(seen) else np.full(len(ours), np.nan, object)
        )
        own = winner[is_new].to_numpy(object)
        winner[is_new] = np.where(pd.isna(at) | (at == own), own, "")
    return winner.to_numpy(object)
