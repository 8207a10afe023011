"""What a record measured of its cell beside scores: zeros, bits, seconds, memory.

A record from elsewhere may lack all of it; what lacks is NaN.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from calib_sweep.analysis.scores.cells import ReadCell

BYTES_PER_GIB = 2.0**30


@dataclass(frozen=True)
class Measured:
    """Of the compressed layers of one cell, and of its run."""

    sparsity: float  # share of zeros
    bits: float  # per weight; NaN: not on a grid
    removed: float  # share of weights that a model without the removed parts would save; NaN: none
    compress_s: float
    total_s: float  # with loading, drawing and scoring; NaN: in part taken over from another cell
    peak_memory_gib: float


MEASURED = tuple(field.name for field in fields(Measured))


def measured(record: ReadCell) -> Measured:
    """Return what the record of a cell says that was measured."""
    compression = record.get("compression") or {}
    timings = record.get("timings_s") or {}
    memory = _number(record, "peak_memory_bytes")
    return Measured(
        sparsity=_number(compression, "sparsity"),
        bits=_number(compression, "bits"),
        removed=_number(compression.get("removed") or {}, "share"),
        compress_s=_number({**timings, **compression}, "seconds", "compress"),
        total_s=float(sum(timings.values()))
        if timings and not _is_partly_told(record)
        else math.nan,
        peak_memory_gib=memory / BYTES_PER_GIB,
    )


def _is_partly_told(record: ReadCell) -> bool:
    """Tell whether the cell took over what another one had scored, so that its time is not all."""
    return any("taken_from" in note for note in record.get("parts", {}).values())


def _number(values: Mapping[str, object], *names: str) -> float:
    """Return the first of `names` that is a number; NaN where none is."""
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return math.nan
