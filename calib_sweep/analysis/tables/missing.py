"""Cells that should be there and have no scores: failed, unreadable, unfinished, or never run.

A cell is expected where another method of the same model has the same dataset, seed and settings of
calibration.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.table import LEFT_OUT, Row, settings_of

COLUMNS = ["model", "method", "dataset", "seed", "status", "why", "cell_id"]
MISSING = "missing"  # the status of a cell without any trace


def missing_table(
    rows: Sequence[Row], arrays: Sequence[ScoreArray], naming: Naming
) -> pd.DataFrame:
    """Make missing.csv: a row per cell without scores."""
    without = [_without_scores(row, naming) for row in rows if _is_without_scores(row)]
    known = {tuple(row[:4]) for row in without}
    never = [row for array in arrays for row in _never_run(array) if tuple(row[:4]) not in known]
    return pd.DataFrame([*without, *never], columns=pd.Index(COLUMNS))


def _is_without_scores(row: Row) -> bool:
    return row["metric"] is None and row["status"] not in LEFT_OUT


def _without_scores(row: Row, naming: Naming) -> list[str]:
    why = [str(row["status"]), str(row["error"]), str(row["cell_id"])]
    if row["model"] is None:  # its record cannot be read
        return ["", "", "", "", *why]
    names = naming.name(row["model"], row["method"], row["dataset"], settings_of(row))
    seed = "" if row["seed"] is None else str(row["seed"])
    return [names.model, names.method, names.dataset or "", seed, *why]


def _never_run(array: ScoreArray) -> Iterator[list[str]]:
    has_MDS = (array.cell_ids_MDSR != "").any(axis=3)
    for draw in array.draws:
        methods = array.drawn_with(draw)
        expected_DS = has_MDS[methods].any(axis=0)
        for m in methods:
            for d, s in np.argwhere(expected_DS & ~has_MDS[m]):
                seed = "" if array.seeds[s] is None else str(array.seeds[s])
                why = "no record; other methods have this calibration set"
                names = array.model, array.methods[m].method, array.datasets[d]
                yield [*names, seed, MISSING, why, ""]
