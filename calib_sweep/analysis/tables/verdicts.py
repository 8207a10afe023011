"""From the numbers of a comparison to a word, and the correction for making many of them.

a better, b better              the mean difference is shown, and P(better) may be large
a slightly better, b slightly   it is shown, but P(better) is below `better_from`, or not even above
                                1/2 as it was seen: on many draws the other one wins
not shown                       the draws alone could have done it; see `mde`
equal                           no pair differs at all
too few draws                   fewer than three (of all datasets: less than two df)
not finite                      too few are left, as scores are not finite or diverged
ahead but diverged              the one that is ahead on the other draws has diverged on some
no direction                    it is not known whether more of this metric is better

Shown: `p_holm` is below 5 %. `reason` says why nothing can be claimed; `times`: by how much the
smallest p of a row is corrected.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.inference.intervals import LEVEL, MIN_DRAWS
from calib_sweep.analysis.inference.multiplicity import bh_corrected, holm_corrected
from calib_sweep.analysis.settings import AnalysisSettings

NO_WIDTH = "the same difference on every draw: its interval has no width, other draws may differ"
ONE_SPREAD = f"a dataset has fewer than {MIN_DRAWS} pairs: taken to vary as the others do, or more"
EXTRA = ["sd_diff", "df", "reason", "note", "direction", "times"]
WITHOUT = {  # reason -> verdict
    "no direction": "no direction",
    "not finite": "not finite",
    "too few draws": "too few draws",
    "equal on every draw": "equal",
}
CLAIMED = ("methods", "methods_on", "datasets")  # kinds of claims.csv that are rows of comparisons
ROW = ["model", "metric", "method", "a", "b", "dataset"]


def with_verdicts(table: Frame, columns: Sequence[str], settings: AnalysisSettings) -> Frame:
    """Add corrected p-values, verdicts and notes to `table`; `columns` first."""
    if table.empty:
        return pd.DataFrame(columns=pd.Index([*columns, *EXTRA]))
    families = [table["model"], table["metric"], table["kind"], table["dataset"] == ""]
    families = pd.concat(families, axis=1)
    p = table["p"].to_numpy(float)
    holm, times = np.full(len(p), np.nan), np.ones(len(p))
    for places in families.groupby(list(families.columns)).indices.values():
        holm[places] = holm_corrected(p[places])
        times[places] = np.isfinite(p[places]).sum()
    table = table.assign(reason=_reasons(table), p_holm=holm, p_bh=bh_corrected(p), times=times)
    return _judged(table, settings).reindex(columns=[*columns, *EXTRA])


def with_claims(table: Frame, claims: Frame, settings: AnalysisSettings) -> Frame:
    """Correct the rows that claims.csv has for everything that the sweep may claim."""
    known = claims[claims["kind"].isin(CLAIMED)].set_index(ROW)
    rows = table.assign(method=table.get("method", ""))
    if table.empty or known.empty:
        return table
    # On the only dataset of a pair the row of all datasets is the same test.
    places = [pd.MultiIndex.from_frame(of[ROW]) for of in (rows, rows.assign(dataset=""))]
    found = [known[["p_sweep", "weight"]].reindex(place).to_numpy(float) for place in places]
    p_sweep, weight = np.where(np.isnan(found[0]), found[1], found[0]).T
    is_claimed = (rows["kind"] == "method").to_numpy() | (rows["method"] != "").to_numpy()
    is_claimed &= np.isfinite(p_sweep)
    table = table.assign(p_holm=np.where(is_claimed, p_sweep, table["p_holm"]))
    times = np.where(is_claimed, 1 / weight, table["times"])
    return _judged(table.assign(times=times), settings)


def _judged(table: Frame, settings: AnalysisSettings) -> Frame:
    return table.assign(
        verdict=_verdicts(table, settings.better_from), note=_notes(table, settings)
    )


def _reasons(table: Frame) -> np.ndarray:
    """Say why there is no verdict; "" where there is one."""
    numbers = {name: table[name].to_numpy(float) for name in ("lo", "mean_diff", "sd_diff")}
    sign, lost = table["direction"].to_numpy(), table[["lost_a", "lost_b"]].to_numpy(int)
    gain = sign * numbers["mean_diff"]
    a, b = (
        [f"{name}, ahead on the other draws, has diverged on {num}" for name, num in own]
        for own in (zip(table[of], table[f"lost_{of}"], strict=True) for of in ("a", "b"))
    )
    is_unknown = np.isnan(numbers["lo"])
    return np.select(
        [
            sign == 0,
            is_unknown & (lost.sum(1) > 0),
            is_unknown,
            (numbers["sd_diff"] == 0) & (numbers["mean_diff"] == 0),
            (gain > 0) & (lost[:, 0] > 0),
            (gain < 0) & (lost[:, 1] > 0),
        ],
        [*WITHOUT, a, b],
        "",
    ).astype(object)


def _verdicts(table: Frame, better_from: float) -> np.ndarray:
    sign, mean = table["direction"].to_numpy(), table["mean_diff"].to_numpy(float)
    share, low, high = (table[f"prob_{end}"].to_numpy(float) for end in ("better", "lo", "hi"))
    reason = table["reason"].to_numpy(object)
    is_shown = table["p_holm"].to_numpy(float) < 1 - LEVEL
    a_wins, b_wins = (is_shown & (s * sign * mean > 0) for s in (1, -1))
    return np.select(
        [
            np.isin(reason, list(WITHOUT)),
            (a_wins | b_wins) & (reason != ""),
            a_wins & (share > 0.5) & (high > better_from),
            a_wins,
            b_wins & (share < 0.5) & (low < 1 - better_from),
            b_wins,
        ],
        [
            np.array([WITHOUT.get(of, "") for of in reason], dtype=object),
            "ahead but diverged",
            "a better",
            "a slightly better",
            "b better",
            "b slightly better",
        ],
        "not shown",
    )


def _notes(table: Frame, settings: AnalysisSettings) -> np.ndarray:
    n, times = table["n_pairs"].to_numpy(int), table["times"].to_numpy(float)
    is_paired = (table["design"] == "paired").to_numpy()
    flips = {
        (num, paired): _smallest(num, paired, settings)
        for num, paired in zip(n, is_paired, strict=True)
    }
    smallest = np.array([flips[own] for own in zip(n, is_paired, strict=True)])
    corrected = np.minimum(times * smallest, 1.0)
    cannot = (corrected > 1 - LEVEL) & np.isfinite(table["p_flip"].to_numpy(float))
    ends = zip(n, smallest, corrected, is_paired, strict=True)
    text = [
        f"{num} {'pairs' if paired else 'draws'}: p_flip cannot be below {least:.3g}, corrected "
        f"{most:.3g}"
        for num, least, most, paired in ends
    ]
    is_width_0 = (table["sd_diff"] == 0) & (table["mean_diff"] != 0) & np.isfinite(table["lo"])
    fewest = table.groupby(["model", "metric", "a", "b"])["n_pairs"].transform("min")
    has_few = is_paired & (fewest.to_numpy(int) < MIN_DRAWS) & (table["dataset"] == "")
    kinds = [(cannot, text), (is_width_0, NO_WIDTH), (has_few & table["lo"].notna(), ONE_SPREAD)]
    notes = zip(*(np.where(is_so, words, "") for is_so, words in kinds), strict=True)
    return np.array(["; ".join(filter(None, own)) for own in notes], dtype=object)


def _smallest(num: int, is_paired: bool, settings: AnalysisSettings) -> float:
    """Return the smallest p that sign flips of `num` pairs, or orders of twice as many, have."""
    if is_paired:
        return 2.0 ** (1 - min(num, 60))
    orders = math.comb(2 * num, num)
    return 2 / orders if orders <= settings.num_resamples else 1 / (1 + settings.num_resamples)
