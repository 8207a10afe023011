"""Marks of what a tracker has: which state of a cell or a report it shows, and where.

A mark `NAME.json` beside a record or in a report's folder says where its run lies. A sweep of which
a tracker did not take a run waits: `NAME_waits.json` in its folder. Each tracker has its own.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict, cast

from calib_sweep import atomic, valid_json
from calib_sweep.places import MADE_FROM, RECORD, RECORDS, REPORT
from calib_sweep.results.reading import readable_records
from calib_sweep.results.record import Record, utc_now
from calib_sweep.tracking.mirrored import end_of_ids

log = logging.getLogger(__name__)


class Place(TypedDict):
    """The place of a run: an address, or a file or folder on this disk, seen from the sweep's."""

    is_online: bool
    run: str
    shows: str  # the state of what it mirrors


class Mark(Place):
    """The content of a mark."""

    id: str
    project: NotRequired[str]  # of a tracker that has projects
    entity: NotRequired[str | None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Where a run has to be: online, or inside, as a mark says (project, entity)."""

    is_online: bool = False
    inside: Mapping[str, object] = field(default_factory=dict)

    def has(self, mark: Mark) -> bool:
        """Tell whether the run is there."""
        is_inside = all(mark.get(key) == value for key, value in self.inside.items())
        return is_inside and (mark["is_online"] or not self.is_online)


ANYWHERE = Wanted()


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Reads and writes the marks of one tracker.

    pattern: files of which a run's folder has one, if the run is there at all.
    """

    tracker: str
    pattern: str
    required: tuple[str, ...] = ("id", "run", "shows")

    @property
    def file_name(self) -> str:
        """The name of a mark."""
        return f"{self.tracker}.json"

    def _waits(self, sweep: Path) -> Path:
        return sweep / f"{self.tracker}_waits.json"

    def read(self, folder: Path) -> Mark | None:
        """Read the mark in `folder`; None where it is missing or damaged, or its run is gone.

        None, too, for a run of another sweep, as in a cell that was copied from there.
        """
        try:
            found: object = json.loads((folder / self.file_name).read_bytes())
            if not valid_json.is_object(found) or not isinstance(found["is_online"], bool):
                return None
            if not all(isinstance(found[key], str) for key in self.required):
                return None
            mark = cast(Mark, found)
            if not mark["id"].endswith(end_of_ids(folder.parent.name)):
                return None
            run = folder.parent / mark["run"]
            is_there = mark["is_online"] or run.is_file() or any(run.glob(self.pattern))
        except (OSError, ValueError, KeyError):
            return None
        return mark if is_there else None

    def write(self, folder: Path, mark: Mark) -> None:
        """Say that what is in `folder` has been mirrored."""
        _make_room(folder / self.file_name)
        atomic.write(folder / self.file_name, valid_json.dumps(mark) + "\n")

    def has(self, folder: Path, shows: str, wanted: Wanted = ANYWHERE) -> bool:
        """Tell whether a run that is where it is wanted shows what is in `folder` now."""
        mark = self.read(folder)
        return mark is not None and mark["shows"] == shows and wanted.has(mark)

    def show(self, folder: Path, record: Record, wanted: Wanted = ANYWHERE) -> bool:
        """Tell whether a run shows the finished cell in `folder`, as its record is now."""
        return self.has(folder, str(record.get("finished_at")), wanted)

    def num_missing(self, sweep: Path) -> int:
        """Count the runs that the tracker lacks: of finished cells, and of the report."""
        cells = [not self.show(folder, record) for folder, record in done_records(sweep).items()]
        state = report_state(sweep / REPORT)
        return sum(cells) + (state is not None and not self.has(sweep / REPORT, state))

    def begin_waiting(self, sweep: Path, why: str) -> None:
        """Have all workers of the sweep leave the tracker alone."""
        waits = {"why": why, "since": utc_now()}
        path = self._waits(sweep)
        try:
            _make_room(path)
            atomic.write(path, valid_json.dumps(waits, indent=1) + "\n")
        except OSError as error:  # the folder has troubles that its records will tell of
            log.warning("%s cannot be written: %s", path, error.strerror)

    def is_waiting(self, sweep: Path) -> bool:
        """Tell whether the tracker did not take a run of the sweep, and nobody asked since."""
        return self._waits(sweep).exists()

    def end_waiting(self, sweep: Path) -> None:
        """Have the tracker tried again."""
        path = self._waits(sweep)
        _make_room(path)
        path.unlink(missing_ok=True)


def _make_room(path: Path) -> None:
    if path.is_dir():  # nothing of ours
        path.rename(path.with_name(f"{path.name}.broken-{uuid.uuid4().hex[:8]}"))


def done_record(folder: Path) -> Record | None:
    """Read the record of the finished cell in `folder`, None where there is none."""
    record = next(readable_records([folder / RECORD]), None)
    return record if record is not None and record["status"] == "done" else None


def done_records(sweep: Path) -> dict[Path, Record]:
    """Read the records of the sweep's finished cells, by folder."""
    folders = [path.parent for path in sorted(sweep.glob(RECORDS))]
    return {folder: record for folder in folders if (record := done_record(folder)) is not None}


def report_state(folder: Path) -> str | None:
    """Hash what changes whenever the report in `folder` does; None without a report."""
    try:
        return hashlib.sha256((folder / MADE_FROM).read_bytes()).hexdigest()[:16]
    except OSError:
        return None
