"""Does a draw with lower perplexity give higher accuracy? Rank correlation over draws.

`inference.correlation` has the interval, the p and how datasets are pooled (dataset empty).
Perplexity down and accuracy up: rho is negative.

Perplexity is the headline (geometric mean over corpora) and each corpus; accuracy acc/mean, or each
task where there is no mean.

Shapes: S draws.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.correlation import MIN_PAIRS, Pair, correlate
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.means import ACC_MEAN
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.comparisons import POOLED

COLUMNS = ["model", "method", "dataset", "x", "y", "n", "rho", "rho_lo", "rho_hi", "p"]


def correlation_table(arrays: Sequence[ScoreArray], settings: AnalysisSettings) -> pd.DataFrame:
    """Make correlations.csv: perplexity against accuracy, per method and dataset, pooled."""
    rows = [row for array in arrays for row in _rows(array, settings)]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _rows(array: ScoreArray, settings: AnalysisSettings) -> Iterator[tuple]:
    perplexities = [metric for metric in array.metrics if metric.startswith("ppl/")]
    accuracies = [metric for metric in array.metrics if metric.startswith("acc/")]
    accuracies = [ACC_MEAN] if ACC_MEAN in accuracies else accuracies
    for m in np.flatnonzero(array.reads_data_M):
        for x, y in ((x, y) for x in perplexities for y in accuracies):
            columns = [array.metrics.index(x), array.metrics.index(y)]
            blocks: list[Pair] = []
            for dataset, value_SE in zip(array.datasets, array.value_MDSE[m], strict=True):
                own = value_SE[:, columns]
                own = own[np.isfinite(own).all(axis=1)]
                if len(own) >= MIN_PAIRS and np.ptp(own, axis=0).all():
                    blocks.append((own[:, 0], own[:, 1]))
                    keys = array.model, array.methods[m].method, dataset, x, y
                    yield *keys, *correlate([blocks[-1]], **settings.resampling)
            if blocks:
                keys = array.model, array.methods[m].method, POOLED, x, y
                yield *keys, *correlate(blocks, **settings.resampling)
