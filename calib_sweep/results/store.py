"""The store: one folder per sweep, one folder per cell, one immutable record per finished cell.

`record.json` is written last and atomically, so a cell is finished exactly when its record can be
read. A failed cell's record gives way to a later one; a finished cell's never does.
"""

import contextlib
import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calib_sweep import atomic
from calib_sweep.cell import Cell
from calib_sweep.errors import ConfigError, StoreError

log = logging.getLogger(__name__)

RECORD = "record.json"
MODEL_FORMS = ("dense", "compressed-tensors")  # what `save_model` may ask for
NEEDED = {"schema", "status", "cell", "scores"}  # enough to analyse scores from elsewhere


class DamagedRecordError(Exception):
    """A file that is there and is no record."""


def read_record(path: Path) -> dict[str, Any] | None:
    """The record at `path`; None when there is none, or (with a warning) when it is damaged."""
    try:
        return _read_record(path)
    except DamagedRecordError as damage:
        log.warning("%s", damage)
        return None


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:  # no JSON, or no text at all
        raise DamagedRecordError(f"{path} cannot be read: {error}") from error
    if not isinstance(record, dict) or not record.keys() >= NEEDED:
        lacking = ", ".join(sorted(NEEDED))
        raise DamagedRecordError(f"{path} cannot be read: it lacks some of {lacking}")
    return record


class Store:
    """The records of one sweep, under `results_dir/sweep_name`."""

    def __init__(self, results_dir: str | Path, sweep_name: str) -> None:
        self.results_dir = Path(results_dir)
        self.sweep_name = sweep_name
        self.folder = self.results_dir / sweep_name

    def cell_folder(self, cell: Cell) -> Path:
        return self.folder / cell.folder_name

    def find(self, cell: Cell) -> dict[str, Any] | None:
        """The record of `cell`, or None when it has not run. A damaged one is set aside."""
        path = self.cell_folder(cell) / RECORD
        try:
            return _read_record(path)
        except DamagedRecordError as damage:
            aside = path.with_name(f"record.broken-{uuid.uuid4().hex[:8]}.json")
            with contextlib.suppress(FileNotFoundError):  # somebody else has just set it aside
                path.rename(aside)
                log.warning("%s; it was kept as %s, its cell runs again", damage, aside.name)
            return None

    def is_done(self, cell: Cell) -> bool:
        """Whether nothing is left to do: scores recorded, and the model kept if asked for."""
        record = self.find(cell)
        return record is not None and self.completes(cell, record)

    def completes(self, cell: Cell, record: Mapping[str, Any]) -> bool:
        """Whether nothing is left to do for `cell` whose record is `record`."""
        model = self.model_folder(cell)
        return record["status"] == "done" and (model is None or model.is_dir())

    def model_folder(self, cell: Cell) -> Path | None:
        """Where the cell's compressed model is kept; None when nobody asked for it."""
        form = cell.config["save_model"]
        if form is None:
            return None
        return self.cell_folder(cell) / ("model" if form == "dense" else f"model-{form}")

    def records(self) -> Iterator[dict[str, Any]]:
        """All records of the sweep, in the order of their folders' names."""
        for path in sorted(self.folder.glob(f"*/{RECORD}")):
            if (record := read_record(path)) is not None:
                yield record

    def write(self, cell: Cell, record: dict[str, Any]) -> None:
        """Write the record of `cell`, once: an equal result is welcome, another one an error."""
        path = self.cell_folder(cell) / RECORD
        text = json.dumps(record, indent=1, allow_nan=True) + "\n"
        while True:
            before = self.find(cell)
            if before is None:
                with contextlib.suppress(FileExistsError):  # another worker has just finished it
                    return atomic.write_new(path, text)
            elif before["status"] == "failed":
                return atomic.write(path, text)
            elif record["status"] == "done" and not _same_scores(before, record):
                raise StoreError(
                    f"record {cell.id} exists with different scores ({path}). Same cell, different "
                    "result: compare the two environments before you delete either. Nothing was "
                    f"overwritten; the new result is {_keep_beside(path, text)}."
                )
            else:
                return None

    def require_writable(self) -> None:
        """Raise `ConfigError` unless the sweep's folder can be written. Makes no folder yet."""
        place = self.folder
        try:
            while not place.exists():
                place = place.parent
            probe = place / f".probe.{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"results_dir={str(self.results_dir)!r}: expected a folder that can be written "
                f"({error.strerror}: {place}). Set results_dir to a folder of yours."
            ) from error


def _keep_beside(path: Path, text: str) -> Path:
    """Keep a second result of a cell for people to look at; return where."""
    aside = path.with_name(f"record.conflict-{uuid.uuid4().hex[:8]}.json")
    atomic.write_new(aside, text)
    return aside


def _same_scores(record: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records score the same; a perplexity that is not a number equals itself."""
    texts = [json.dumps(one["scores"], sort_keys=True) for one in (record, other)]
    return texts[0] == texts[1]
