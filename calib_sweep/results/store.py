"""The store: one folder per sweep, one folder per cell, one immutable record per finished cell.

`record.json` is written last and atomically, after all that it stands for has reached the disk, so
a cell is finished exactly when its record can be read. A failed cell's record gives way to a later
one; a finished cell's never does. What may lie beside it says `places`.
"""

import contextlib
import errno
import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from calib_sweep import atomic, valid_json
from calib_sweep.cell import Cell
from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.places import (
    BROKEN,
    CALIBRATION,
    CHECKPOINT,
    CONFLICT,
    DASHBOARD,
    DOCUMENTS,
    DRAWING,
    FIGURES,
    RECORD,
    RECORDS,
    REFERENCE,
    REPLACED,
    REPORT,
    SCORED,
    TABLES,
    TOKENISED,
    TOKENISING,
)
from calib_sweep.results import probe
from calib_sweep.results.claim import clear_away, last_claim
from calib_sweep.results.files import damage
from calib_sweep.results.reading import (
    DamagedRecordError,
    conflicts_in,
    read_record,
    readable_records,
    same_scores,
)
from calib_sweep.results.record import Record

log = logging.getLogger(__name__)

MODEL_FORMS = ("dense", "compressed-tensors")  # what `save_model` may ask for
UNFINISHED = (CHECKPOINT, SCORED)  # what a cell that is run again goes on from
MAX_ATTEMPTS = 100  # to write a record; each fails only where another process has just written one


