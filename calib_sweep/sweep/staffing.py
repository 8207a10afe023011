"""How many workers a command starts on a CPU: `workers: auto`, or the number typed.

    auto    cores over threads of a worker, as far as memory goes and as there are cells at once
    3       three, or as many as there are cells at once

It is one, this process, where something else starts the workers (another launcher, `accelerate
launch`, SLURM), and where a model runs on a GPU.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from calib_sweep.cell import DENSE, Cell, Config
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.group.membership import Place
from calib_sweep.parts.building import Builder
from calib_sweep.ranks import Ranks
from calib_sweep.sweep.cost.jobs import num_weights
from calib_sweep.sweep.launching import BASIC, check_launcher_ranks
from calib_sweep.sweep.machine import free_memory, num_cores
from calib_sweep.values import is_int

# Of a worker: Python with torch, transformers and lm-eval, and what is computed beside weights.
OWN_BYTES = 1_000_000_000
COPIES = 3  # of the weights: the model, its dense blocks, and what a walk keeps of a block
BYTES = {"float32": 4, "float64": 8}  # of a weight; 2 in all other types
SHARE = 0.8  # of the free memory; the rest is for files that are read again
DEVICES = tuple(map(Path, ("/dev/nvidiactl", "/dev/kfd")))
# Set where several processes may have been started with the same command.
MANY_STARTED = ("LOCAL_RANK", "RANK", "SLURM_JOB_ID")


def check_workers(
    master: DictConfig, cells: Sequence[Cell], environment: Mapping[str, str]
) -> None:
    """Raise `ConfigError` for a number of workers that something else decides."""
    workers = cells[0].config["workers"] if cells else 1
    if workers == "auto" or not is_int(workers, 2):
        return
    if not _is_basic(master):
        choice = master.hydra.runtime.choices.get("hydra/launcher")
        raise ConfigError(
            f"workers={workers}: has no effect with hydra/launcher={choice}, which starts workers "
            "itself. Leave it out, and set what the launcher has: for accelerate "
            f"hydra.launcher.num_workers={workers}."
        )
    if "LOCAL_RANK" in environment:
        raise ConfigError(
            f"workers={workers}: expected auto or 1, as this is one process of `accelerate launch` "
            "or `torchrun`. Leave out one of the two."
        )
    if is_on_gpu(cells):
        raise ConfigError(
            f"workers={workers}: expected auto or 1 for a model on a GPU. For one worker on each "
            "GPU type hydra/launcher=accelerate."
        )


def check_ranks(master: DictConfig, cells: Sequence[Cell], ranks: Ranks | None = None) -> None:
    """Raise `ConfigError` where cells of several ranks cannot be run as asked.

    ranks: that this command is one of; None: it is not to run them, only to check them.
    """
    number = cells[0].config["ranks_per_cell"] if cells else 1
    if not is_int(number, 1):
        return None  # refused with all other values
    if number == 1:
        return check_launcher_ranks(master, number)
    with collected() as problems:
        workers = cells[0].config["workers"]
        if workers not in ("auto", 1):
            problems.add(
                f"workers={workers}: expected auto or 1 with ranks_per_cell={number}. For several "
                "groups of ranks type hydra/launcher=accelerate hydra.launcher.num_workers="
                f"{workers}."
            )
        if not _is_basic(master):
            problems.of(check_launcher_ranks, master, number)
        elif ranks is not None and ranks.count != number:
            problems.of(Place.of, os.environ, number)
        for device in sorted({str(cell.config["model"].get("device", "auto")) for cell in cells}):
            problems.of(
                *(require, device in ("auto", "cpu"), "model.device", device),
                f"auto or cpu with ranks_per_cell={number}, as each rank takes a GPU of its own",
                "Example: model.device=auto.",
            )


def may_start(master: DictConfig, workers: int | str, environment: Mapping[str, str]) -> bool:
    """Tell whether this command may start workers beside itself."""
    if workers != "auto":
        return is_int(workers, 2) and _is_basic(master)  # others are refused later
    return is_alone(master, environment)


def is_alone(master: DictConfig, environment: Mapping[str, str]) -> bool:
    """Tell whether nothing else decides how many processes run this command."""
    return _is_basic(master) and environment.keys().isdisjoint(MANY_STARTED)


def _is_basic(master: DictConfig) -> bool:
    return str(master.hydra.launcher.get("_target_")) == BASIC


def first_guess(workers: int | str, configs: Sequence[Config]) -> int:
    """Return for how many workers to start processes before more is known of the cells.

    Nothing heavy is imported here. A number of threads that torch would choose is taken for all.
    """
    models = [c["model"] for c in configs]
    if _has_gpu() and any(not isinstance(m, dict) or m.get("device") != "cpu" for m in models):
        return 1
    chosen = [str(c["num_threads"] or os.environ.get("OMP_NUM_THREADS")) for c in configs]
    threads = max(int(text) if text.isdigit() else num_cores() for text in chosen)
    num_dense = sum(c["method"] == DENSE for c in configs)
    return num_workers(workers, threads, OWN_BYTES, len(configs) - num_dense)


def _has_gpu() -> bool:
    """Tell, without importing torch, whether there may be a GPU."""
    return any(device.exists() for device in DEVICES)


def needed(builder: Builder, workers: int | str, todo: Sequence[Cell]) -> int:
    """Return how many workers `todo` is worth, this process among them."""
    import torch

    if is_on_gpu(todo):
        return 1
    models = {str(cell.config["model"]): cell.config["model"] for cell in todo}.values()
    threads = max(cell.config["num_threads"] or torch.get_num_threads() for cell in todo)
    size = max(worker_bytes(builder, model) for model in models)
    return num_workers(workers, threads, size, at_once(todo))


def at_once(todo: Sequence[Cell]) -> int:
    """Return how many of the cells can run at the same time: first dense ones, then the others."""
    num_dense = sum(cell.is_dense for cell in todo)
    return max(num_dense, len(todo) - num_dense)


def is_on_gpu(cells: Sequence[Cell]) -> bool:
    import torch

    is_meant = any(cell.config["model"].get("device") != "cpu" for cell in cells)
    return is_meant and torch.cuda.is_available()


def worker_bytes(builder: Builder, model: Config) -> int:
    """Bytes that a worker takes with this model; only its own where the model's are not known."""
    weights = (num_weights(builder, model) or 0) * BYTES.get(str(model.get("dtype")), 2)
    return OWN_BYTES + COPIES * weights


def num_workers(workers: int | str, threads: int, num_bytes: int, num_cells: int) -> int:
    """Return how many workers of so many threads and bytes there are to be, at least 1.

    num_cells: that can run at the same time.
    """
    if workers == "auto":
        workers = min(num_cores() // threads, int(SHARE * free_memory() / num_bytes))
    return max(1, min(int(workers), num_cells))
