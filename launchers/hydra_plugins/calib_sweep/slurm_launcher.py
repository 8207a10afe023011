"""hydra/launcher=slurm: submits workers as SLURM job arrays (submitit) and waits for them.

Differs from submitit's own Hydra launcher in what happens when things go wrong:
- a job that is killed (memory, time, node, scancel) is a failed result beside the others' results;
- it is noticed because it has left the queue: squeue is asked, so no accounting database is needed;
- Ctrl-C and SIGTERM cancel what was submitted; a process that is killed leaves its jobs running,
  and the same command shares the sweep with them.
"""

import logging
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.calib_sweep.crew import tail
from hydra_plugins.calib_sweep.interruption import sigterm_as_exit
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf, SlurmQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititSlurm
from omegaconf import OmegaConf

from calib_sweep.errors import ConfigError, WorkerLostError, require

log = logging.getLogger("calib_sweep.launcher")

# A job that left the queue without a result is given this many polls: NFS shows new files late.
POLLS_UNTIL_LOST = 3


@dataclass
class SlurmLauncherConf(SlurmQueueConf):
    """Settings of the launcher: submitit's, and ours below."""

    _target_: str = "hydra_plugins.calib_sweep.slurm_launcher.SlurmLauncher"
    name: str = "calib_sweep"
    cells_per_worker: int | None = 1  # cells in one job; null: one job that runs them all
    max_array_size: int = 1000  # jobs in one array; `scontrol show config` says MaxArraySize
    poll_s: float = 10.0  # between two looks at the queue and at the results
    cancel_on_interrupt: bool = True  # Ctrl-C or SIGTERM here cancels the jobs


ConfigStore.instance().store(
    group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="calib_sweep"
)


