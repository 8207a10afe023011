"""The output error of a cell's layers as curves over its blocks, for W&B to draw.

One curve per kind of layer (`q_proj`, `down_proj`, ...), one point per block. Layers of one kind in
one block, such as the experts of a mixture, are averaged: each counts once.
"""

import logging
import math
from pathlib import Path
from statistics import fmean
from typing import Any

from calib_sweep.places import LAYERS, RECORD
from calib_sweep.results.files import damage
from calib_sweep.results.reading import readable_records

log = logging.getLogger(__name__)

BLOCK = "layers/block"
ERROR = "layers/output_error"  # with the kind behind it: layers/output_error/q_proj


def read_curves(folder: Path) -> list[dict[str, float]]:
    """Return a point per block of the cell in `folder`: `BLOCK`, the error of each kind of layer.

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
    """Average the output errors of all layers of the cell in `folder`; None without any."""
    errors = [row["output_error"] for row in _known_errors(folder)]
    return fmean(errors) if errors else None


def _known_errors(folder: Path) -> list[dict[str, Any]]:
    """Read the layers that have an error; none, with a warning, where the file is damaged."""
    import pyarrow
    import pyarrow.parquet

    if not (folder / LAYERS).exists():
        return []
    record = next(readable_records([folder / RECORD]), None)
    flaw = None if record is None else damage(folder, record.get("files"), LAYERS)
    try:
        rows = [] if flaw else pyarrow.parquet.read_table(folder / LAYERS).to_pylist()
    except (OSError, pyarrow.ArrowInvalid) as error:
        rows, flaw = [], f"{LAYERS} cannot be read ({error})"
    if flaw:
        log.warning("%s: %s. Delete its %s to run the cell again.", folder, flaw, RECORD)
    known = [row for row in rows if row.get("output_error") is not None]
    return [row for row in known if not math.isnan(row["output_error"])]
