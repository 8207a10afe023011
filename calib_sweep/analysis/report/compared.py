"""The chapter on what was compared: settings, zeros, bits, seconds and memory of each method.

And the sentence that belongs to a ranking of methods that were not compressed alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.report.document import Block, Heading, Paragraph, Table
from calib_sweep.analysis.tables.compared import unlike

TITLE = "What was compared"
MAX_NAMED = 6  # methods of a kind that are named one by one
READING = (
    "Zeros and bits are counted in the layers that were compressed, not read off the settings. "
    "Seconds are medians over cells, memory is the largest; both are of the machine that ran them."
)
MEANINGS = {
    "cells": "done, over datasets and seeds",
    "zeros, %": "share of the compressed layers' weights that is 0; a range where cells differ",
    "bits": "per weight of the compressed layers, with scales; - not on a grid",
    "saved, %": "share of these weights that a model without the removed blocks, heads, neurons or "
    "experts would not hold; they are zeros here",
    "to compress": "median over cells",
    "whole cell": "median over cells, with loading, drawing and scoring",
    "memory, GiB": "the largest peak of a cell",
    "machine": "the processor or GPU",
}
SHARED = "model"  # left out where there is one


def write(compared: Frame) -> list[Block]:
    """Make the chapter; nothing where the records have no measurement."""
    known = compared[["sparsity", "bits", "compress_s", "peak_memory_gib"]].notna().any(axis=1)
    if not known.any():
        return []
    rows = compared.to_dict("records")
    several = compared["model"].nunique() > 1
    header = [*([SHARED] if several else []), "method", "settings", "calibration sets"]
    numbers = list(MEANINGS)
    body = [
        [
            *([row["model"]] if several else []),
            *(row[key] or "-" for key in ("method", "settings", "calibration")),
            *_numbers(row),
        ]
        for row in rows
    ]
    keep = [c for c in range(len(header) + len(numbers)) if any(row[c] != "-" for row in body)]
    names = [name for c, name in enumerate([*header, *numbers]) if c in keep]
    cut = [[row[c] for c in keep] for row in body]
    num_names = sum(name in header for name in names)
    table = Table(names, cut, num_names, meanings=MEANINGS)
    models = dict.fromkeys(compared["model"])
    said = [Paragraph(text) for model in models for text in sentences(compared, model)]
    return [Heading(TITLE), Paragraph(READING), *said, table]


def _numbers(row: Mapping[Any, Any]) -> list[str]:
    times = [formatting.duration(row[key]) if np.isfinite(row[key]) else "-" for key in TIMES]
    memory = row["peak_memory_gib"]
    return [
        str(row["cells"]),
        _ranged(row, "sparsity", 100, 1),
        _ranged(row, "bits", 1, 2),
        _ranged(row, "removed", 100, 1),
        *times,
        f"{memory:.1f}" if np.isfinite(memory) else "-",
        row["device"] or "-",
    ]


TIMES = ("compress_s", "total_s")


def _ranged(row: Mapping[Any, Any], name: str, times: int, digits: int) -> str:
    """Return a number, with its ends where cells differ as it is shown."""
    middle, low, high = (times * row[key] for key in (name, f"{name}_min", f"{name}_max"))
    if not np.isfinite(middle):
        return "-"
    ends = [f"{end:.{digits}f}" for end in (low, high)]
    shown = f"{middle:.{digits}f}"
    return shown if ends[0] == ends[1] else f"{shown} ({ends[0]}..{ends[1]})"


def sentences(compared: Frame | None, model: str) -> Iterator[str]:
    """Say where methods that are ranked did not do the same to the weights; nothing where alike."""
    kinds = {} if compared is None else unlike(compared, model)
    if kinds:
        told = [f"{_some(names)} {words}" for words, names in kinds.items()]
        yield f"The methods were not compressed alike: {'; '.join(told)}."


def _some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    shown = [*names[:MAX_NAMED], *([f"{more} more"] if more > 0 else [])]
    return f"{formatting.listed(shown)} {'has' if len(names) == 1 else 'have'}"
