"""MLflow: a run for each cell in an experiment, in files of its own or at a server."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from calib_sweep.errors import collected, require
from calib_sweep.tracking.marks import Mark, Marks
from calib_sweep.tracking.mirror import Mirror, require_installed
from calib_sweep.tracking.mirrored import without_password


@dataclass(frozen=True, kw_only=True)
class MlflowTracking(Mirror):
    """Mirror each cell as an MLflow run."""

    marks = Marks(tracker="mlflow", pattern="meta.yaml")
    title = "MLflow"

    experiment: str
    uri: str | None  # null: MLFLOW_TRACKING_URI; where that is not set, files beside the sweeps

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(require_installed, "mlflow", "mlflow")
            problems.of(
                require,
                isinstance(self.experiment, str)
                and self.experiment.strip() != ""
                and "'" not in self.experiment,
                "tracking.mlflow.experiment",
                self.experiment,
                "a name of an experiment without '",
                "Example: tracking.mlflow.experiment=calib_sweep.",
            )
            problems.of(
                require,
                self.uri is None or (isinstance(self.uri, str) and ":" in self.uri),
                "tracking.mlflow.uri",
                self.uri,
                "an address, or null for files beside the sweeps",
                "Example: 'tracking.mlflow.uri=\"http://localhost:5000\"'.",
            )
            problems.of(
                require,
                not isinstance(self.uri, str) or without_password(self.uri) == self.uri,
                "tracking.mlflow.uri",
                without_password(str(self.uri)),
                "an address without a password, as it is kept in every record",
                "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or for a database "
                "MLFLOW_TRACKING_URI.",
            )
            self._check_timeout(problems)

    def where(self, mark: Mark, sweep: Path) -> str:
        """Say where the runs are; files are shown by a command."""
        if mark["is_online"]:
            return f"MLflow: {mark['run'].partition('/runs/')[0]}"
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI")
        uri = uri or own_files(sweep)
        is_ours = "MLFLOW_ALLOW_FILE_STORE=true " if uri.startswith("file:") else ""
        return f"MLflow: {is_ours}mlflow ui --backend-store-uri {shlex.quote(uri)}"


def own_files(sweep: Path) -> str:
    """Return the address of the files beside the sweeps."""
    return (sweep.parent / "mlruns").absolute().as_uri()
