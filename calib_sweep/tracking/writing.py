"""A run of any tracker, told in six calls: what it says of a cell or of the report.

A tracker is a `Writer` in a program of its own, NAME_client. Only there its library is imported.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from calib_sweep.places import CONCLUSION, INDEX, RECORD, SCALARS
from calib_sweep.results.reading import read_record
from calib_sweep.settings import flatten
from calib_sweep.tracking.content import config_of, notes_of, numbers, summary_of, tags_of
from calib_sweep.tracking.layer_curves import BLOCK, read_curves
from calib_sweep.tracking.marks import Place, report_state
from calib_sweep.tracking.mirrored import ANALYSIS_JOB, CELL, CELL_JOB, group_of, report_files
from calib_sweep.tracking.serving import answer_all


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a run begins with."""

    id: str  # one per sweep and cell; a run that is written again replaces the one before
    name: str
    folder: Path  # of the cell, or of the report
    kind: str  # `CELL_JOB` or `ANALYSIS_JOB`
    tags: Sequence[str]
    config: Mapping[str, object]  # one level, keys joined by dots
    notes: str  # Markdown

    @property
    def sweep(self) -> Path:
        """The folder of the sweep."""
        return self.folder.parent

    @property
    def group(self) -> str:
        """What the runs of a sweep have in common."""
        return group_of(self.sweep.name)


class Writer(Protocol):
    """A run that is being written, by one of the trackers."""

    def start(self, run: RunInfo) -> None: ...
    def curve(self, points: Sequence[Mapping[str, float]]) -> None: ...  # a point per block
    def summary(self, values: Mapping[str, object]) -> None: ...
    def table(self, key: str, path: Path) -> None: ...  # a CSV file
    def file(self, key: str, path: Path) -> None: ...  # a figure, or a page
    def finish(self, *, is_done: bool) -> tuple[bool, str]: ...  # is it online, and where is it


Make = Callable[[Mapping[str, Any]], Writer]  # of the tracker's settings


def log_cell(
    make: Make, tracking: Mapping[str, Any], folder: str, run_id: str, name: str
) -> Place | None:
    """Mirror the record in `folder` as one run; None if somebody has deleted the record."""
    place = Path(folder)
    record = read_record(place / RECORD)
    if record is None:
        return None
    is_done, writer = record["status"] == "done", make(tracking)
    writer.start(
        RunInfo(
            id=run_id,
            name=name,
            folder=place,
            kind=CELL_JOB,
            tags=tags_of(record),
            config=flatten(config_of(record)),
            notes=notes_of(place, RECORD, record.get("cell_id")),
        )
    )
    if is_done:
        writer.curve(read_curves(place))
    writer.summary(summary_of(record, place))
    return _told(writer.finish(is_done=is_done), str(record.get("finished_at")))


def log_report(
    make: Make, tracking: Mapping[str, Any], folder: str, run_id: str, name: str
) -> Place:
    """Mirror the report in `folder` as one run."""
    place = Path(folder)
    state, writer = report_state(place), make(tracking)
    writer.start(
        RunInfo(
            id=run_id,
            name=name,
            folder=place,
            kind=ANALYSIS_JOB,
            tags=[ANALYSIS_JOB],
            config={},
            notes=notes_of(place, INDEX),
        )
    )
    for key, path in report_files(place).items():
        (writer.table if path.suffix == ".csv" else writer.file)(key, path)
    scalars = place / SCALARS
    found = json.loads(scalars.read_bytes()) if scalars.is_file() else {}
    sentences = json.loads((place / CONCLUSION).read_bytes())
    writer.summary(numbers("", found) | {"conclusion": "\n".join(sentences)})
    return _told(writer.finish(is_done=True), str(state))


def _told(place: tuple[bool, str], shows: str) -> Place:
    return {"is_online": place[0], "run": place[1], "shows": shows}


def settings_of(config: Mapping[str, object]) -> dict[str, object]:
    """Return the axes and settings of a cell: what tells it from the others of its sweep."""
    start = f"{CELL}."
    of_cell = {k.removeprefix(start): v for k, v in config.items() if k.startswith(start)}
    return {key.removeprefix("settings."): value for key, value in of_cell.items()}


def steps(points: Sequence[Mapping[str, float]]) -> list[tuple[int, dict[str, float]]]:
    """Return the points of curves with their steps, which are the blocks."""
    return [
        (int(point[BLOCK]), {key: value for key, value in point.items() if key != BLOCK})
        for point in points
    ]


def serve(make: Make, library: str) -> None:
    """Answer what is asked on standard input, with runs that `make` opens."""
    answer_all(
        {"log_cell": partial(log_cell, make), "log_report": partial(log_report, make)}, library
    )
