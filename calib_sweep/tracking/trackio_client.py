"""Trackio's client, a program of its own. The only file that imports trackio.

A run is named by the cell and by the run's id, and its group is the sweep. It is written to the
database on this disk. Trackio tells no failure, so a run is read back.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calib_sweep.tracking.content import read_table
from calib_sweep.tracking.serving import LossError
from calib_sweep.tracking.writing import RunInfo, serve, steps

MAX_ROWS = 1000  # of a table
# Variables that would have Trackio send runs to others, a new Space too, instead of this disk.
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class TrackioRun:
    """Writes one run."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._project: str = settings["project"]
        self._step, self._points = 0, 0

    def start(self, run: RunInfo) -> None:
        """Open the run in place of the one before."""
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        end = f" [{run.id}]"  # a cell's name tells more once its sweep has grown
        for old in SQLiteStorage.get_runs(self._project):
            if old.endswith(end):
                SQLiteStorage.delete_run(self._project, old)
        about = {"id": run.id, "kind": run.kind, "tags": list(run.tags), "notes": run.notes}
        self._run = trackio.init(
            project=self._project,
            name=run.name + end,
            group=run.group,
            config={**run.config, "run": about},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def curve(self, points: Sequence[Mapping[str, float]]) -> None:
        """Add the points, each at its block."""
        for step, values in steps(points):
            self._log(values, step)

    def summary(self, values: Mapping[str, object]) -> None:
        """Add all values, behind the curves."""
        self._log(values, self._step)

    def table(self, key: str, path: Path) -> None:
        """Add a table."""
        import trackio

        columns, rows = read_table(path)
        self._log({key: trackio.Table(columns=columns, data=rows[:MAX_ROWS])}, self._step)

    def file(self, key: str, path: Path) -> None:
        """Add a figure; of a page, where it is."""
        import trackio

        is_image = path.suffix == ".png"
        shown = trackio.Image(str(path)) if is_image else trackio.Markdown(f"`{path}`")
        self._log({key: shown}, self._step)

    def finish(self, *, is_done: bool) -> tuple[bool, str]:
        """Wait until all is written, and read it back."""
        from trackio.sqlite_storage import SQLiteStorage

        self._log({"is_done": int(is_done)}, self._step)
        self._run.finish()
        kept = SQLiteStorage.get_logs(self._project, self._run.name, run_id=self._run.id)
        if len(kept) < self._points:
            raise LossError(f"{len(kept)} of {self._points} points were written")
        return False, str(SQLiteStorage.get_project_db_path(self._project).absolute())

    def _log(self, values: Mapping[str, object], step: int) -> None:
        self._run.log(dict(values), step=step)
        self._step = max(self._step, step + 1)
        self._points += 1


if __name__ == "__main__":
    for variable in ELSEWHERE:
        os.environ.pop(variable, None)
    serve(TrackioRun, "trackio")
