"""Write and read how a job ended, as text that a worker hands its launcher.

No pickle: a launcher reads this from files that somebody else may have put there, and reading a
pickle runs what its author wrote into it.
"""

import json
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus

from calib_sweep import valid_json
from calib_sweep.errors import ConfigError, StoreError, WorkerLostError

# What the sweep tells apart; any other error is told by its name and its text.
KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (ConfigError, StoreError, WorkerLostError, OSError)
}


def to_text(job: JobReturn) -> str:
    """Write what the launcher is to know of a job that came back."""
    if job.status == JobStatus.COMPLETED:
        return valid_json.dumps({"completed": True, "returned": job._return_value})
    error = job._return_value
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in KINDS]
    if isinstance(error, ConfigError):
        arguments: Sequence[object] = error.problems
    elif isinstance(error, OSError):
        arguments = (error.errno, error.strerror, error.filename)
    else:
        arguments = (str(error) if kinds else f"{type(error).__name__}: {error}",)
    answer = {"completed": False, "kind": (kinds or [""])[0], "arguments": arguments}
    return valid_json.dumps(answer, default=str)


def from_text(text: str | bytes, overrides: Sequence[str]) -> JobReturn:
    """Return the job as its worker described it."""
    told = json.loads(text)
    if told["completed"]:
        returned = told["returned"]
        return JobReturn(
            overrides=list(overrides), status=JobStatus.COMPLETED, _return_value=returned
        )
    return failed(overrides, KINDS.get(told["kind"], RuntimeError)(*told["arguments"]))


def failed(overrides: Sequence[str], error: BaseException) -> JobReturn:
    """Return a job that ended with `error`."""
    return JobReturn(overrides=list(overrides), status=JobStatus.FAILED, _return_value=error)
