"""Controls as a table: what must not move, what is not there, and what was found.

cells with scores   done, of all that there should be
no data             a method that reads no data has the same scores in every repetition
replicate           SD of repetitions over SD of draws; above MAX_NOISE the machine, not the
                    data, may be what moves
the draw matters    a method that reads data does not score the same on every draw: if all its
                    scores are equal, the data did not reach it
all pairs           methods with their settings are few enough to meet each other, all of them
complete draws      methods are ranked on the draws that all of them have: three or more of each
                    dataset; else they are not ranked there, nor over all datasets
calibration sets    paired cells read the same tokens, different seeds did not
heavy tails         scores that stand out of their draws, see tails.csv
REML and ANOVA      two ways to the same variance components, far apart only in broken designs
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.scores.arrays import ALL, MAX_METHODS, ScoreArray
from calib_sweep.analysis.scores.table import Row
from calib_sweep.analysis.tables.controls import count_cells
from calib_sweep.analysis.tables.missing import MISSING

MAX_NOISE = 0.25  # of the SD over draws
MAX_APART = 0.1  # of the sum of the components
COLUMNS = [
    *("control", "model", "method", "metric", "value", "limit", "verdict", "detail"),
]
ALL_PAIRS = "all pairs"
OK, LOOK = "ok", "look"


def control_table(
    rows: Sequence[Row],
    arrays: Sequence[ScoreArray],
    tables: Mapping[str, pd.DataFrame],
    set_problems: Sequence[str],
) -> pd.DataFrame:
    """Make controls.csv from rows, score arrays and the other tables of the analysis."""
    found = [*_cells(rows, tables["missing"])]
    for array in arrays:
        found += [
            *_no_data(array),
            *_draw_matters(array),
            *_all_pairs(array),
            *_complete_draws(array),
        ]
    found += _replicates(tables["variance_components"])
    found += [_row("calibration sets", verdict=LOOK, detail=problem) for problem in set_problems]
    found += _outliers(tables["tails"])
    found += _reml_beside_anova(tables["variance_components"])
    return pd.DataFrame(found, columns=pd.Index(COLUMNS))


def _row(control: str, **fields: object) -> dict[str, object]:
    return {"model": "", "method": "", "metric": "", "control": control, **fields}


def _cells(rows: Sequence[Row], missing: pd.DataFrame) -> Iterator[dict[str, object]]:
    count = count_cells(rows)
    num_never = missing["status"].tolist().count(MISSING)
    counts = {
        "failed": count.failed,
        "unfinished": count.unfinished,
        "never run": num_never,
    }
    detail = ", ".join(f"{num} {word}" for word, num in counts.items() if num)
    left_out = {"superseded": count.superseded, "contained in others": count.contained}
    told = [f"{num} {word}" for word, num in left_out.items() if num]
    detail = ", ".join([*filter(None, [detail]), *told])
    all_there = not any(counts.values())
    yield _row(
        "cells with scores",
        value=count.done,
        limit=count.total + num_never,
        verdict=OK if all_there else LOOK,
        detail=detail,
    )


def _no_data(array: ScoreArray) -> Iterator[dict[str, object]]:
    """Check that methods without data score the same in every repetition."""
    for m in np.flatnonzero(~array.reads_data_M):
        if not array.value_MDSRE[m].size:
            continue
        value_RE = array.value_MDSRE[m, 0, 0]
        value_RE = value_RE[~np.isnan(value_RE).all(axis=1)]
        moved = float(np.nanmax(np.ptp(value_RE, axis=0))) if len(value_RE) > 1 else 0.0
        detail = f"{len(value_RE)} repetitions" if len(value_RE) > 1 else "one cell for all draws"
        yield _row(
            "no data",
            model=array.model,
            method=array.methods[m].method,
            value=moved,
            limit=0.0,
            verdict=OK if moved == 0 else LOOK,
            detail=detail,
        )


def _draw_matters(array: ScoreArray) -> Iterator[dict[str, object]]:
    for m in np.flatnonzero(array.reads_data_M):
        names = {"model": array.model, "method": array.methods[m].method}
        value_DSE = array.value_MDSE[m]
        scored_DS = ~np.isnan(value_DSE).all(axis=2)
        several_D = scored_DS.sum(1) > 1
        if not several_D.any():
            continue
        still = [
            dataset
            for dataset, value_SE, scored_S in zip(
                array.datasets, value_DSE, scored_DS, strict=True
            )
            if scored_S.sum() > 1 and (value_SE[scored_S] == value_SE[scored_S][0]).all()
        ]
        detail = f"every score is the same on all draws of {', '.join(still)}" if still else ""
        verdict = LOOK if still else OK
        yield _row(
            "the draw matters", **names, value=len(still), limit=0, verdict=verdict, detail=detail
        )


def _all_pairs(array: ScoreArray) -> Iterator[dict[str, object]]:
    if array.is_wide:
        yield _row(
            ALL_PAIRS,
            model=array.model,
            value=len(array.methods),
            limit=MAX_METHODS,
            verdict=LOOK,
            detail=f"{len(array.methods)} methods and settings are too many to compare all pairs: "
            "only those with the same settings are compared, and none is ranked",
        )


def _complete_draws(array: ScoreArray) -> Iterator[dict[str, object]]:
    """Find datasets of which a method has enough draws, and all methods have too few."""
    has_MDS = (array.cell_ids_MDSR != "").any(axis=3)
    for draw in array.draws:
        has_own_MDS = has_MDS[array.drawn_with(draw)]
        num_shared_D = has_own_MDS.all(axis=0).sum(axis=1)
        is_lacking_D = (has_own_MDS.sum(axis=2).max(axis=0) >= MIN_DRAWS) & (
            num_shared_D < MIN_DRAWS
        )
        found = zip(np.array(array.datasets)[is_lacking_D], num_shared_D[is_lacking_D], strict=True)
        lacking = ", ".join(f"{dataset} has {num}" for dataset, num in found)
        if lacking:
            yield _row(
                "complete draws",
                model=array.model,
                method=f"{ALL} {draw}".rstrip(),
                value=int(num_shared_D[is_lacking_D].min()),
                limit=MIN_DRAWS,
                verdict=LOOK,
                detail=f"not ranked, as draws that all methods have are too few: {lacking}",
            )


def _replicates(components: pd.DataFrame) -> Iterator[dict[str, object]]:
    keys = ["model", "method", "metric"]
    sd = components.pivot_table(
        index=keys, columns="component", values="sd", aggfunc="first", sort=False, dropna=False
    )
    if "replicate" not in sd:
        return
    both = sd.loc[sd["replicate"].notna(), ["draw", "replicate"]]
    for own in both.reset_index().to_dict("records"):
        of_draw, noise = float(own["draw"]), float(own["replicate"])
        ratio = noise / of_draw if of_draw > 0 else (0.0 if noise == 0 else np.inf)
        yield _row(
            "replicate",
            **{key: own[key] for key in keys},
            value=ratio,
            limit=MAX_NOISE,
            verdict=OK if ratio <= MAX_NOISE else LOOK,
            detail=f"SD of repetitions {noise:.3g}, of draws {of_draw:.3g}",
        )


def _outliers(outliers: pd.DataFrame) -> Iterator[dict[str, object]]:
    if outliers.empty:
        yield _row("heavy tails", value=0, limit=0, verdict=OK, detail="")
    for _, own in outliers.groupby(["model", "method"], sort=False):
        whys = own["why"].value_counts(sort=False)
        detail = ", ".join(f"{num} {why}" for why, num in whys.items())
        yield _row(
            "heavy tails",
            model=own["model"].iloc[0],
            method=own["method"].iloc[0],
            value=len(own),
            limit=0,
            verdict=LOOK,
            detail=detail,
        )


def _reml_beside_anova(components: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Compare the two where analysis of variance finds no negative component."""
    own = components.loc[components["variance"].notna()]
    for model, rows in own.groupby("model", sort=False):
        groups = rows.groupby(["method", "metric"], sort=False)
        is_feasible = groups["anova"].transform("min") >= 0
        total = groups["variance"].transform("sum")
        apart = ((rows["variance"] - rows["anova"]).abs() / total).where(is_feasible & (total > 0))
        largest = float(apart.max()) if apart.notna().any() else 0.0
        yield _row(
            "REML and ANOVA",
            model=model,
            value=largest,
            limit=MAX_APART,
            verdict=OK if largest <= MAX_APART else LOOK,
            detail="largest difference of a share of variance",
        )
