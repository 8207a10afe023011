"""Which methods are equal within the margin asked for, and which do not mind the draw.

    kind methods    the difference of a and b on all these datasets lies within -margin..margin
    kind draws      the SD of a method's draws, datasets counting equally, lies below the margin

The margin is `analysis.equivalence` of the kind of metric, on the scale of the analysis: 0.005 is
half a point of accuracy, 0.01 one per cent of perplexity. `p` is of the test that belongs to the
interval (`inference.equivalence`), not corrected; lo..hi is a 90 % interval, which lies within the
margin exactly where p is below 0.05. A metric without a margin has no row.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.equivalence import (
    Equivalence,
    difference_within,
    spread_below,
    spread_of_draws,
    tail_inflation,
)
from calib_sweep.analysis.inference.intervals import TAIL
from calib_sweep.analysis.inference.typed_scipy import t_isf
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.settings import AnalysisSettings

COLUMNS = [
    *("model", "metric", "kind", "method", "a", "b", "dataset", "n", "estimate", "lo", "hi"),
    *("level", "margin", "p", "reason"),
]
LEVEL_SHOWN = 0.9  # of lo..hi
POOLED = ""


def equivalence_table(
    arrays: Sequence[ScoreArray], comparisons: pd.DataFrame, settings: AnalysisSettings
) -> pd.DataFrame:
    """Make equivalence.csv: a row per pair of methods, and one per method that reads data."""
    draws = [row for array in arrays for row in _of_draws(array, settings)]
    tables = [_of_pairs(comparisons, settings), pd.DataFrame(draws)]
    known = [table for table in tables if not table.empty]
    if not known:
        return pd.DataFrame(columns=pd.Index(COLUMNS))
    table = pd.concat(known, ignore_index=True).assign(dataset=POOLED, level=LEVEL_SHOWN)
    return table.reindex(columns=COLUMNS)


def _of_pairs(comparisons: pd.DataFrame, settings: AnalysisSettings) -> pd.DataFrame:
    pooled = (comparisons["kind"] == "method") & (comparisons["dataset"] == POOLED)
    own = comparisons.loc[pooled]
    own = own.assign(margin=own["metric"].map(settings.margin).astype(float))
    own = own.loc[own["margin"].notna()]
    mean, hi, df, margin = (
        own[name].to_numpy(float) for name in ("mean_diff", "hi", "df", "margin")
    )
    # Draws that diverged are not in the mean, and equal to none.
    mean = np.where(own["lost_a"] + own["lost_b"] > 0, np.nan, mean)
    se = (hi - mean) / t_isf(TAIL, df)
    found = difference_within(mean, se, df, margin)
    reasons = np.select(
        [
            np.isfinite(found.p),
            ~np.isfinite(mean),
            np.isnan(df),
            mean == 0,
        ],
        ["", "not finite", "too few draws", "equal on every draw"],
        "the same difference on every draw",
    )
    return pd.DataFrame(
        {
            "model": own["model"],
            "metric": own["metric"],
            "kind": "methods",
            "method": "",
            "a": own["a"],
            "b": own["b"],
            "n": own["n_pairs"],
            "estimate": mean,
            "lo": found.lo,
            "hi": found.hi,
            "margin": margin,
            "p": found.p,
            "reason": reasons,
        }
    )


def _of_draws(array: ScoreArray, settings: AnalysisSettings) -> Iterator[dict[str, object]]:
    margin_E = np.array([settings.margin(metric) for metric in array.metrics], dtype=float)
    for m in np.flatnonzero(array.reads_data_M):
        value_DSE = array.lasting_MDSE[m]
        sd_E, df_E = spread_of_draws(value_DSE)
        found = spread_below(sd_E, df_E / tail_inflation(value_DSE), margin_E)
        n_E = (~np.isnan(value_DSE)).sum(axis=(0, 1))
        for e in np.flatnonzero(np.isfinite(margin_E) & (n_E > 0)).tolist():
            yield {
                "model": array.model,
                "metric": array.metrics[e],
                "kind": "draws",
                "method": array.methods[m].method,
                "a": "",
                "b": "",
                "n": int(n_E[e]),
                "estimate": sd_E[e],
                "lo": found.lo[e],
                "hi": found.hi[e],
                "margin": margin_E[e],
                "p": found.p[e],
                "reason": _no_test(found, sd_E[e], np.isinf(value_DSE[..., e]).any(), e),
            }


def _no_test(found: Equivalence, sd: float, has_infinite: bool, e: int) -> str:
    """Say why there is no test of a method's draws; "" where there is one."""
    if np.isfinite(found.p[e]):
        return ""
    if has_infinite:
        return "not finite"
    return "equal on every draw" if sd == 0 else "too few draws"
