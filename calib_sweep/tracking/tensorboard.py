"""TensorBoard: event files in the sweep's folder, a folder of them for each cell."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from calib_sweep.errors import collected
from calib_sweep.tracking.marks import Mark, Marks
from calib_sweep.tracking.mirror import Mirror, require_installed


@dataclass(frozen=True, kw_only=True)
class TensorboardTracking(Mirror):
    """Mirror each cell as a run of TensorBoard, on this disk alone."""

    marks = Marks(tracker="tensorboard", pattern="events.*")
    title = "TensorBoard"

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(require_installed, "tensorboard", "tensorboard")
            self._check_timeout(problems)

    def where(self, mark: Mark, sweep: Path) -> str:
        """Say what shows the runs."""
        return f"TensorBoard: tensorboard --logdir {shlex.quote(str(sweep / 'tensorboard'))}"
