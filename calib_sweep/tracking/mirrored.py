"""The mirror of a sweep: names of runs and of what they log, and marks of what W&B has.

A mark `wandb.json` beside a record or in a report's folder says where its mirror lies and which
state it shows. A sweep of which W&B did not take a run waits: `wandb_waits.json` in its folder.
"""

import hashlib
import json
import logging
import uuid
from pathlib import Path
from typing import TypedDict, cast

from calib_sweep import atomic, valid_json
from calib_sweep.places import FIGURES, INDEX, MADE_FROM, MARK, RECORD, REPORT, TABLES, WAITS
from calib_sweep.results.reading import readable_records
from calib_sweep.results.record import Record, utc_now

log = logging.getLogger(__name__)

# What a dashboard asks for by name: kinds of runs, and keys of what they log.
CELL_JOB, ANALYSIS_JOB = "cell", "analysis"
CELL = "cell"  # of the configuration: the axes and settings of the record
MEAN_ERROR = "compression/output_error"  # of the summary, over all layers
PAGE = "report"
MAX_TAG, MAX_NAME = 64, 128  # W&B takes no more


class Settings(TypedDict):
    """The settings of the mirror, as `WandbTracking` checks them."""

    project: str
    entity: str | None  # None: the user's default
    mode: str
    tags: list[str]
    timeout_s: float


class Place(TypedDict):
    """The place of a run: an address of W&B's, or a folder seen from the sweep's."""

    is_online: bool
    run: str
    shows: str  # the state of what it mirrors


class Mark(Place):
    """The content of `MARK`."""

    id: str
    project: str
    entity: str | None


class PushedWorkspace(TypedDict):
    """A workspace that is in W&B."""

    name: str
    id: str
    url: str


class PushedReport(TypedDict):
    """A report that is in W&B."""

    id: str
    url: str


class Pushed(TypedDict):
    """The places of a dashboard in W&B."""

    project: str
    entity: str
    workspace: PushedWorkspace
    report: PushedReport


def run_id(sweep_name: str, what: str) -> str:
    """Return the id of a run: the cell's id, or `analysis`, and a hash of the sweep's name.

    A cell in two sweeps is two runs. To W&B a sweep is its name within a project: two folders of
    one name are parts of one sweep.
    """
    return f"{what}-{hashlib.sha256(sweep_name.encode()).hexdigest()[:8]}"


def group_of(sweep_name: str) -> str:
    """Return the group of the runs of a sweep."""
    return shortened(sweep_name, MAX_NAME)


def shortened(text: str, num_bytes: int) -> str:
    """Return the beginning of `text` that fits into so many bytes, as W&B counts at strictest."""
    return text.encode(errors="replace")[:num_bytes].decode(errors="ignore")


def report_files(folder: Path) -> dict[str, Path]:
    """List what the run of a report logs, by key: tables/NAME, figures/NAME, the page."""
    files = [*sorted((folder / TABLES).glob("*.csv")), *sorted((folder / FIGURES).glob("*.png"))]
    return {f"{path.parent.name}/{path.stem}": path for path in files} | {PAGE: folder / INDEX}


def read_mark(folder: Path) -> Mark | None:
    """Read the mark in `folder`; None where it is missing or damaged, or its run is gone."""
    try:
        found: object = json.loads((folder / MARK).read_bytes())
        if not valid_json.is_object(found) or not isinstance(found["is_online"], bool):
            return None
        if not all(isinstance(found[key], str) for key in ("id", "run", "shows", "project")):
            return None
        mark = cast(Mark, found)
        is_there = mark["is_online"] or any((folder.parent / mark["run"]).glob("*.wandb"))
    except (OSError, ValueError, KeyError):
        return None
    return mark if is_there else None


def write_mark(folder: Path, mark: Mark) -> None:
    """Say that what is in `folder` has been mirrored."""
    _make_room(folder / MARK)
    atomic.write(folder / MARK, valid_json.dumps(mark) + "\n")


def _make_room(path: Path) -> None:
    if path.is_dir():  # nothing of ours
        path.rename(path.with_name(f"{path.name}.broken-{uuid.uuid4().hex[:8]}"))


def is_mirrored(folder: Path, shows: str, *, online: bool = False) -> bool:
    """Tell whether a run shows what is in `folder` now, and is in W&B itself if it has to be."""
    mark = read_mark(folder)
    return mark is not None and mark["shows"] == shows and (mark["is_online"] or not online)


def done_record(folder: Path) -> Record | None:
    """Read the record of the finished cell in `folder`, None where there is none."""
    record = next(readable_records([folder / RECORD]), None)
    return record if record is not None and record["status"] == "done" else None


def done_records(sweep: Path) -> dict[Path, Record]:
    """Read the records of the sweep's finished cells, by folder."""
    folders = [path.parent for path in sorted(sweep.glob(f"*/{RECORD}"))]
    return {folder: record for folder in folders if (record := done_record(folder)) is not None}


def is_shown(folder: Path, record: Record, *, online: bool = False) -> bool:
    """Tell whether a run shows the finished cell in `folder`, as its record is now."""
    return is_mirrored(folder, str(record.get("finished_at")), online=online)


def num_missing(sweep: Path) -> int:
    """Count the runs that the mirror lacks: of finished cells, and of the report."""
    cells = [not is_shown(folder, record) for folder, record in done_records(sweep).items()]
    state = report_state(sweep / REPORT)
    return sum(cells) + (state is not None and not is_mirrored(sweep / REPORT, state))


def report_state(folder: Path) -> str | None:
    """Hash what changes whenever the report in `folder` does; None without a report."""
    try:
        return hashlib.sha256((folder / MADE_FROM).read_bytes()).hexdigest()[:16]
    except OSError:
        return None


def begin_waiting(sweep: Path, why: str) -> None:
    """Have all workers of the sweep, and later commands, leave W&B alone until the user asks."""
    waits = {"why": why, "since": utc_now()}
    try:
        _make_room(sweep / WAITS)
        atomic.write(sweep / WAITS, valid_json.dumps(waits, indent=1) + "\n")
    except OSError as error:  # the folder has troubles that its records will tell of
        log.warning("%s cannot be written: %s", sweep / WAITS, error.strerror)


def is_waiting(sweep: Path) -> bool:
    """Tell whether W&B did not take a run of the sweep, and nobody asked since."""
    return (sweep / WAITS).exists()


def end_waiting(sweep: Path) -> None:
    """Have the sweep's next command mirror again what it runs."""
    _make_room(sweep / WAITS)
    (sweep / WAITS).unlink(missing_ok=True)
