"""What a worker tells its launcher of its end: text, never a pickle."""

import errno
import json

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.calib_sweep.outcome import failed, from_text, to_text

from calib_sweep.errors import ConfigError, StoreError, UnavailableError, WorkerLostError


def passed_on(error: Exception) -> BaseException:
    job = from_text(to_text(failed(["seed=0"], error)), ["seed=1"])
    assert (job.status, job.overrides) == (JobStatus.FAILED, ["seed=1"])
    return job._return_value


def test_what_a_worker_returns_arrives():
    job = JobReturn(status=JobStatus.COMPLETED, _return_value=["a", "b"])
    assert from_text(to_text(job), ["seed=0"]).return_value == ["a", "b"]


@pytest.mark.parametrize("kind", [StoreError, WorkerLostError])
def test_an_error_that_the_sweep_knows_arrives_as_what_it_was(kind):
    error = passed_on(kind("cell 1"))
    assert (type(error), str(error)) == (kind, "cell 1")


def test_all_problems_of_a_setting_arrive():
    error = passed_on(UnavailableError("one", "two"))
    assert isinstance(error, ConfigError) and error.problems == ("one", "two")


def test_a_trouble_of_the_machine_keeps_its_number_and_its_file():
    error = passed_on(OSError(errno.ENOSPC, "No space left on device", "/full"))
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (errno.ENOSPC, "/full")


def test_any_other_error_is_told_by_its_name():
    class MeltedError(Exception):
        """Nothing that could be imported elsewhere."""

    assert str(passed_on(MeltedError("layer 3"))) == "MeltedError: layer 3"


def test_what_stands_there_runs_nothing():
    planted = json.dumps({"completed": False, "kind": "SystemExit", "arguments": ["planted"]})
    assert type(from_text(planted, ())._return_value) is RuntimeError
