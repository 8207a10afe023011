"""From the numbers of a comparison to a word, and the correction for making many of them.

a better, b better              the mean difference is shown, and P(better) may be large
a slightly better, b slightly   it is shown, but P(better) is below `better_from`, or not even above
                                1/2 as it was seen: on many draws the other one wins
not shown                       the draws alone could have done it; see `mde`
equal                           no pair differs at all
too few draws                   fewer than three (of all datasets: less than two df)
not finite                      a score is infinite: no mean, no interval; see prob_better
no direction                    it is not known whether more of this metric is better
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.intervals import LEVEL, MIN_DRAWS
from calib_sweep.analysis.inference.multiplicity import bh_corrected, holm_corrected
from calib_sweep.analysis.settings import AnalysisSettings

NO_WIDTH = "the same difference on every draw: its interval has no width, other draws may differ"
ONE_SPREAD = f"a dataset has fewer than {MIN_DRAWS} pairs: taken to vary as the others do, or more"


def with_verdicts(
    table: pd.DataFrame, columns: Sequence[str], settings: AnalysisSettings
) -> pd.DataFrame:
    """Add corrected p-values, verdicts and notes to `table`; `columns` first."""
    extra = ["sd_diff", "df", "p_t", "note"]
    if table.empty:
        return pd.DataFrame(columns=pd.Index([*columns, *extra]))
    p = table["p"].to_numpy(float)
    method = table.get("method", "")
    families = [table["model"], method, table["metric"], table["kind"], table["dataset"] == ""]
    families = pd.concat([pd.Series(f, index=table.index) for f in families], axis=1)
    holm = np.full(len(p), np.nan)
    for places in families.groupby(list(families.columns)).indices.values():
        holm[places] = holm_corrected(p[places])
    table = table.assign(
        p_holm=holm,
        p_bh=bh_corrected(p),
        verdict=_verdicts(table, settings.better_from),
        note=_notes(table),
    )
    return table.reindex(columns=[*columns, *extra])


def _verdicts(table: pd.DataFrame, better_from: float) -> np.ndarray:
    numbers = {name: table[name].to_numpy(float) for name in ("lo", "hi", "mean_diff")}
    sign = table["direction"].to_numpy()
    share, low, high = (table[f"prob_{end}"].to_numpy(float) for end in ("better", "lo", "hi"))
    is_shown = (numbers["lo"] > 0) | (numbers["hi"] < 0)
    a_wins, b_wins = (is_shown & (s * sign * numbers["mean_diff"] > 0) for s in (1, -1))
    return np.select(
        [
            sign == 0,
            ~table["is_finite"].to_numpy(bool),
            np.isnan(numbers["lo"]),
            (table["sd_diff"].to_numpy(float) == 0) & (numbers["mean_diff"] == 0),
            a_wins & (share > 0.5) & (high > better_from),
            a_wins,
            b_wins & (share < 0.5) & (low < 1 - better_from),
            b_wins,
        ],
        [
            "no direction",
            "not finite",
            "too few draws",
            "equal",
            "a better",
            "a slightly better",
            "b better",
            "b slightly better",
        ],
        "not shown",
    )


def _notes(table: pd.DataFrame) -> np.ndarray:
    n = table["n_pairs"].to_numpy(int)
    smallest = 2.0 ** (1 - np.minimum(n, 60))
    is_paired = (table["kind"] == "method").to_numpy()
    cannot = is_paired & (smallest > 1 - LEVEL) & np.isfinite(table["p"].to_numpy(float))
    ends = zip(n, smallest, strict=True)
    text = [f"{num} pairs: p cannot be below {least:.3g}" for num, least in ends]
    is_width_0 = (table["sd_diff"] == 0) & (table["mean_diff"] != 0) & np.isfinite(table["lo"])
    fewest = table.groupby(["model", "metric", "a", "b"])["n_pairs"].transform("min")
    has_few = is_paired & (fewest.to_numpy(int) < MIN_DRAWS) & (table["dataset"] == "")
    kinds = [(cannot, text), (is_width_0, NO_WIDTH), (has_few & table["lo"].notna(), ONE_SPREAD)]
    notes = zip(*(np.where(is_so, words, "") for is_so, words in kinds), strict=True)
    return np.array(["; ".join(filter(None, own)) for own in notes], dtype=object)
