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

A component with one degree of freedom (that of two datasets, say) has no interval; one that cannot
be told apart (one dataset) has no number; a score that is not finite is left out. `note` says so.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.anova import (
    MIN_DF,
    Anova,
    crossed_anova,
    is_whole,
    nested_anova,
)
from calib_sweep.analysis.inference.reml import fit_reml, reml_from_anova
from calib_sweep.analysis.scores.arrays import ALL, ScoreArray, equally_complete
from calib_sweep.analysis.settings import AnalysisSettings

COLUMNS = [
    *("model", "method", "metric", "component"),
    *("variance", "sd", "sd_lo", "sd_hi", "share", "icc"),
]

# Component -> what two scores that share it share besides.
OF_ONE = {"dataset": (), "draw": ("dataset",), "replicate": ("dataset", "draw")}
ACROSS = {
    "method": (),
    "dataset": (),
    "method:dataset": ("method", "dataset"),
    "draw": ("dataset",),
    "method:draw": ("method", "dataset", "method:dataset", "draw"),
}
LACKING = {
    "dataset": "one dataset: what lies between datasets cannot be seen",
    "method:dataset": "one dataset: what lies between datasets cannot be seen",
}
ONE_SEED = "one seed in each dataset: dataset and draw cannot be told apart"


def variance_table(arrays: Sequence[ScoreArray], settings: AnalysisSettings) -> pd.DataFrame:
    """variance_components.csv, with `df`, `anova` and `note` besides."""
    rows = []
    for array in arrays:
        for m, names in enumerate(array.methods):
            if names.dataset is not None:
                rows += _of_one(array, m, settings)
        for draw in array.draws:
            rows += _across(array, draw, settings)
    return pd.DataFrame(rows, columns=pd.Index([*COLUMNS, "df", "anova", "note"]))


def _of_one(array: ScoreArray, m: int, settings: AnalysisSettings) -> list[dict]:
    """The components of one method, metric by metric: cells may lack some of the scores."""
    rows = []
    for metrics in equally_complete(array.value_MDSRE[[m]]):
        value = array.value_MDSRE[m][..., metrics]
        anova = nested_anova(value)
        has_repeats = anova.df_L[0] > 0
        where = np.argwhere(np.isfinite(value[..., 0]))
        draw_N = where[:, 0] * value.shape[1] + where[:, 1]
        factors = [where[:, 0], draw_N] if has_repeats else [where[:, 0]]
        order = ["dataset", "draw", "replicate"] if has_repeats else ["dataset", "draw"]
        estimate = _estimate(anova, value[tuple(where.T)], factors, order)
        keys = {"model": array.model, "method": array.methods[m].method}
        table = {name: OF_ONE[name] for name in order}
        named = [array.metrics[e] for e in metrics]
        left_out_E = [_infinite(num) for num in np.isinf(value).sum(axis=(0, 1, 2))]
        rows += _rows(keys, table, named, anova, estimate, settings, left_out_E)
    return rows


def _across(array: ScoreArray, draw: str, settings: AnalysisSettings) -> list[dict]:
    methods = array.drawn_with(draw)
    rows = []
    for metrics in equally_complete(array.value_MDSE[methods]):
        value = array.value_MDSE[methods][..., metrics]
        num_infinite_E = np.isinf(value).sum(axis=(0, 1, 2))
        value = value[np.isfinite(value[..., 0]).any(axis=(1, 2))]
        complete_DS = is_whole(value, axis=(0, 3))
        if len(value) < 2 or complete_DS.sum() < 2:
            continue
        anova = crossed_anova(np.where(complete_DS[..., None], value, np.nan))
        m, d, s = np.argwhere(np.isfinite(value[..., 0])).T
        num_D, num_S = value.shape[1:3]
        factor_of = {"method": m, "draw": d * num_S + s}
        if "dataset" in anova.names:
            factor_of |= {"dataset": d, "method:dataset": m * num_D + d}
        estimate = _estimate(
            anova, value[m, d, s], list(factor_of.values()), [*factor_of, "method:draw"]
        )
        keys = {"model": array.model, "method": f"{ALL} {draw}" if draw else ALL}
        left_out = np.isfinite(value[:, ~complete_DS]).any(axis=0).sum() // value.shape[-1]
        incomplete = (
            f"the interval leaves out draws that not every method has: {left_out}"
            if left_out
            else ""
        )
        left_out_E = [_joined(incomplete, _infinite(num)) for num in num_infinite_E]
        named = [array.metrics[e] for e in metrics]
        rows += _rows(keys, ACROSS, named, anova, estimate, settings, left_out_E)
    return rows


