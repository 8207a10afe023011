"""The tasks of a SLURM job as ranks: how they find each other.

The first task opens a place to meet and writes where it is into submitit's folder of the job, which
all its tasks see. The file's name says which start of the job it is: one that is requeued does not
look for the tasks of its earlier life.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from hydra_plugins.calib_sweep.ranks_of import LOOPBACK, meeting_place, rank_names

from calib_sweep import atomic
from calib_sweep.errors import WorkerLostError

POLL_S = 0.2
PATIENCE_S = 300.0  # from the start of a task to that of the first one


def num_tasks(environment: Mapping[str, str]) -> int:
    """Return how many tasks the step has that this process is one of."""
    return int(environment.get("SLURM_STEP_NUM_TASKS", "1"))


def threads_of(environment: Mapping[str, str]) -> str | None:
    """Return this task's share of the cores that the job has on this node."""
    cores = environment.get("SLURM_CPUS_ON_NODE")
    if cores is None or "SLURM_CPUS_PER_TASK" in environment:
        return environment.get("SLURM_CPUS_PER_TASK")
    tasks = environment.get("SLURM_NTASKS_PER_NODE", "1")
    return str(max(1, int(cores) // int(tasks)))


def meet(folder: Path, name: str, environment: Mapping[str, str]) -> tuple[object, dict[str, str]]:
    """Return what the first task has to keep, and the names of this rank for the environment."""
    rank, count = int(environment["SLURM_PROCID"]), num_tasks(environment)
    local, start = int(environment["SLURM_LOCALID"]), environment.get("SLURM_RESTART_COUNT", "0")
    path = folder / f"{name}_meeting.{start}.txt"
    kept: object = None
    if rank == 0:
        kept, port = meeting_place()
        is_one_node = environment.get("SLURM_STEP_NUM_NODES", "1") == "1"
        host = LOOPBACK if is_one_node else environment["SLURMD_NODENAME"]
        atomic.write(path, f"{host} {port}")
    host, number = _read(path).split()
    return kept, rank_names(rank, count, local, host, int(number))


def _read(path: Path) -> str:
    deadline = time.monotonic() + PATIENCE_S
    # A listing of the folder is fresh on NFS, where the absence of one file is remembered.
    while path.name not in os.listdir(path.parent):  # noqa: PTH208
        if time.monotonic() > deadline:
            raise WorkerLostError(
                f"the first task of this job did not say within {PATIENCE_S:.0f} s where ranks are "
                f"to meet ({path}). Its log tells why."
            )
        time.sleep(POLL_S)
    return path.read_text()
