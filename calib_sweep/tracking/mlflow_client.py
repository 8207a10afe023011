"""MLflow's client, a program of its own. The only file that imports mlflow.

A run of the experiment has the axes, settings and configuration as parameters, scores as metrics,
errors of layers as metrics over blocks, and files as artifacts. The tag `calib_sweep.run` has the
run's id: a mirror that is made again replaces the one before.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from calib_sweep.tracking.mirrored import shortened, without_password
from calib_sweep.tracking.mlflow import own_files
from calib_sweep.tracking.writing import RunInfo, serve, settings_of, steps

OWN = "calib_sweep.run"
MAX_KEY, MAX_PARAM, MAX_TAG = 250, 6000, 5000  # characters that a server takes
MAX_PARAMS, MAX_METRICS = 100, 1000  # in one request

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # to others than the server of the runs
    "MLFLOW_ALLOW_FILE_STORE": "true",  # which newer versions want to be asked for
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # minutes of them would be silence
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowRun:
    """Writes one run."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def start(self, run: RunInfo) -> None:
        """Make the run, with parameters and tags, in place of the one before."""
        from mlflow import MlflowClient

        uri = self._settings["uri"] or os.environ.get("MLFLOW_TRACKING_URI")
        self._uri = _signed_in(uri or own_files(run.sweep))
        self._sweep, self._client = run.sweep, MlflowClient(tracking_uri=self._uri)
        self._experiment = self._experiment_id(self._settings["experiment"])
        for old in self._client.search_runs([self._experiment], f"tags.`{OWN}` = '{run.id}'"):
            self._client.delete_run(old.info.run_id)
        tags = {OWN: run.id, "sweep": run.group, "kind": run.kind, "mlflow.note.content": run.notes}
        made = self._client.create_run(
            self._experiment,
            run_name=run.name,
            tags={key: shortened(text, MAX_TAG) for key, text in tags.items()},
        )
        self._run = made.info.run_id
        self._params(settings_of(run.config) | dict(run.config))

    def _experiment_id(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if (found := self._client.get_experiment_by_name(name)) is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException:  # another worker was first, or it cannot be
                if (found := self._client.get_experiment_by_name(name)) is None:
                    raise
        return found.experiment_id

    def _params(self, values: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        texts = {_key(key): str(value)[:MAX_PARAM] for key, value in values.items()}
        for part in _parts([Param(key, text) for key, text in texts.items()], MAX_PARAMS):
            self._client.log_batch(self._run, params=part)

    def curve(self, points: Sequence[Mapping[str, float]]) -> None:
        """Add the points, each at its block."""
        self._metrics([(k, v, step) for step, values in steps(points) for k, v in values.items()])

    def summary(self, values: Mapping[str, object]) -> None:
        """Add numbers as metrics, all else as tags."""
        known = {key: value for key, value in values.items() if isinstance(value, int | float)}
        self._metrics([(key, float(value), 0) for key, value in known.items()])
        for key, value in values.items():
            if key not in known:
                self._client.set_tag(self._run, _key(key), shortened(str(value), MAX_TAG))

    def _metrics(self, values: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_key(key), value, now, step) for key, value, step in values]
        for part in _parts(metrics, MAX_METRICS):
            self._client.log_batch(self._run, metrics=part)

    def table(self, key: str, path: Path) -> None:
        """Add the file."""
        self.file(key, path)

    def file(self, key: str, path: Path) -> None:
        """Add the file below the folder that its key names."""
        self._client.log_artifact(self._run, str(path), key.rpartition("/")[0] or None)

    def finish(self, *, is_done: bool) -> tuple[bool, str]:
        """Say how it ended."""
        self._client.set_terminated(self._run, "FINISHED" if is_done else "FAILED")
        if self._uri.startswith("http"):
            page = f"{self._uri.rstrip('/')}/#/experiments/{self._experiment}/runs/{self._run}"
            return True, page
        if self._uri.startswith("file:"):
            from mlflow.utils.file_utils import local_file_uri_to_path

            folder = Path(local_file_uri_to_path(self._uri)) / self._experiment / self._run
            return False, os.path.relpath(folder, self._sweep)
        # A database, which is not looked into.
        return True, f"{without_password(self._uri)}/runs/{self._run}"


def _signed_in(uri: str) -> str:
    """Return the address of a server without who asks, which goes where MLflow looks for it too.

    Errors and links have the address in them, and both are kept beside the records.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return uri
    who, _, host = parts.netloc.rpartition("@")
    name, _, password = who.partition(":")
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(name)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(password)
    return urlunsplit(parts._replace(netloc=host))


def _key(text: str) -> str:
    """Return `text` in characters that every server takes."""
    return re.sub(r"[^\w\-. /]", "_", text, flags=re.ASCII)[:MAX_KEY]


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


if __name__ == "__main__":
    os.environ.update({key: os.environ.get(key, value) for key, value in DEFAULTS.items()})
    serve(MlflowRun, "mlflow")