def _infinite(num: int) -> str:
    return f"leaves out scores that are not finite: {num}" if num else ""


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _estimate(
    anova: Anova, value_NE: np.ndarray, factors: Sequence[np.ndarray], order: Sequence[str]
) -> dict[str, np.ndarray]:
    """REML of each component [E]. In a complete design it is the ANOVA where that is feasible."""
    anova_LE = anova.estimate()
    estimate = dict(zip(anova.names, anova_LE.copy(), strict=True))
    sizes = [np.unique(np.unique(f, return_counts=True)[1]) for f in factors]
    is_complete = all(len(size) == 1 for size in sizes)
    shown = [anova.names.index(name) for name in order]
    is_feasible_E = (anova_LE[shown] >= 0).all(axis=0) & bool((anova.df_L[shown] > 0).all())
    for e in np.flatnonzero(~(is_feasible_E & is_complete)):
        if is_complete:
            # The residual comes first; of one dataset there is nothing between datasets to fit.
            own = sorted(line for line in shown if anova.df_L[line] > 0)
            parts = (
                anova.square_LE[own, e],
                anova.df_L[own],
                anova.weight_LL[np.ix_(own, own)],
            )
            fitted = dict(
                zip((anova.names[line] for line in own), reml_from_anova(*parts), strict=True)
            )
        else:
            fitted = dict(zip(order, _fit(value_NE[:, e], factors), strict=True))
        for name, variance in fitted.items():
            estimate[name][e] = variance
    return estimate


def _fit(value_N: np.ndarray, factors: Sequence[np.ndarray]) -> np.ndarray:
    """REML; where all values of the last factor's levels are equal, that factor is the residual."""
    last_N = factors[-1]
    first_N, level_N = np.unique(last_N, return_index=True, return_inverse=True)[1:]
    if len(first_N) < len(value_N) and np.array_equal(value_N, value_N[first_N][level_N]):
        return np.append(fit_reml(value_N[first_N], [f[first_N] for f in factors[:-1]]), 0.0)
    return fit_reml(value_N, factors)


def _rows(
    keys: dict[str, str],
    sharing: dict[str, tuple[str, ...]],
    metrics: Sequence[str],
    anova: Anova,
    estimate: dict[str, np.ndarray],
    settings: AnalysisSettings,
    left_out_E: Sequence[str],
) -> list[dict]:
    """A row per metric and component; numbers only where draws are told from datasets."""
    low_LE, high_LE = anova.interval(settings.seed, settings.num_resamples)
    anova_LE = anova.estimate()
    df = dict(zip(anova.names, anova.df_L, strict=True))
    is_told_apart = df["draw"] > 0
    known = {name: estimate[name] for name in sharing if is_told_apart and df.get(name, 0) > 0}
    total_E = np.sum(list(known.values()), axis=0)
    total_E = np.where(total_E > 0, total_E, np.nan)
    rows = []
    for e, metric in enumerate(metrics):
        for name, others in sharing.items():
            row = {**keys, "metric": metric, "component": name, "df": df.get(name, 0)}
            if name not in known:
                lacking = LACKING if is_told_apart else {}
                rows.append({**row, "note": lacking.get(name, ONE_SEED)})
                continue
            line = anova.names.index(name)
            alike = sum(known[other][e] for other in (name, *others) if other in known)
            rows.append(
                row
                | {
                    "variance": known[name][e],
                    "sd": np.sqrt(known[name][e]),
                    "sd_lo": np.sqrt(low_LE[line, e]),
                    "sd_hi": np.sqrt(high_LE[line, e]),
                    "share": known[name][e] / total_E[e],
                    "icc": alike / total_E[e],
                    "anova": anova_LE[line, e],
                    "note": _joined(
                        _note(name, df[name], anova_LE[line, e], high_LE[line, e]), left_out_E[e]
                    ),
                }
            )
    return rows


def _note(name: str, df: float, anova: float, high: float) -> str:
    if df < MIN_DF:
        return f"{name} has {df:.0f} degree of freedom: no interval"
    if anova < 0 and high == 0:
        return "the scores differ less than chance alone would have it: read 0..0 as small"
    return ""
