"""Settings of hydra/launcher=slurm and what is wrong with them, told all at once."""

import shutil
from dataclasses import dataclass, fields

from hydra.core.config_store import ConfigStore
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

from calib_sweep.cell import Config
from calib_sweep.errors import ConfigError, UnavailableError, collected, require
from calib_sweep.wording import counted

COMMANDS = ("sbatch", "srun", "squeue")  # scontrol and scancel come with them
LEAST = {  # of a number; null is accepted where it is the default
    "timeout_min": 1,
    "signal_delay_s": 0,
    "array_parallelism": 1,
    "cells_per_worker": 1,
    "max_array_size": 1,
    "cpus_per_task": 1,
    "gpus_per_node": 0,
    "mem_gb": 0,  # all of a node
    "cpus_per_gpu": 1,
    "gpus_per_task": 0,
    "max_num_timeout": 0,
    "minutes_per_worker": 1,
    "nodes": 1,
    "tasks_per_node": 1,
}


@dataclass
class SlurmLauncherConf(SlurmQueueConf):
    """Settings of the launcher: submitit's, and ours below."""

    _target_: str = "hydra_plugins.calib_sweep.slurm_launcher.SlurmLauncher"
    name: str = "calib_sweep"
    cells_per_worker: int | None = 1  # cells in one job; null: one job that runs them all
    minutes_per_worker: float | None = None  # instead: so much work in one job, by the estimate
    max_array_size: int = 1000  # jobs in one array; `scontrol show config` says MaxArraySize
    poll_s: float = 10.0  # between two looks at the queue and at the results
    cancel_on_interrupt: bool = True  # Ctrl-C, SIGTERM or SIGHUP here cancels the jobs
    detach: bool = False  # return when the jobs are submitted; the last one writes the report
    max_num_timeout: int = 20  # so often a job out of time goes on from the queue, if it got on


ConfigStore.instance().store(
    group="hydra/launcher", name="slurm", node=SlurmLauncherConf, provider="calib_sweep"
)


def check_settings(settings: Config) -> None:
    """Raise `ConfigError` with all that cannot work. Types are Hydra's business."""
    with collected() as problems:
        for key, least in LEAST.items():
            ok = settings[key] is None or settings[key] >= least
            value, remedy = settings[key], f"Example: hydra.launcher.{key}={max(1, least)}."
            expected = f"a number >= {least}"
            problems.of(require, ok, f"hydra.launcher.{key}", value, expected, remedy)
        problems.of(_check_keys, settings)
        problems.of(_check_poll, settings["poll_s"])
        problems.of(_check_signal, settings["signal_delay_s"], settings["timeout_min"])
        problems.of(_check_commands)


def check_tasks(nodes: int, tasks_per_node: int, ranks_per_cell: int) -> None:
    """Raise `ConfigError` unless each job has as many tasks as a cell has ranks."""
    if nodes * tasks_per_node == ranks_per_cell:
        return
    typed = f"hydra.launcher.nodes={nodes} hydra.launcher.tasks_per_node={tasks_per_node}"
    instead = "For more workers at a time raise hydra.launcher.array_parallelism."
    if ranks_per_cell > 1:
        instead = f"Type hydra.launcher.tasks_per_node={ranks_per_cell // nodes or 1}."
    raise ConfigError(
        f"{typed}: expected {counted(ranks_per_cell, 'task')} in a job, as "
        f"ranks_per_cell={ranks_per_cell}: a task is a rank. {instead}"
    )


def _check_keys(settings: Config) -> None:
    known = {one.name for one in fields(SlurmLauncherConf)}
    added = ", ".join(sorted(settings.keys() - known))
    require(
        *(not added, "hydra.launcher", added, "only keys that are there already"),
        "For other options of sbatch: 'hydra.launcher.additional_parameters={nice: 100}'.",
    )


def _check_poll(poll_s: float) -> None:
    key = "hydra.launcher.poll_s"
    require(0 < poll_s < float("inf"), key, poll_s, "a number > 0", f"Example: {key}=10.")


def _check_signal(delay_s: int, timeout_min: int) -> None:
    """SLURM tells a job `delay_s` before its time is over that it will be."""
    limit_s = 60 * timeout_min
    require(
        limit_s <= 0 or delay_s < limit_s,
        "hydra.launcher.signal_delay_s",
        delay_s,
        f"less than {limit_s}, the seconds in hydra.launcher.timeout_min={timeout_min}, as a job "
        "is told to end so long before its time is over",
        f"Example: hydra.launcher.signal_delay_s={limit_s // 4}. Or give jobs more time.",
    )


def missing_commands() -> list[str]:
    """Return the commands of SLURM that cannot be found here."""
    return [name for name in COMMANDS if shutil.which(name) is None]


def _check_commands() -> None:
    """Raise `UnavailableError` without SLURM: a note of a check, which a laptop can make."""
    if missing := missing_commands():
        raise UnavailableError(
            f"hydra/launcher='slurm': expected SLURM's commands, but {', '.join(missing)} cannot "
            "be found here. Run it where you would run sbatch, or type hydra/launcher=accelerate "
            "to use this machine."
        )
