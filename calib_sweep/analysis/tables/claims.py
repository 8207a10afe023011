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
Of the weight kind `methods` has a half, `loss` a twentieth, and the others share the rest equally;
within a kind all rows weigh the same. (A twentieth: in a loss the one score of dense cancels
nothing of how skewed draws are, so t claims one of five exponential draws four times as often as it
says.)
So in at most 5 % of sweeps in which nothing differs anything is claimed
(`inference.multiplicity`; simulated by benchmarks/claims.py). The last two are families of their
own. A `new_dataset` row has a winner only where the pair's `methods` row has the same one, or no
test; then, as with one draw on each dataset, it takes its place in the family of the sweep.

`estimate` is a - b on the scale of the analysis (log perplexity, shares); `lo..hi` is its own 95 %
interval (of `equivalence` the 90 % one of two one-sided tests), not corrected, and p the p of the
very test that it belongs to. `p_sweep` is corrected.
`reason` says why nothing can be claimed: there is no test, or the one that is ahead on the other
draws has diverged on some.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.inference.intervals import LEVEL, MIN_DRAWS
from calib_sweep.analysis.inference.multiplicity import weighted_holm
from calib_sweep.analysis.metrics import OURS, Metrics

COLUMNS = [
    *("kind", "model", "metric", "method", "a", "b", "dataset", "n", "estimate", "lo", "hi"),
    *("p", "weight", "p_sweep", "winner", "reason"),
]
SWEEP = ("methods", "methods_on", "datasets", "spread", "loss")  # one family
METHODS, NEW_DATASET, EQUIVALENCE = "methods", "new_dataset", "equivalence"
SPREAD, LOSS = "spread", "loss"
SHARES = {METHODS: 0.5, LOSS: 0.05}  # of the level; the other kinds share the rest
REST = 1 - sum(SHARES.values())
TEXTS = ("method", "a", "b", "dataset", "reason")
PAIR = ["model", "metric", "a", "b"]

Tables = Mapping[str, Frame]


def claim_table(tables: Tables, known: Metrics = OURS) -> Frame:
    """Make claims.csv of the tables that have something to claim; each of them may be lacking."""
    rows = hypotheses(tables, known)
    weight, p_sweep = corrected(families(rows), rows["p"].to_numpy(float))
    rows = rows.assign(weight=weight, p_sweep=p_sweep)
    return rows.assign(winner=winners(rows, known)).reindex(columns=COLUMNS)


def hypotheses(tables: Tables, known: Metrics = OURS) -> Frame:
    """Return what may be claimed of the headline scores, each on its own."""
    rows: Frame = pd.concat([_empty(), *_rows(tables)], ignore_index=True)
    rows = rows[rows["metric"].isin(known.headlines(rows["metric"]))].reset_index(drop=True)
    return rows.assign(p=rows["p"].mask(rows["reason"] == "no direction"))


def families(rows: Frame) -> np.ndarray:
    """Return the kind that each row is corrected as [K].

    A pair that only datasets together can tell apart is tested as the pairs of methods are.
    """
    tested = rows[(rows["kind"] == METHODS) & rows["p"].notna()]
    pairs = pd.MultiIndex.from_frame(rows[PAIR])
    stands_in_K = (rows["kind"] == NEW_DATASET) & ~pairs.isin(
        pd.MultiIndex.from_frame(tested[PAIR])
    )
    return np.where(stands_in_K, METHODS, rows["kind"].to_numpy(object))


def corrected(kind_K: np.ndarray, p_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights and the corrected p of all hypotheses of a sweep; NaN without a test.

    `kind_K`: what each is corrected as, from `families`.
    """
    known_K = np.isfinite(p_K)
    num = {str(kind): int(np.sum(known_K & (kind_K == kind))) for kind in np.unique(kind_K)}
    weight_K, p_sweep_K = np.full(p_K.shape, np.nan), np.full(p_K.shape, np.nan)
    for family in (SWEEP, (NEW_DATASET,), (EQUIVALENCE,)):
        asked = [kind for kind in family if num.get(kind)]
        others = [kind for kind in asked if kind not in SHARES]
        share = {kind: SHARES.get(kind, REST / max(len(others), 1)) for kind in asked}
        for kind in asked:
            of_kind = share[kind] / sum(share.values())
            weight_K[known_K & (kind_K == kind)] = of_kind / num[kind]
        own_K = np.isin(kind_K, family)
        p_sweep_K[own_K] = weighted_holm(p_K[own_K], weight_K[own_K])
    return weight_K, p_sweep_K


def _empty() -> Frame:
    numbers = {name: float for name in ("n", "estimate", "lo", "hi", "p")}
    return pd.DataFrame({name: pd.Series(dtype=numbers.get(name, object)) for name in COLUMNS})


def _rows(tables: Tables) -> Iterator[Frame]:
    """Yield the rows of each kind that there are, without weights and winners."""
    comparisons = tables.get("comparisons", pd.DataFrame())
    if len(comparisons):
        yield from _of_methods(comparisons[comparisons["kind"] == "method"])
    compared = tables.get("dataset_comparisons", pd.DataFrame())
    if len(compared):
        yield _as_claims(compared, "datasets")
    for name, kind in (("spreads", SPREAD), ("losses", LOSS), ("equivalence", EQUIVALENCE)):
        if len(found := tables.get(name, pd.DataFrame())):
            yield _as_claims(found, kind)


def _of_methods(comparisons: Frame) -> Iterator[Frame]:
    """Yield rows of pairs of methods: on all datasets, on each of several, for another one."""
    is_pooled = comparisons["dataset"] == ""
    pooled, single = comparisons[is_pooled], comparisons[~is_pooled]
    yield _as_claims(pooled, METHODS)
    num = single.groupby(PAIR)["dataset"].transform("size")
    yield _as_claims(single[num > 1], "methods_on")
    counts = single["n_pairs"] >= np.where(single["design"] == "paired", 1, MIN_DRAWS)
    num_datasets = single[counts].groupby(PAIR).size().rename("num_datasets")
    several = pooled.merge(num_datasets[num_datasets > 1], on=PAIR)
    # Too few draws on each dataset may be enough datasets.
    reason = several["reason"].replace("too few draws", "")
    too_few = (several["num_datasets"] < MIN_DRAWS) & (reason == "")
    yield _as_claims(
        several.assign(
            n_pairs=several["num_datasets"],
            **{of: several[f"new_{of}"] for of in ("lo", "hi", "p")},
            reason=reason.mask(too_few, "fewer than three datasets"),
        ),
        NEW_DATASET,
    )


def _as_claims(table: Frame, kind: str) -> Frame:
    """Return a table of comparisons as rows of a kind, under the names of claims.csv."""
    named = table.rename(columns={"n_pairs": "n", "mean_diff": "estimate"}).assign(kind=kind)
    if kind == LOSS:
        named = named.assign(a=named["method"], b="dense")
    own = named.reindex(columns=COLUMNS).astype(dict.fromkeys(TEXTS, object))
    return own.fillna(dict.fromkeys(TEXTS, ""))


def winners(rows: Frame, known: Metrics) -> np.ndarray:
    """Name who wins each row, where its corrected p shows it; "" elsewhere."""
    directions = {metric: known.of(metric).direction for metric in set(rows["metric"])}
    signs = rows["metric"].map(directions).to_numpy(float)
    signs = np.where(rows["kind"] == SPREAD, -1.0, signs)  # less spread is better
    gain = signs * rows["estimate"].to_numpy(float)
    is_shown = (rows["p_sweep"].to_numpy(float) < 1 - LEVEL) & (rows["reason"] == "").to_numpy()
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
