"""Descriptors of calibration sets against the scores that the sets gave.

A descriptor is any number that a record keeps under calibration.descriptors:
    entropy, unique_share, duplicates, filled, repetition, coverage, diversity, zipf: see
                     `dataset.calibration.descriptors`; of records without them, of the tokens of
                     the set if it is on disk
    dense_perplexity the dense model's, of the set's tokens: high is far from what the model knows

    rho              Spearman's over the draws of a dataset, as in `correlations`; dataset empty:
                     pooled within datasets, so that what lies between corpora has no part in it

Shapes: N samples, T tokens, S draws.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.correlation import MIN_PAIRS, Correlation, Pair, correlate
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.means import ACC_MEAN, PPL_MEAN
from calib_sweep.analysis.scores.sidecars import Tell, token_sets
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.comparisons import POOLED
from calib_sweep.analysis.tables.provenance import described
from calib_sweep.dataset.calibration.descriptors import (
    OF_TOKENS,
    describe_tokens,
    vocabulary_of,
)

COLUMNS = [
    *("model", "method", "dataset", "descriptor", "metric"),
    *("n", "rho", "rho_lo", "rho_hi", "p"),
]

log = logging.getLogger(__name__)

Descriptors = Mapping[str, Mapping[str, float]]  # cell id -> descriptor -> value


def read_descriptors(
    results_dir: str | Path, cells: Sequence[ReadCell], tell: Tell = log.warning
) -> Descriptors:
    """Return the descriptors of the sets behind `cells`: recorded, or of those still on disk.

    `tell`: takes a sentence about each set that is damaged.
    """
    lacking = [record for record in cells if not set(OF_TOKENS) <= described(record).keys()]
    cards = {str(card.get("hash")): card for r in lacking if (card := r.get("calibration"))}
    by_hash = {
        hash_: describe_tokens(*tokens, vocabulary_of(cards[hash_]))
        for hash_, tokens in token_sets(results_dir, lacking, tell)
    }
    found = {}
    for record in cells:
        card = record.get("calibration") or {}
        recorded = described(record).items()
        every = {**by_hash.get(str(card.get("hash")), {}), **dict(recorded)}
        own = {k: float(v) for k, v in every.items() if isinstance(v, int | float)}
        if own:
            found[str(record["cell_id"])] = own
    return found


def covariate_table(
    arrays: Sequence[ScoreArray], descriptors: Descriptors, settings: AnalysisSettings
) -> pd.DataFrame:
    """Make covariates.csv: each descriptor against the headline scores, over draws."""
    rows = [row for array in arrays for row in _rows(array, descriptors, settings)]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def _rows(
    array: ScoreArray, descriptors: Descriptors, settings: AnalysisSettings
) -> Iterator[tuple]:
    names = sorted({name for own in descriptors.values() for name in own})
    for m in np.flatnonzero(array.reads_data_M):
        for name in names:
            x_DS = _values(array, int(m), name, descriptors)
            for metric in (PPL_MEAN, ACC_MEAN):
                if metric in array.metrics:
                    y_DS = array.value_MDSE[m, :, :, array.metrics.index(metric)]
                    keys = array.model, array.methods[m].method
                    for dataset, found in _related(array.datasets, x_DS, y_DS, settings):
                        yield *keys, dataset, name, metric, *found


def _values(array: ScoreArray, m: int, name: str, descriptors: Descriptors) -> np.ndarray:
    """Return one descriptor of the sets of a method [D, S]."""
    cell_DS = [
        [next((i for i in ids if i), "") for ids in by_seed] for by_seed in array.cell_ids_MDSR[m]
    ]
    return np.array(
        [[descriptors.get(i, {}).get(name, np.nan) for i in by_seed] for by_seed in cell_DS]
    )


def _related(
    datasets: Sequence[str], x_DS: np.ndarray, y_DS: np.ndarray, settings: AnalysisSettings
) -> Iterator[tuple[str, Correlation]]:
    blocks: list[Pair] = []
    for dataset, x_S, y_S in zip(datasets, x_DS, y_DS, strict=True):
        both_S = np.isfinite(x_S) & np.isfinite(y_S)
        x_S, y_S = x_S[both_S], y_S[both_S]
        if len(x_S) >= MIN_PAIRS and np.ptp(x_S) > 0 and np.ptp(y_S) > 0:
            blocks.append((x_S, y_S))
            yield dataset, correlate([blocks[-1]], **settings.resampling)
    if blocks:
        yield POOLED, correlate(blocks, **settings.resampling)