class SlurmLauncher(SubmititSlurm):
    """Submits one SLURM job per worker."""

    def __init__(
        self,
        cells_per_worker: int | None,
        max_array_size: int,
        poll_s: float,
        cancel_on_interrupt: bool,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.cells_per_worker, self.max_array_size = cells_per_worker, max_array_size
        self.poll_s, self.cancel_on_interrupt = poll_s, cancel_on_interrupt

    def __call__(self, *arguments: Any) -> JobReturn:
        """Run one worker: this is the process in the SLURM job."""
        from calib_sweep.progress import configure_logging

        if cores := os.environ.get("SLURM_CPUS_ON_NODE"):
            os.environ.setdefault("OMP_NUM_THREADS", cores)
        configure_logging()
        return super().__call__(*arguments)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs and wait until each has a result or has left the queue without one."""
        self._check()
        calls = [
            (list(overrides), "hydra.sweep.dir", number, str(number), Singleton.get_state())
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        jobs: list[Any] = []
        try:
            with sigterm_as_exit():
                self._submit(calls, jobs)
                return self._collect(jobs, job_overrides[: len(jobs)])
        except (KeyboardInterrupt, SystemExit):
            if self.cancel_on_interrupt and jobs:
                log.warning("interrupted: cancelling %d SLURM jobs", len(jobs))
                subprocess.run(["scancel", *_array_ids(jobs)], check=False)
            raise

    def _check(self) -> None:
        for key in ("cells_per_worker", "max_array_size", "poll_s"):
            value = getattr(self, key)
            ok = value is None or value > 0
            require(
                ok, f"hydra.launcher.{key}", value, "more than 0", f"Type hydra.launcher.{key}=1."
            )
        for key in ("nodes", "tasks_per_node"):
            remedy = (
                "Leave it at 1; for more workers at a time raise hydra.launcher.array_parallelism."
            )
            expected = "1 (a worker is one process)"
            require(
                self.params[key] == 1, f"hydra.launcher.{key}", self.params[key], expected, remedy
            )
        missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
        if missing:
            raise ConfigError(
                f"hydra/launcher='slurm': expected SLURM's commands, but {', '.join(missing)} "
                "cannot be found here. Run it where you would run sbatch, or type "
                "hydra/launcher=accelerate to use this machine."
            )

    def _submit(self, calls: Sequence[tuple[Any, ...]], jobs: list[Any]) -> None:
        """Submit every call, as few arrays as allowed; `jobs` grows as they are accepted.

        Refused at once is the user's to mend; refused later (a quota) costs those jobs a round.
        """
        import submitit
        from submitit.core.utils import FailedJobError

        params = dict(self.params)
        folder, retries = params.pop("submitit_folder"), params.pop("max_num_timeout")
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=retries)
        common = set(OmegaConf.structured(BaseQueueConf).keys())
        executor.update_parameters(
            **{key if key in common else f"slurm_{key}": value for key, value in params.items()}
        )
        for start in range(0, len(calls), self.max_array_size):
            array = calls[start : start + self.max_array_size]
            try:
                jobs += executor.map_array(self, *zip(*array, strict=True))
            except (FailedJobError, subprocess.CalledProcessError) as error:
                said = " ".join(str(error).split()) or "nothing"
                if jobs:  # the others' cells are submitted again when these have ended
                    log.warning("sbatch took %d of %d jobs: %s", len(jobs), len(calls), said)
                    break
                raise ConfigError(
                    f"hydra/launcher='slurm': sbatch refused the jobs. It said: {said} The "
                    "settings are hydra.launcher.partition, account, qos, timeout_min and so on; "
                    "add --cfg hydra -p hydra.launcher to the command to see all of them."
                ) from error
        ids = ", ".join(_array_ids(jobs))
        log.info("%d SLURM jobs submitted (%s); their logs: %s", len(jobs), ids, folder)

    def _collect(
        self, jobs: Sequence[Any], job_overrides: Sequence[Sequence[str]]
    ) -> list[JobReturn]:
        """The results in order; a job gone from the queue without one is a failed result."""
        results: dict[str, JobReturn] = {}
        absences: Counter[str] = Counter()
        while True:
            # The queue is asked before the results are looked for: a job may end between the two.
            queued = queued_jobs()
            for job, overrides in zip(jobs, job_overrides, strict=True):
                if job.job_id in results:
                    continue
                if _has_result(job):
                    results[job.job_id] = _result(job, overrides)
                    log.info("job %s ended (%d of %d)", job.job_id, len(results), len(jobs))
                elif queued is not None and job.job_id not in queued:
                    absences[job.job_id] += 1
                    if absences[job.job_id] >= POLLS_UNTIL_LOST:
                        results[job.job_id] = _failed(overrides, _describe_loss(job))
            if len(results) == len(jobs):
                return [results[job.job_id] for job in jobs]
            time.sleep(self.poll_s)


def _array_ids(jobs: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(job.job_id.split("_")[0] for job in jobs))


def queued_jobs() -> set[str] | None:
    """The ids (array tasks: ARRAY_INDEX) of this user's jobs in the queue; None: no answer."""
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0:
        log.warning("squeue does not answer (%s); asking again", answer.stderr.strip())
        return None
    return set(answer.stdout.split())


def _has_result(job: Any) -> bool:
    path: Path = job.paths.result_pickle
    return path.parent.is_dir() and path.name in os.listdir(path.parent)  # noqa: PTH208 - fresh on NFS


def _result(job: Any, overrides: Sequence[str]) -> JobReturn:
    try:
        return job.results()[0]
    except Exception as error:  # out of time, or no result that can be read here
        return _failed(overrides, WorkerLostError(f"SLURM job {job.job_id}: {error}"))


def _failed(overrides: Sequence[str], error: BaseException) -> JobReturn:
    return JobReturn(overrides=list(overrides), status=JobStatus.FAILED, _return_value=error)


def _describe_loss(job: Any) -> WorkerLostError:
    """What SLURM and the job's log say of a job that left no result."""
    answer = subprocess.run(
        ["scontrol", "show", "job", "-o", job.job_id], capture_output=True, text=True
    )
    words = dict(word.split("=", 1) for word in answer.stdout.split() if "=" in word)
    state = words.get("JobState", "no longer known to SLURM")
    return WorkerLostError(
        f"SLURM job {job.job_id} ended without a result ({state}). End of {job.paths.stderr}:\n"
        f"{tail(job.paths.stderr)}"
    )
