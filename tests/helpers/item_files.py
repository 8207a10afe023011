"""Files of scores per item, as a run leaves them beside a cell's record."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def write_items(
    path: Path,
    value_I: np.ndarray,
    name: str = "x",
    hashes: Sequence[str] | None = None,
    column: str = "correct",
    kind: str = "task",
    groups: Sequence[str] | None = None,
) -> None:
    """Add the items of a task or corpus to the file; `groups` None: a file without that column."""
    num = len(value_I)
    columns = {
        "kind": kind,
        "name": name,
        "item": np.arange(num),
        "item_hash": hashes or [f"hash{i}" for i in range(num)],
        column: value_I,
    }
    if groups is not None:
        columns["group"] = list(groups)
    before = pd.read_parquet(path) if path.exists() else pd.DataFrame()
    pd.concat([before, pd.DataFrame(columns)], ignore_index=True).to_parquet(path, index=False)
