"""What a run says of a cell or a report: configuration, tags, summary, notes, tables.

No tracker is named here: any of them can say the same.
"""

import csv
import json
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from calib_sweep.places import GRID, RECORD
from calib_sweep.results.record import Record
from calib_sweep.tracking.layer_curves import mean_error
from calib_sweep.tracking.mirrored import CELL, MEAN_ERROR
from calib_sweep.tracking.redaction import redacted_values, redacted_word

Entry = str | float | None  # of a table
MAX_TABLE_ROWS = 10_000  # of a table that W&B shows


def config_of(record: Record) -> dict[str, Any]:
    """Return the resolved configuration, and the axes and settings of the cell under `CELL`.

    What looks like a key or a password is left out, here and in notes.
    """
    cell = {key: value for key, value in record["cell"].items() if value is not None}
    return redacted_values({**(record.get("config") or {}), CELL: cell})


def tags_of(record: Record) -> list[str]:
    """Return model, method and dataset."""
    axes = [record["cell"].get(axis) for axis in ("model", "method", "dataset")]
    return [axis for axis in axes if axis]


def summary_of(record: Record, folder: Path) -> dict[str, object]:
    """Return the scores of a finished cell, and what is known besides of any.

    A record from elsewhere may have only scores. Charts count every run that has a score, so a
    failed cell has none here.
    """
    summary: dict[str, object] = {"status": record["status"]}
    summary |= numbers("timings_s/", record.get("timings_s") or {})
    compression = (record.get("compression") or {}).items()
    summary |= {f"compression/{key}": v for key, v in compression if v is not None}
    if calibration := record.get("calibration"):
        summary["calibration/hash"] = calibration["hash"]
    if record["status"] == "done":
        summary |= numbers("", record["scores"]) | numbers("stderr/", record.get("stderr") or {})
        if (error := mean_error(folder)) is not None:
            summary[MEAN_ERROR] = error
    return summary


def numbers(prefix: str, values: Mapping[str, object]) -> dict[str, float]:
    """Return those of `values` that are numbers, also NaN and infinity; null is left out."""
    known = {key: v for key, v in values.items() if isinstance(v, int | float)}
    return {f"{prefix}{key}": value for key, value in known.items()}


def notes_of(folder: Path, what: str, cell_id: str | None = None) -> str:
    """Say in Markdown where `what` in `folder` lies, and what was typed for it, if that is known.

    cell_id None: for the sweep.
    """
    sweep = folder.parent
    place = Path(sweep.parent.name, sweep.name, folder.name, what)
    lines = [f"Record: `{place}`" if what == RECORD else f"Report: `{place}`"]
    if (command := _command_of(sweep, cell_id)) is not None:
        typed = shlex.join(map(redacted_word, command))
        lines.append(f"Command: `python -m calib_sweep {typed}`")
    return "\n\n".join(lines)


def _command_of(sweep: Path, cell_id: str | None) -> list[str] | None:
    """Return the words of the newest command that planned the cell; None: that is not kept.

    cell_id None: of the newest command at all.
    """
    written = {path: path.stat().st_mtime_ns for path in sweep.glob(GRID)}
    for path in sorted(written, key=lambda path: written[path], reverse=True):
        command, ids = _planned(path, written[path])
        if cell_id is None or cell_id in ids:
            return command
    return None


@lru_cache(maxsize=128)
def _planned(path: Path, _written: int) -> tuple[list[str] | None, frozenset[str]]:
    """Read the words of a command, and the cells it planned; of a damaged file nothing."""
    try:
        told = json.loads(path.read_bytes())
        return list(told["command"]), frozenset(row["id"] for row in told["cells"])
    except (OSError, ValueError, LookupError, TypeError):
        return None, frozenset()


def read_table(path: Path) -> tuple[list[str], list[list[Entry]]]:
    """Columns and rows; a column of numbers as such, with nothing where there is none."""
    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    values = [_floats([row[c] for row in rows]) for c in range(len(columns))]
    return columns, [list(row) for row in zip(*values, strict=True)][:MAX_TABLE_ROWS]


def _floats(texts: list[str]) -> list[Entry]:
    try:
        return [float(text) if text else None for text in texts]
    except ValueError:
        return list(texts)
