"""The table of a model's items: one row per item of a task and per window of a corpus."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.evaluation.windows import Windows

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "kind": "string",  # "task" or "window"
    "name": "string",  # task, or <corpus>@<seq_len>
    "item": "int64",  # position of the document in its task, of the window in its corpus
    "item_hash": "string",  # lm-eval's hash of the document; SHA-256 of the window's token ids
    "group": "string",  # equal for items of a task that belong together, as about one passage
    "correct": "float64",  # acc of the item; of a task without acc, its headline metric
    "correct_norm": "float64",  # acc_norm of the item, where the task has it
    "choice": "Int64",  # the answer of highest log-likelihood, where there are choices
    "nll": "float64",  # mean over the window's scored tokens, nats
    "kl": "float64",  # mean over the window's positions inside the divergence budget, nats
    "tokens": "Int64",  # scored tokens of the window
}

Table = Mapping[str, Sequence[object]]  # some of the columns above


def window_table(windows: Windows, nll_N: np.ndarray, kl_P: np.ndarray) -> Table:
    """The rows of one corpus: mean loss and divergence of each window."""
    num_windows = len(windows.tokens_NT)
    by_window = windows.by_window(kl_P)
    num_inside_N = np.array([(~np.isnan(part)).sum() for part in by_window])
    with np.errstate(invalid="ignore"):  # NaN outside the budget
        kl_N = np.array([np.nansum(part) for part in by_window]) / num_inside_N
    return {
        "kind": ["window"] * num_windows,
        "name": [windows.label] * num_windows,
        "item": list(range(num_windows)),
        "item_hash": windows.item_hashes(),
        "nll": nll_N.tolist(),
        "kl": kl_N.tolist(),
        "tokens": windows.num_scored_N.tolist(),
    }


def item_table(tables: list[Table]) -> "pd.DataFrame":
    """All rows, in all `COLUMNS`; what a part does not have is missing."""
    import pandas as pd

    columns = {}
    for name, dtype in COLUMNS.items():
        values = [v for table in tables for v in table.get(name, [None] * len(table["kind"]))]
        columns[name] = pd.array(values, dtype=dtype)
    return pd.DataFrame(columns)
