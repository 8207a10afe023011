"""Trackio: a run for each cell in a database on this disk. No account, no network."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from calib_sweep.errors import collected, require
from calib_sweep.tracking.marks import Mark, Marks
from calib_sweep.tracking.mirror import Mirror, require_installed


@dataclass(frozen=True, kw_only=True)
class TrackioTracking(Mirror):
    """Mirror each cell as a run of Trackio, in the folder TRACKIO_DIR or where it keeps its own."""

    marks = Marks(tracker="trackio", pattern="*.db")
    title = "Trackio"

    project: str

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(require_installed, "trackio", "trackio")
            problems.of(
                require,
                isinstance(self.project, str) and self.project.replace("_", "").isalnum(),
                "tracking.trackio.project",
                self.project,
                "a name of letters, digits and _",
                "Example: tracking.trackio.project=calib_sweep.",
            )
            self._check_timeout(problems)

    def where(self, mark: Mark, sweep: Path) -> str:
        """Say what shows the runs."""
        return f"Trackio: trackio show --project {shlex.quote(self.project)}"