class Store:
    """The records of one sweep, under `results_dir/sweep_name`."""

    def __init__(self, results_dir: str | Path, sweep_name: str) -> None:
        self.results_dir = Path(results_dir)
        self.sweep_name = sweep_name
        self.folder = self.results_dir / sweep_name
        self._is_on_disk = False  # the folder's own name

    def cell_folder(self, cell: Cell) -> Path:
        return self.folder / cell.folder_name

    def find(self, cell: Cell) -> Record | None:
        """Return the record of `cell`, or None when it has not run. A damaged one is set aside."""
        path = self.cell_folder(cell) / RECORD
        try:
            return read_record(path)
        except DamagedRecordError as damage:
            aside = _beside(path, BROKEN)
            if _moved(path, aside) and _record_in(aside) is None:
                log.warning("%s; it was kept as %s, and its cell runs again", damage, aside.name)
            else:  # another process has set it aside, and may have written the next one
                _put_back(aside, path)
            return None

    def set_aside_if_damaged(self, cell: Cell) -> bool:
        """Set the record of a dense cell aside, so that it runs again, if its reference is damaged.

        Every cell that is compared with it would get wrong scores, or none.
        """
        record, folder = self.find(cell), self.cell_folder(cell)
        flaw = damage(folder, record.get("files"), REFERENCE) if record is not None else None
        if flaw is None:
            return False
        aside = _beside(folder / RECORD, BROKEN)
        if _moved(folder / RECORD, aside):
            told = "%s: %s; its record was kept as %s, and the cell runs again"
            log.warning(told, folder, flaw, aside.name)
        return True

    def look(self, cell: Cell) -> tuple[Record | None, str | None]:
        """Read the record of `cell`, and say what keeps this user from skipping or running it.

        A colleague's files, mostly, in a folder that several people share.
        """
        folder = self.cell_folder(cell)
        try:
            record = self.find(cell)
            if record is not None and self.completes(cell, record):
                return record, None
            may_write = not folder.is_dir() or os.access(folder, os.W_OK | os.X_OK)
        except PermissionError as error:
            return None, f"{error.filename} cannot be read ({error.strerror})"
        return record, None if may_write else f"{folder} cannot be written"

    def is_behind(self, cell: Cell) -> bool:
        """Tell whether a record is listed that this host still remembers not to be there."""
        folder = self.cell_folder(cell)
        names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208
        return RECORD in names and not os.path.lexists(folder / RECORD)

    def is_done(self, cell: Cell) -> bool:
        """Tell whether nothing is left to do: scores recorded, and the model kept if asked for."""
        record = self.find(cell)
        return record is not None and self.completes(cell, record)

    def completes(self, cell: Cell, record: Record) -> bool:
        """Tell whether nothing is left to do for `cell` whose record is `record`."""
        model = self.model_folder(cell)
        return record["status"] == "done" and (model is None or model.is_dir())

    def model_folder(self, cell: Cell) -> Path | None:
        """Return where the cell's compressed model is kept; None when nobody asked for it."""
        form = cell.config["save_model"]
        if form is None:
            return None
        return self.cell_folder(cell) / model_name(form)

    def records(self) -> Iterator[Record]:
        """Read all records of the sweep that can be read, in the order of their folders' names."""
        return readable_records(sorted(self.folder.glob(RECORDS)))

    def conflicts(self, cell: Cell) -> list[str]:
        """Tell of other results of `cell` than the one on record, until one is deleted."""
        return conflicts_in(self.cell_folder(cell))

    def sweep_leftovers(self) -> None:
        """Delete what killed processes left outside of cells: sets, texts, parts of the report."""
        report = self.folder / REPORT
        parts = [report / name for name in (TABLES, FIGURES, DASHBOARD)]
        shared = [self.results_dir / name for name in (CALIBRATION, TOKENISED, DOCUMENTS)]
        shared += sorted(path for path in shared[2].glob("*") if path.is_dir())
        for place in (self.folder, report, *parts, *shared):
            atomic.sweep_leftovers(place)
        for claims in shared[0].glob(f"*{DRAWING}"):
            drawn = claims.with_name(claims.name.removesuffix(DRAWING))
            if drawn.is_dir() or last_claim(claims) is None:
                atomic.sweep_leftovers(claims)
                clear_away(claims)
        for claims in (path for place in shared[1:3] for path in place.glob(f"*{TOKENISING}")):
            atomic.sweep_leftovers(claims)
            clear_away(claims)

    def tidy(self, cell: Cell) -> None:
        """Clear away what killed processes left in the cell's folder. Whoever holds its claim may.

        A finished record that was out of its place when its process was killed is put back.
        """
        folder = self.cell_folder(cell)
        for replaced in folder.glob(REPLACED):
            _put_back(replaced, folder / RECORD)
        for place in (folder, *(path for path in folder.glob("*/") if not path.is_symlink())):
            atomic.sweep_leftovers(place)
        if any((folder / name).is_dir() for name in UNFINISHED) and self.is_done(cell):
            self.clear_unfinished(cell)

    def clear_unfinished(self, cell: Cell) -> None:
        """Delete what was kept for another run of a cell that is done."""
        for name in UNFINISHED:
            shutil.rmtree(self.cell_folder(cell) / name, ignore_errors=True)

    def write(self, cell: Cell, record: Record) -> None:
        """Write the record of `cell`, once: an equal result is welcome, another one an error."""
        path = self.cell_folder(cell) / RECORD
        text = valid_json.dumps(record, indent=1) + "\n"
        atomic.make_folder(path.parent)  # where somebody has deleted it while the cell ran
        self._bring_names_to_disk()
        for _ in range(MAX_ATTEMPTS):
            before = self.find(cell)
            if before is None:
                with contextlib.suppress(FileExistsError):  # another worker has just finished it
                    return atomic.write_new(path, text)
            elif before["status"] == "failed":
                self._make_room(path)
            elif record["status"] == "done" and not same_scores(before, record):
                raise StoreError(
                    f"record {cell.id} exists with different scores ({path}). Compare the two "
                    "environments before you delete either. Nothing was overwritten: the new "
                    f"result is {_keep_beside(path, text)}."
                )
            else:
                return None
        raise StoreError(
            f"{path} cannot be written: something is there that is no record (a link to nowhere?). "
            "Move it away, then run the same command again."
        )

    def _bring_names_to_disk(self) -> None:
        """Sync the folders above a cell's, which a claim may have made.

        The sweep's gets new names all the time, those above it none: once is enough for them.
        """
        atomic.sync_folder(self.folder)
        if not self._is_on_disk:
            atomic.sync_folder(self.results_dir)
            atomic.sync_folder(self.results_dir.parent)
            self._is_on_disk = True

    @staticmethod
    def _make_room(path: Path) -> None:
        """Take a failed record from its place, so that of several writers one gets there.

        If it is a finished one by now, it goes back at once: no step here can overwrite it.
        """
        replaced = _beside(path, REPLACED)
        if _moved(path, replaced):
            _put_back(replaced, path)

    def require_writable(self) -> None:
        """Raise `ConfigError` unless workers can live in the sweep's folder. Makes none yet."""
        place = self.folder
        try:
            while not place.exists():
                if place.is_symlink():
                    raise FileNotFoundError(errno.ENOENT, "a link that leads nowhere", str(place))
                place = place.parent
            lacking = probe.failures(place)
        except OSError as error:
            raise ConfigError(
                f"results_dir={str(self.results_dir)!r}: expected a folder that can be written "
                f"({error.strerror}: {place}). Name a folder of yours. Example: "
                "results_dir=my_results."
            ) from error
        if lacking:
            told = "; ".join(f"{name}: {what}" for name, what in lacking.items())
            raise ConfigError(
                f"results_dir={str(self.results_dir)!r}: expected a folder in which workers can "
                f"tell who was first, and this one, {probe.describe_mount(place)}, cannot: {told}. "
                f"{probe.REMEDY}"
            )


def model_name(form: str) -> str:
    """Name the folder of a kept model in that of its cell."""
    return "model" if form == "dense" else f"model-{form}"


def _beside(path: Path, names: str) -> Path:
    return path.with_name(names.replace("*", uuid.uuid4().hex[:8]))


def _moved(path: Path, to: Path) -> bool:
    """Move a file; False where it was gone."""
    try:
        path.rename(to)
    except FileNotFoundError:
        return False
    return True


def _record_in(path: Path) -> Record | None:
    """Read the record at `path`; None where there is none, or a damaged one."""
    try:
        return read_record(path)
    except DamagedRecordError:
        return None


def _put_back(replaced: Path, path: Path) -> None:
    """Put a finished record back in its place; one that is not finished goes for good.

    Where the place is taken meanwhile, it goes if the two are equal, and else stays as a conflict.
    """
    record = _record_in(replaced)
    if record is not None and record["status"] == "done":
        try:
            path.hardlink_to(replaced)
        except FileExistsError:
            present = _record_in(path)
            if present is None or not same_scores(present, record):
                _moved(replaced, _beside(path, CONFLICT))
    replaced.unlink(missing_ok=True)


def _keep_beside(path: Path, text: str) -> Path:
    """Keep a second result of a cell for people to look at; return where."""
    aside = _beside(path, CONFLICT)
    atomic.write_new(aside, text)
    return aside
