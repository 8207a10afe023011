"""Scores that stand out of their draws: shown, counted, and told what they do to the numbers.

`inference.outliers` has the rules: not finite, diverged, outlier. This table has the mean and the
SD without. Elsewhere nothing finite is left out; what is not finite leaves no mean, SD or
comparison of means, and components, ranks, correlations, IQM, fitted sizes and needed seeds are
those of the other draws.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.outliers import reasons
from calib_sweep.analysis.rounding import variance
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.names import Naming

COLUMNS = [
    *("model", "method", "dataset", "metric", "seed", "value", "why", "n"),
    *("mean", "sd", "mean_without", "sd_without"),
]


def outlier_table(groups: Sequence[Group], naming: Naming) -> pd.DataFrame:
    """Make tails.csv: a row per score that stands out; without: all that do in its group."""
    rows = [row for group in groups if group.spread.n > 1 for row in _rows(group, naming)]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _rows(group: Group, naming: Naming) -> Iterator[tuple]:
    why_S = reasons(group.value_S, is_perplexity=group.kind.is_logged)
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
