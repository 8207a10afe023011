"""hydra/launcher=accelerate: starts workers on this machine and replaces those that die.

    launch -- num_workers --> python -m ...accelerate_worker   (its own GPU, log and process group)
       |                           takes cells by claims until the sweep is settled
       +-- a worker killed or crashed --> another in its place, max_restarts times in all

Workers share cells by claims, so nothing here knows of cells: the one that a dead worker held is
taken over by any other, and a worker that comes back has seen every cell settled.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.calib_sweep import outcome
from hydra_plugins.calib_sweep.supervisor import Supervisor
from omegaconf import DictConfig, open_dict

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.group.membership import LEFT_OVER
from calib_sweep.wording import counted

log = logging.getLogger("calib_sweep.launcher")


@dataclass
class AccelerateLauncherConf:
    """Settings of the launcher."""

    _target_: str = "hydra_plugins.calib_sweep.accelerate_launcher.AccelerateLauncher"
    # Workers, of ranks_per_cell processes each; null: as many as there are GPUs for, at least one.
    num_workers: int | None = None
    max_restarts: int = 3  # replacements of workers that die, in all


ConfigStore.instance().store(
    group="hydra/launcher", name="accelerate", node=AccelerateLauncherConf, provider="calib_sweep"
)


class AccelerateLauncher(Launcher):
    """Runs each job of Hydra's in several worker processes at once; for us there is one job."""

    def __init__(self, num_workers: int | None, max_restarts: int) -> None:
        self.num_workers, self.max_restarts = num_workers, max_restarts

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a worker process needs; it is pickled with this launcher."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs one after another, each in `num_workers` processes: how these ended."""
        self.check()
        self.num_ranks = getattr(self.task_function, "ranks_per_cell", 1)
        environments = worker_environments(self.num_workers, os.environ, self.num_ranks)
        jobs = enumerate(job_overrides, start=initial_job_idx)
        return [job for n, o in jobs for job in self._launch(list(o), n, environments)]

    def check(self) -> None:
        """Raise `ConfigError` with all settings that cannot work."""
        with collected() as problems:
            key, value = "hydra.launcher.num_workers", self.num_workers
            expected = "an integer >= 1, or null for one worker per GPU"
            ok = value is None or value >= 1
            problems.of(require, ok, key, value, expected, f"Example: {key}=2.")
            key, value = "hydra.launcher.max_restarts", self.max_restarts
            expected = "an integer >= 0"
            problems.of(require, value >= 0, key, value, expected, f"Example: {key}=3.")
            problems.of(_refuse_two_ways)

    def check_ranks(self, ranks_per_cell: int) -> None:
        """Accept any number of ranks: a worker is started as so many processes."""

    def _launch(
        self, overrides: list[str], number: int, environments: Sequence[Mapping[str, str]]
    ) -> list[JobReturn]:
        import cloudpickle

        folder = Path(str(self.config.hydra.sweep.dir)).absolute() / ".workers"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{os.uname().nodename.split('.')[0]}-{os.getpid()}-{number}"
        task = cloudpickle.dumps((self, overrides, number, Singleton.get_state()))
        workers = counted(len(environments), "worker")
        workers += f" of {self.num_ranks} ranks" if self.num_ranks > 1 else ""
        log.info("%s; logs: %s", workers, folder / f"{name}.*.log")
        patience_s = getattr(self.task_function, "patience_s", 0.0)
        supervisor = Supervisor(
            *(task, folder / name, self.max_restarts),
            num_ranks=self.num_ranks,
            patience_s=patience_s,
        )
        try:
            ended = supervisor.work(environments)
        finally:
            supervisor.stop()
        return ended or [outcome.failed(overrides, supervisor.loss())]

    def run(self, overrides: list[str], number: int, state: dict[type, object]) -> JobReturn:
        """Run the job in this process, a worker's."""
        from calib_sweep.console import configure_logging

        Singleton.set_state(state)
        setup_globals()
        configure_logging()
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


def _refuse_two_ways() -> None:
    if "LOCAL_RANK" in os.environ:
        raise ConfigError(
            "hydra/launcher='accelerate': expected to start the processes itself, but this is one "
            "process of `accelerate launch` or `torchrun`. Leave out one of the two. " + LEFT_OVER
        )


def worker_environments(
    num_workers: int | None, environment: Mapping[str, str], num_ranks: int = 1
) -> list[dict[str, str]]:
    """One environment per worker: GPUs of its own if there are any, its share of the cores.

    Its ranks see all its GPUs, and each takes the one of its number.
    """
    gpus = visible_gpus(environment)
    num_workers = num_workers or max(1, len(gpus) // num_ranks)
    threads = str(max(1, len(os.sched_getaffinity(0)) // (num_workers * num_ranks)))
    shared = {"OMP_NUM_THREADS": threads, **environment}
    if not gpus:
        return [dict(shared) for _ in range(num_workers)]
    own = [
        dict.fromkeys(gpus[k % len(gpus)] for k in range(start, start + num_ranks))
        for start in range(0, num_workers * num_ranks, num_ranks)
    ]
    return [{**shared, "CUDA_VISIBLE_DEVICES": ",".join(names)} for names in own]


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the GPUs of this process, as CUDA_VISIBLE_DEVICES spells them."""
    import torch

    count = torch.cuda.device_count()
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in named.split(",")][:count]
