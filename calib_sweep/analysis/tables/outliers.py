"""Scores that stand out of their draws: shown, counted, and told what they do to the numbers.

    not finite    an infinite perplexity, or one that is no number
    diverged      finite, but above ten times the median of its draws, as in `controls`
    outlier       Grubbs' test, |y - ybar| / s beyond its critical value at 0.1 % (two-sided), so
                  that of 1,000 groups of normal draws one is flagged by chance; log perplexity

This table has the mean and the SD without. Elsewhere nothing finite is left out; what is not finite
leaves no mean, SD or comparison of means, and components, ranks, correlations, IQM, fitted sizes
and needed seeds are those of the other draws.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from calib_sweep.analysis.rounding import variance
from calib_sweep.analysis.scores.groups import Group, is_logged
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.tables.controls import has_diverged

MIN_DRAWS = 5  # of fewer, two that happen to agree make an outlier of any third
GRUBBS_LEVEL = 0.001
COLUMNS = [
    *("model", "method", "dataset", "metric", "seed", "value", "why", "n"),
    *("mean", "sd", "mean_without", "sd_without"),
]


def outlier_table(groups: Sequence[Group], naming: Naming) -> pd.DataFrame:
    """tails.csv: a row per score that stands out; without: all that stand out in its group."""
    rows = [row for group in groups if group.spread.n > 1 for row in _rows(group, naming)]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def reasons(value_S: np.ndarray, *, is_perplexity: bool) -> list[str]:
    """Why each value stands out; "" where it does not."""
    why_S = np.where(np.isfinite(value_S), "", "not finite").astype(object)
    finite_S = np.isfinite(value_S)
    if is_perplexity:
        why_S[finite_S & has_diverged(value_S)] = "diverged"
        value_S = np.log(np.where(finite_S & (value_S > 0), value_S, np.nan))
    rest_S = (why_S == "") & np.isfinite(value_S)
    n = int(rest_S.sum())
    spread = np.sqrt(variance(value_S[rest_S])) if n >= MIN_DRAWS else 0.0
    if spread > 0:
        distance_S = np.where(rest_S, np.abs(value_S - value_S[rest_S].mean()) / spread, 0.0)
        why_S[distance_S > grubbs_limit(n)] = "outlier"
    return list(why_S)


def grubbs_limit(n: int, level: float = GRUBBS_LEVEL) -> float:
    """The largest distance from the mean, in SDs, of n normal values, but in `level` of cases."""
    t = stats.t.isf(level / (2 * n), n - 2)
    return float((n - 1) / np.sqrt(n) * np.sqrt(t**2 / (n - 2 + t**2)))


def _rows(group: Group, naming: Naming) -> Iterator[tuple]:
    why_S = reasons(group.value_S, is_perplexity=is_logged(group.metric))
    if not any(why_S):
        return
    names = naming.of(group)
    keys = names.model, names.method, names.dataset or "", group.metric
    rest_S = group.value_S[[not why for why in why_S]]
    mean = float(rest_S.mean()) if rest_S.size else np.nan
    sd = float(np.sqrt(variance(rest_S))) if rest_S.size > 1 else np.nan
    for seed, value, why in zip(group.seeds, group.value_S, why_S, strict=True):
        if why:
            numbers = group.spread.n, group.spread.mean, group.spread.sd, mean, sd
            yield *keys, "" if seed is None else seed, float(value), why, *numbers
