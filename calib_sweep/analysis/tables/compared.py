"""What was compared: of each method what it did to the weights, and what it took.

A row per method with its settings: the number of cells, zeros and bits per weight as they were
counted in the compressed layers, and the weights that go with whole parts (median, and the ends
where cells differ), seconds and memory of a cell. Seconds are of the machine that ran it: they say
what to expect, and rank no methods that ran on different machines (`device`, `num_devices`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.measured import MEASURED, measured
from calib_sweep.analysis.scores.names import Names, Naming
from calib_sweep.analysis.scores.table import DENSE, Row, settings_of
from calib_sweep.cell import TARGET
from calib_sweep.settings import flatten, settings_text

RANGED = ("sparsity", "bits", "removed")
COLUMNS = [
    *("model", "method", "settings", "calibration", "cells"),
    *("sparsity", "sparsity_min", "sparsity_max", "bits", "bits_min", "bits_max"),
    *("removed", "removed_min", "removed_max"),
    *("compress_s", "total_s", "peak_memory_gib", "device", "num_devices"),
]
SAME_SPARSITY, SAME_BITS = 0.005, 0.05  # within which two methods are compressed alike


def compared_table(
    rows: Sequence[Row], cells: Sequence[ReadCell], groups: Sequence[Group], naming: Naming
) -> pd.DataFrame:
    """Make compared.csv, in the order of the groups."""
    done = {str(record["cell_id"]): record for record in cells if record["status"] == "done"}
    members: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row["status"] == "done" and row["cell_id"] in done:
            names = naming.name(row["model"], row["method"], row["dataset"], settings_of(row))
            members.setdefault((names.model, names.method), {})[row["cell_id"]] = row
    order = dict.fromkeys(_key(naming.of(group)) for group in groups)
    found = [_row(key, members[key], done) for key in order if key in members]
    return pd.DataFrame(found, columns=pd.Index(COLUMNS))


def _key(names: Names) -> tuple[str, str]:
    return names.model, names.method


def _row(
    key: tuple[str, str], members: Mapping[str, Row], done: Mapping[str, ReadCell]
) -> dict[str, Any]:
    records = [done[cell_id] for cell_id in members]
    values = {name: [getattr(measured(record), name) for record in records] for name in MEASURED}
    ends = {
        f"{name}_{word}": _finite(values[name], end)
        for name in RANGED
        for word, end in (("min", np.min), ("max", np.max))
    }
    devices = sorted({_device(record) for record in records} - {""})
    return {
        "model": key[0],
        "method": key[1],
        "settings": _each(_settings(row, done[cell_id]) for cell_id, row in members.items()),
        "calibration": _each(_calibration(record) for record in records),
        "cells": len(records),
        **{name: _finite(own, np.median) for name, own in values.items()},
        **ends,
        "peak_memory_gib": _finite(values["peak_memory_gib"], np.max),
        "device": ", ".join(devices),
        "num_devices": len(devices),
    }


def _each(texts: Iterable[str]) -> str:
    """Return the texts that there are, each once."""
    return " | ".join(text for text in dict.fromkeys(texts) if text)


def _settings(row: Row, record: ReadCell) -> str:
    """Return all settings of the method as it was run; of a record without them, those typed."""
    run = record.get("config", {}).get("method")
    if not isinstance(run, Mapping):
        return settings_text(settings_of(row))
    own = {key: value for key, value in flatten(run).items() if value is not None}
    return settings_text({k: v for k, v in own.items() if not k.endswith(TARGET)})


def _calibration(record: ReadCell) -> str:
    """Return the size of the sets: 128 x 2048 tokens."""
    run = record.get("config", {}).get("calibration")
    sizes = [run.get(key) for key in ("num_samples", "seq_len")] if isinstance(run, Mapping) else []
    reads = record["cell"]["dataset"] is not None
    return " x ".join(map(str, sizes)) + " tokens" if reads and all(sizes) and sizes else ""


def _finite(values: Sequence[float], summary: Any) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(summary(known)) if known else np.nan


def _device(record: ReadCell) -> str:
    environment = record.get("environment") or {}
    device = str(environment.get("device") or "")
    return str(environment.get("processor") or device) if device in ("", "cpu") else device


def unlike(compared: Frame, model: str) -> dict[str, list[str]]:
    """Return the methods of a model by what they did to the weights, where that is not alike.

    By the words for it; empty where all compressed alike, or nothing was measured. Methods whose
    zeros or bits lie within SAME_SPARSITY and SAME_BITS of a first one are alike.
    """
    own = compared[(compared["model"] == model) & (compared["method"] != DENSE)]
    alike: list[tuple[float, float, list[str]]] = []
    for row in own.to_dict("records"):
        sparsity, bits = row["sparsity"], row["bits"]
        if np.isnan(sparsity) and np.isnan(bits):
            continue
        for first_sparsity, first_bits, names in alike:
            if _near(sparsity, first_sparsity, SAME_SPARSITY) and _near(
                bits, first_bits, SAME_BITS
            ):
                names.append(row["method"])
                break
        else:
            alike.append((sparsity, bits, [row["method"]]))
    if len(alike) < 2:
        return {}
    return {words_for(sparsity, bits): names for sparsity, bits, names in alike}


def _near(a: float, b: float, margin: float) -> bool:
    return abs(a - b) <= margin or (np.isnan(a) and np.isnan(b))


def words_for(sparsity: float, bits: float) -> str:
    """Say what was done to the weights: 50.0 % zeros, 4.25 bits per weight."""
    parts = [] if np.isnan(bits) else [f"{bits:.2f} bits per weight"]
    if not parts or sparsity > SAME_SPARSITY:
        parts.insert(0, f"{100 * sparsity:.1f}\xa0% zeros" if np.isfinite(sparsity) else "")
    return " and ".join(filter(None, parts))
