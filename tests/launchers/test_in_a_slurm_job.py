"""The process in a SLURM job: what it leaves behind, and what it does when told to end."""

import os
import signal
from collections.abc import Callable

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.calib_sweep import outcome
from hydra_plugins.calib_sweep.slurm_launcher import SlurmLauncher, SubmititSlurm, outcome_path


@pytest.fixture
def in_job(tmp_path, monkeypatch) -> Callable[[Callable[..., JobReturn]], JobReturn]:
    """`in_job(work)`: `work` as what a worker does in job 7, whose folder is `tmp_path`."""
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SUBMITIT_FOLDER", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)

    def run(work: Callable[..., JobReturn]) -> JobReturn:
        monkeypatch.setattr(SubmititSlurm, "__call__", work)
        launcher = object.__new__(SlurmLauncher)
        launcher.task_function, launcher.params = None, {"max_num_timeout": 20}
        return launcher()

    return run


def test_a_worker_that_comes_back_leaves_its_outcome(in_job, tmp_path):
    in_job(lambda _: JobReturn(status=JobStatus.COMPLETED, _return_value=["cell"]))
    text = outcome_path(tmp_path, "7").read_text()
    assert outcome.from_text(text, ()).return_value == ["cell"]


# Before the time limit; at it, or by scancel.
@pytest.mark.parametrize("name", ["SIGUSR2", "SIGTERM"])
def test_a_worker_told_to_end_leaves_at_once_and_no_outcome(name, in_job, tmp_path, caplog):
    def work(_):
        try:
            os.kill(os.getpid(), signal.Signals[name])
        except Exception as swallowed:
            raise AssertionError from swallowed
        raise AssertionError("went on")

    with pytest.raises(SystemExit) as left:
        in_job(work)
    assert left.value.code == 1
    assert f"told to end by {name}: the cell that ran here can be taken by others" in caplog.text
    assert list(tmp_path.iterdir()) == []
