"""hydra/launcher=slurm: submits workers as SLURM job arrays (submitit) and waits for them.

Differs from submitit's own Hydra launcher in what happens when things go wrong:
- a job that is killed (memory, node, scancel) or out of time costs the cell it ran, which it gives
  back if it is given a moment, and nothing else: what is left is submitted again by the sweep;
- a job out of time or preempted goes back into the queue by itself, and goes on from there;
- it is noticed because it has left the queue: no accounting database is needed;
- Ctrl-C, SIGTERM and SIGHUP cancel what was submitted; a process that is killed leaves its jobs
  running, and the same command shares the sweep with them.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra_plugins.calib_sweep import outcome, slurm_job, slurm_ranks
from hydra_plugins.calib_sweep.private import make_private
from hydra_plugins.calib_sweep.slurm_queue import Queue
from hydra_plugins.calib_sweep.slurm_settings import (
    check_settings,
    check_tasks,
    missing_commands,
)
from hydra_plugins.calib_sweep.supervisor import tail
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as SubmititSlurm
from omegaconf import OmegaConf

from calib_sweep import atomic
from calib_sweep.errors import ConfigError, WorkerLostError
from calib_sweep.interruption import Interrupted, ending_on
from calib_sweep.results import submitted
from calib_sweep.wording import counted

if TYPE_CHECKING:
    from submitit import Job

log = logging.getLogger("calib_sweep.launcher")

AWAY = "Unable to contact slurm controller"  # what sbatch says of a controller that is away


class SlurmLauncher(SubmititSlurm):
    """Submits one SLURM job per worker."""

    def __init__(
        self,
        cells_per_worker: int | None,
        minutes_per_worker: float | None,
        max_array_size: int,
        poll_s: float,
        cancel_on_interrupt: bool,
        detach: bool,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.cells_per_worker, self.minutes_per_worker = cells_per_worker, minutes_per_worker
        self.max_array_size, self.poll_s = max_array_size, poll_s
        self.cancel_on_interrupt, self.detach = cancel_on_interrupt, detach

    def __call__(self, *arguments: Any) -> JobReturn:
        """Run one worker: this is the process in the SLURM job.

        One that is told to end leaves no outcome: it may be in the queue again, or SLURM says that
        it is over.
        """
        from submitit import JobEnvironment

        from calib_sweep.console import configure_logging
        from calib_sweep.sweep.worker import Worker

        if threads := slurm_ranks.threads_of(os.environ):
            os.environ.setdefault("OMP_NUM_THREADS", threads)
        configure_logging()
        here = JobEnvironment()
        folder, name = here.paths.folder, here.job_id
        before_timeout = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]
        try:
            with ending_on(before_timeout, signal.SIGTERM, signal.SIGINT):
                kept = self._meet(folder, name)
                job = super().__call__(*arguments)
                del kept
        except Interrupted as told:
            slurm_job.end(
                str(told),
                is_out_of_time=str(told) == before_timeout.name,
                got_on=isinstance(self.task_function, Worker) and self.task_function.got_on(),
                most=self.params["max_num_timeout"],
                count=folder / f"{name}_timeouts.txt",
            )
            raise SystemExit(1) from None
        if os.environ.get("SLURM_PROCID", "0") == "0":  # the first rank works, the others follow
            atomic.write(outcome_path(folder, name), outcome.to_text(job))
        return job

    def _meet(self, folder: Path, name: str) -> object:
        """Name this process as one of the job's ranks, if it has several."""
        if slurm_ranks.num_tasks(os.environ) == 1:
            return None
        kept, names = slurm_ranks.meet(folder, name, os.environ)
        os.environ.update(names)
        return kept

    def check(self) -> None:
        """Raise `ConfigError` with all settings that cannot work."""
        own = {"cells_per_worker", "minutes_per_worker", "max_array_size", "poll_s"}
        check_settings({**self.params, **{key: getattr(self, key) for key in own}})

    def check_ranks(self, ranks_per_cell: int) -> None:
        """Raise `ConfigError` unless a job has as many tasks as a cell has ranks."""
        check_tasks(self.params["nodes"], self.params["tasks_per_node"], ranks_per_cell)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs and wait until each has an outcome or has left the queue without one.

        Detached: wait for none of them, and return those alone that sbatch did not take.
        """
        self.check()
        calls = [
            (list(overrides), "hydra.sweep.dir", number, str(number), Singleton.get_state())
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        jobs: list[Job[JobReturn]] = []
        try:
            self._submit(calls, jobs)
            if self.detach:
                lost = WorkerLostError("sbatch did not take its job")
                return [outcome.failed(of, lost) for of in job_overrides[len(jobs) :]]
            return self._collect(jobs, job_overrides[: len(jobs)])
        except KeyboardInterrupt:
            if self.cancel_on_interrupt and jobs:
                log.warning("interrupted: cancelling %s", counted(len(jobs), "SLURM job"))
                subprocess.run(["scancel", *_array_ids(jobs)], check=False)
            raise

    def executor(self) -> Any:
        """Return submitit's executor of jobs with these settings."""
        import submitit

        params = dict(self.params)
        folder, retries = params.pop("submitit_folder"), params.pop("max_num_timeout")
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=retries)
        common = set(OmegaConf.structured(BaseQueueConf).keys())
        # Also where a cluster's own setting is that jobs which are preempted are not requeued.
        params["additional_parameters"] = {"requeue": True, **params["additional_parameters"]}
        executor.update_parameters(
            **{key if key in common else f"slurm_{key}": value for key, value in params.items()}
        )
        return executor

    def preview(self, num_jobs: int) -> str | None:
        """Return the batch script of the first array of `num_jobs`; None where there is no SLURM.

        Submits nothing.
        """
        if missing_commands():
            return None
        executor = self.executor()._executor
        if num_jobs > 1:
            executor.parameters["map_count"] = min(num_jobs, self.max_array_size)
        return executor._make_submission_file_text(executor._submitit_command_str, "preview")

    def _submit(self, calls: Sequence[tuple[object, ...]], jobs: list["Job[JobReturn]"]) -> None:
        """Submit every call, as few arrays as allowed; `jobs` grows as they are accepted.

        Refused at once is the user's to mend. Refused later (a quota) costs those jobs a round;
        where nobody waits for the others, it is up to the user to submit them again.
        """
        from submitit.core.utils import FailedJobError, JobPaths

        folder = self.params["submitit_folder"]
        # The jobs load pickles from there: nobody else may put one in their place.
        make_private(JobPaths.get_first_id_independent_folder(folder))
        executor = self.executor()
        for start in range(0, len(calls), self.max_array_size):
            array = calls[start : start + self.max_array_size]
            try:
                jobs += self._map(executor, array)
            except (FailedJobError, subprocess.CalledProcessError) as error:
                said = _in_one_line(error)
                if jobs:  # the others' cells are submitted again when these have ended
                    log.warning(
                        "sbatch took %d of %s: %s", len(jobs), counted(len(calls), "job"), said
                    )
                    break
                raise ConfigError(
                    f"hydra/launcher='slurm': sbatch refused the jobs. It said: {said} "
                    "Settings are hydra.launcher.partition, account, qos, timeout_min, "
                    "max_array_size and others; for fewer jobs raise cells_per_worker; add "
                    "--cfg hydra -p hydra.launcher to the command to see them all."
                ) from error
        ids = ", ".join(_array_ids(jobs))
        number = counted(len(jobs), "SLURM job")
        log.info("%s submitted (%s); logs: %s", number, ids, folder)
        assert self.config is not None
        submitted.keep(Path(self.config.hydra.sweep.dir), _array_ids(jobs), len(jobs))

    def _map(self, executor: Any, array: Sequence[tuple[object, ...]]) -> list["Job[JobReturn]"]:
        """Submit one array. A controller that is away is waited for, unless nothing ran before.

        Then somebody looks on, and is told.
        """
        from submitit.core.utils import FailedJobError

        assert self.config is not None
        is_begun = bool(submitted.kept(Path(self.config.hydra.sweep.dir)))
        is_told = False
        while True:
            try:
                return executor.map_array(self, *zip(*array, strict=True))
            except FailedJobError as error:
                if not is_begun or AWAY not in str(error):
                    raise
                if not is_told:
                    log.warning("%s: asking until it does", _in_one_line(error))
                is_told = True
                time.sleep(self.poll_s)

    def _collect(
        self, jobs: Sequence["Job[JobReturn]"], job_overrides: Sequence[Sequence[str]]
    ) -> list[JobReturn]:
        """Return how each job ended, in order; one that is over without an outcome has failed."""
        ended: dict[str, JobReturn] = {}
        queue = Queue()
        while True:
            for job, overrides in zip(jobs, job_overrides, strict=True):
                if job.job_id not in ended and (text := _read_outcome(job)) is not None:
                    ended[job.job_id] = outcome.from_text(text, overrides)
                    log.info("job %s ended (%d of %d)", job.job_id, len(ended), len(jobs))
            if len(ended) == len(jobs):
                return [ended[job.job_id] for job in jobs]
            time.sleep(self.poll_s)
            over = queue.over(job.job_id for job in jobs if job.job_id not in ended)
            for job, overrides in zip(jobs, job_overrides, strict=True):
                if job.job_id in over and _read_outcome(job) is None:
                    lost = self._describe_loss(job, over[job.job_id])
                    ended[job.job_id] = outcome.failed(overrides, lost)

    def _describe_loss(self, job: "Job[JobReturn]", state: str) -> WorkerLostError:
        """Say what SLURM and the job's log tell of a job that left no outcome."""
        path = job.paths.stdout if self.params["stderr_to_stdout"] else job.paths.stderr
        told = f"SLURM job {job.job_id} ended without a result ({state})"
        if not path.exists():
            return WorkerLostError(
                f"{told}, and without a log: it never began, or its node does not see {path.parent}"
            )
        return WorkerLostError(f"{told}. End of {path}:\n{tail(path)}")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or "nothing"


def _array_ids(jobs: Sequence["Job[JobReturn]"]) -> list[str]:
    return list(dict.fromkeys(job.job_id.split("_")[0] for job in jobs))


def outcome_path(folder: Path, job_id: str) -> Path:
    """Return where the job leaves how it ended, in submitit's folder of the job."""
    return folder / f"{job_id}_outcome.json"


def _read_outcome(job: "Job[JobReturn]") -> bytes | None:
    path = outcome_path(job.paths.folder, job.job_id)
    # A listing of the folder is fresh on NFS, where the absence of one file is remembered.
    is_there = path.parent.is_dir() and path.name in os.listdir(path.parent)  # noqa: PTH208
    return path.read_bytes() if is_there else None
