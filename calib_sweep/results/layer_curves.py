"""The output error of a cell's layers as curves over its blocks, for W&B to draw.

One curve per kind of layer (`q_proj`, `down_proj`, ...), one point per block. Layers of one kind in
one block, such as the experts of a mixture, are averaged: each counts once.
"""

import math
from pathlib import Path
from statistics import fmean
from typing import Any

LAYERS = "layers.parquet"  # beside a record: one row per compressed layer
BLOCK = "layers/block"
ERROR = "layers/output_error"  # with the kind behind it: layers/output_error/q_proj


def read_curves(folder: Path) -> list[dict[str, float]]:
    """One point per block of the cell in `folder`: `BLOCK`, and the error of each kind of layer.

    Empty for a cell without layers or errors: the dense model, a method without data.
    """
    errors: dict[int, dict[str, list[float]]] = {}
    for row in _known_errors(folder):
        kind = f"{ERROR}/{row['layer'].rpartition('.')[2]}"
        errors.setdefault(row["block"], {}).setdefault(kind, []).append(row["output_error"])
    return [
        {BLOCK: block, **{kind: fmean(values) for kind, values in sorted(errors[block].items())}}
        for block in sorted(errors)
    ]


def mean_error(folder: Path) -> float | None:
    """The mean output error of all layers of the cell in `folder`; None where none is known."""
    errors = [row["output_error"] for row in _known_errors(folder)]
    return fmean(errors) if errors else None


def _known_errors(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    path = folder / LAYERS
    rows = pyarrow.parquet.read_table(path).to_pylist() if path.is_file() else []
    known = [row for row in rows if row.get("output_error") is not None]
    return [row for row in known if not math.isnan(row["output_error"])]
