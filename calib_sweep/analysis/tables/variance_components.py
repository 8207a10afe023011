"""Variance components: how much of a score's variance is dataset, draw, method, repetition.

    one method          y = mu + dataset + draw (in dataset) + replicate
    all methods ("*")   y = mu + method + dataset + method:dataset + draw + method:draw

All are taken as random: the datasets stand for corpora one might use, the methods for methods. Two
methods meet on the same calibration sets, so the draw has a part that they share (`draw`) and one
of its own for each (`method:draw`). Without replicates `draw` of one method contains the machine.

`variance` is by restricted maximum likelihood (never negative), `anova` by analysis of variance;
in complete designs the two are equal wherever the latter is not negative. Intervals: `anova`.

    share   of the sum of the components
    icc     correlation of two scores that share this level and what it lies in, and nothing else

`draw` is the mean over the datasets, `method:draw` the mean over the methods of each one's own
variance. Where draws have heavy tails, or do not all spread alike, the intervals of both are wider
and say so (`inference.heavy_tails`).

A component with one degree of freedom (that of two datasets, say) has no interval; one that cannot
be told apart (one dataset) has no number; a score that is not finite, or has diverged, is left out.
`note` says so.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.anova import MIN_DF, is_whole
from calib_sweep.analysis.inference.heavy_tails import CAUTION
from calib_sweep.analysis.inference.variance_components import (
    Components,
    crossed_components,
    nested_components,
)
from calib_sweep.analysis.scores.arrays import ALL, ScoreArray, equally_complete
from calib_sweep.analysis.settings import AnalysisSettings

COLUMNS = [
    *("model", "method", "metric", "component"),
    *("variance", "sd", "sd_lo", "sd_hi", "share", "icc"),
]

LACKING = {
    "dataset": "one dataset: what lies between datasets cannot be seen",
    "method:dataset": "one dataset: what lies between datasets cannot be seen",
}
UNLIKE = "methods move differently far, or draws have heavy tails: the interval is wider"
LEFT_OUT = "leaves out scores that are not finite or have diverged"
ONE_SEED = "one seed in each dataset: dataset and draw cannot be told apart"


def variance_table(arrays: Sequence[ScoreArray], settings: AnalysisSettings) -> pd.DataFrame:
    """Make variance_components.csv, with `df`, `anova` and `note` besides."""
    rows: list[dict[str, object]] = []
    for array in arrays:
        for m, names in enumerate(array.methods):
            if names.dataset is not None:
                rows += _of_one(array, m, settings)
        for draw in array.draws:
            rows += _across(array, draw, settings)
    return pd.DataFrame(rows, columns=pd.Index([*COLUMNS, "df", "anova", "note"]))


def _of_one(array: ScoreArray, m: int, settings: AnalysisSettings) -> list[dict[str, object]]:
    """Decompose one method, metric by metric: cells may lack some of the scores."""
    rows: list[dict[str, object]] = []
    for metrics in equally_complete(array.lasting_MDSRE[[m]]):
        value = array.lasting_MDSRE[m][..., metrics]
        keys = {"model": array.model, "method": array.methods[m].method}
        named = [array.metrics[e] for e in metrics]
        left_out_E = [_infinite(num) for num in np.isinf(value).sum(axis=(0, 1, 2))]
        rows += _rows(keys, named, nested_components(value), settings, left_out_E)
    return rows


def _across(array: ScoreArray, draw: str, settings: AnalysisSettings) -> list[dict[str, object]]:
    methods = array.drawn_with(draw)
    rows: list[dict[str, object]] = []
    for metrics in equally_complete(array.lasting_MDSE[methods]):
        value = array.lasting_MDSE[methods][..., metrics]
        num_infinite_E = np.isinf(value).sum(axis=(0, 1, 2))
        value = value[np.isfinite(value[..., 0]).any(axis=(1, 2))]
        complete_DS = is_whole(value, axis=(0, 3))
        if len(value) < 2 or complete_DS.sum() < 2:
            continue
        keys = {"model": array.model, "method": f"{ALL} {draw}" if draw else ALL}
        incomplete = _incomplete(value, complete_DS)
        left_out_E = [_joined(incomplete, _infinite(num)) for num in num_infinite_E]
        named = [array.metrics[e] for e in metrics]
        rows += _rows(keys, named, crossed_components(value), settings, left_out_E)
    return rows


def _incomplete(value_MDSE: np.ndarray, complete_DS: np.ndarray) -> str:
    """Say which draws enter the interval only in part, or neither number nor interval."""
    scored_DS = np.asarray(np.isfinite(value_MDSE[..., 0]).any(axis=0))
    has_complete_D = np.asarray(complete_DS.any(axis=1))
    notes: list[str] = []
    alone = int((scored_DS.any(axis=1) & ~has_complete_D).sum())
    if has_complete_D.sum() == 1 and alone:
        others = "1 other is" if alone == 1 else f"{alone} others are"
        notes.append(f"one dataset has draws that every method has: {others} left out")
        scored_DS = scored_DS & has_complete_D[:, None]
    left_out = int((scored_DS & ~complete_DS).sum())
    if left_out:
        notes.append(f"the interval leaves out draws that not every method has: {left_out}")
    return _joined(*notes)


def _infinite(num: int) -> str:
    return f"{LEFT_OUT}: {num}" if num else ""


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _rows(
    keys: Mapping[str, str],
    metrics: Sequence[str],
    components: Components,
    settings: AnalysisSettings,
    left_out_E: Sequence[str],
) -> Iterator[dict[str, object]]:
    """Make a row per metric and component; numbers only where draws are told from datasets."""
    anova = components.anova
    ends = components.sd_interval(settings.seed, settings.num_resamples)
    df = dict(zip(anova.names, anova.df_L, strict=True))
    inflation = dict(zip(anova.names, anova.inflation_LE, strict=True))
    by_anova = dict(zip(anova.names, anova.estimate(), strict=True))
    known, shares, icc = components.known(), components.shares(), components.icc()
    for e, metric in enumerate(metrics):
        for name in components.sharing:
            row = {**keys, "metric": metric, "component": name, "df": df.get(name, 0)}
            if name not in known:
                lacking = LACKING if df["draw"] > 0 else {}
                yield {**row, "note": lacking.get(name, ONE_SEED)}
                continue
            low, high = (end_E[e] for end_E in ends[name])
            note = _note(name, df[name], by_anova[name][e], high, inflation[name][e])
            yield row | {
                "variance": known[name][e],
                "sd": np.sqrt(known[name][e]),
                "sd_lo": low,
                "sd_hi": high,
                "share": shares[name][e],
                "icc": icc[name][e],
                "anova": by_anova[name][e],
                "note": _joined(note, left_out_E[e]),
            }


def _note(name: str, df: float, anova: float, high: float, inflation: float) -> str:
    if df < MIN_DF:
        return f"{name} has {df:.0f} degree of freedom: no interval"
    if anova < 0 and high == 0:
        return "the scores differ less than chance alone would have it: read 0..0 as small"
    if name == "method:draw":  # 1.1 is seen in every other sweep of methods that are alike
        return UNLIKE if inflation > 1.5 else ""
    return CAUTION if inflation > 1 else ""
