"""Every method x dataset x metric over its calibration seeds, with the uncertainty of each number.

`summary_table` (summary.csv): mean, SD and their 95 % intervals, extremes, and what dense scores.
`uncertainty_table` (uncertainty.csv): what moves a score, draws beside items, with the intervals

    same_*    of the mean over draws, on this benchmark's items     ybar -+ h,  h = t s / sqrt(n)
    new_*     the same on new items of the same kind      ybar -+ sqrt(h^2 + (1.96 item_se)^2)
    draw_*    where the score of one more draw will lie, on the same items
    worst     the worst draw seen; a user of the method gets one draw, not the mean
    q05       the 5 % quantile on the worse side: of n draws the ceil(n / 20)-th worst
    cvar05    mean of the worst 5 %: of the n / 20 worst draws, the last of them in part

The worst 5 % of up to 20 draws are the worst one: all three are equal. The worst is the worse the
more draws there are; `draw_lo..draw_hi`, for normal draws, is not.

The interval of an SD is chi-squared's; where draws have heavy tails it counts fewer degrees of
freedom (`inference.heavy_tails`), and the row has a note.

item_se is the root mean square of the records' standard errors over items: of one compressed model,
so for the mean of several it is slightly too large, and new_* slightly too wide.

Means and SDs are of the scores as recorded, also of perplexities.

    recovery               mean / dense, where more is better; of a perplexity dense / mean, the
                           likelihood of a token relative to dense (geometric mean over tokens)
    recovery_above_chance  (mean - chance) / (dense - chance): of four choices one in four is right
                           by guessing, so a model that has lost everything recovers 0, not a third;
                           where chance is known and dense is above it by two standard errors
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.heavy_tails import CAUTION, sample_inflation
from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.inference.sample import worst_draws
from calib_sweep.analysis.inference.typed_scipy import normal_isf
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.names import Naming

NAMES = ["model", "method", "dataset", "metric"]
SUMMARY_COLUMNS = [
    *NAMES,
    *("n", "mean", "mean_lo", "mean_hi", "sd", "sd_lo", "sd_hi", "min", "max"),
    *("dense", "drop", "chance", "recovery", "recovery_above_chance"),
]
UNCERTAINTY_COLUMNS = [
    *NAMES,
    *("n", "mean", "sd", "draw_se", "item_se", "same_lo", "same_hi", "new_lo", "new_hi"),
    *("draw_lo", "draw_hi", "worst", "q05", "cvar05"),
]


def summary_table(groups: Sequence[Group], naming: Naming) -> pd.DataFrame:
    """Make summary.csv, a row per group, and a note where there is no interval."""
    table = _described(groups, naming)
    n, mean, sd = (table[name].to_numpy(float) for name in ("n", "mean", "sd"))
    table["mean_lo"], table["mean_hi"] = intervals.mean_interval(mean, sd, n)
    inflation = np.array([sample_inflation(group.value_S) for group in groups])
    table["sd_lo"], table["sd_hi"] = intervals.sd_interval(sd, n, inflation)
    table["chance"] = [group.kind.chance for group in groups]
    table["recovery"] = [group.recovery for group in groups]
    table["recovery_above_chance"] = [group.recovery_above_chance for group in groups]
    table["note"] = [_note(*own) for own in zip(groups, inflation, strict=True)]
    return table.reindex(columns=[*SUMMARY_COLUMNS, "note"])


def uncertainty_table(groups: Sequence[Group], naming: Naming) -> pd.DataFrame:
    """Make uncertainty.csv, a row per group of several draws."""
    groups = [group for group in groups if group.spread.n > 1]
    table = _described(groups, naming)
    n, mean, sd = (table[name].to_numpy(float) for name in ("n", "mean", "sd"))
    item_se = np.array([_root_mean_square(group.stderr_S) for group in groups])
    table["item_se"], table["draw_se"] = item_se, sd / np.sqrt(n)
    table["same_lo"], table["same_hi"] = intervals.mean_interval(mean, sd, n)
    half = np.hypot(mean - table["same_lo"], normal_isf(intervals.TAIL) * item_se)
    table["new_lo"], table["new_hi"] = mean - half, mean + half
    table["draw_lo"], table["draw_hi"] = intervals.next_draw_interval(mean, sd, n)
    worst = [worst_draws(group.value_S, group.kind.direction) for group in groups]
    table[["worst", "q05", "cvar05"]] = np.array(worst, dtype=float).reshape(-1, 3)
    return table.reindex(columns=UNCERTAINTY_COLUMNS)


def _described(groups: Sequence[Group], naming: Naming) -> pd.DataFrame:
    """Return names and plain numbers of each group."""
    rows = []
    for group in groups:
        names, spread = naming.of(group), group.spread
        labels = [names.model, names.method, names.dataset or "", group.metric]
        numbers = [spread.n, spread.mean, spread.sd, spread.min, spread.max]
        rows.append([*labels, *numbers, group.dense, group.drop])
    columns = [*NAMES, "n", "mean", "sd", "min", "max", "dense", "drop"]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def _root_mean_square(stderr_S: np.ndarray) -> float:
    known_S = stderr_S[np.isfinite(stderr_S)]
    return float(np.sqrt(np.mean(known_S**2))) if known_S.size else np.nan


def _note(group: Group, inflation: float) -> str:
    if group.dataset is None:
        return ""  # reads no data: one value stands for all draws
    if not np.isfinite(group.value_S).all():
        return "a score is not finite: no SD, no interval"
    if group.spread.n < MIN_DRAWS:
        return f"{group.spread.n} of at least {MIN_DRAWS} seeds: no interval"
    return CAUTION if inflation > 1 else ""
