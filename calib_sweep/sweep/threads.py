"""How many threads small models run on, where nobody says: measured once for a sweep, and kept.

Sums of float32 come out in another order on another number of threads: SparseGPT moves in its last
digits. So a choice is made once, and kept in the sweep's folder for whoever runs its cells later,
on whatever machine. Each record has it.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep import atomic, valid_json
from calib_sweep.cell import Cell, digest, without_execution
from calib_sweep.places import THREADS
from calib_sweep.results.store import Store
from calib_sweep.values import is_int

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

# Weights of the linear layers up to which threads may wait for each other longer than they compute.
SMALL = 20_000_000
NUM_TOKENS, NUM_PASSES = 256, 3  # of the probe
WORTH_IT = 1.1  # more threads are taken where they save more than this


def probed(cells: Sequence[Cell], numbers: Mapping[str, int]) -> list[Cell]:
    """Return the cells with the number of threads of their model, where they have none."""
    return [_with_threads(cell, numbers.get(model_key(cell))) for cell in cells]


def _with_threads(cell: Cell, number: int | None) -> Cell:
    if number is None or cell.config["num_threads"] is not None:
        return cell
    return replace(cell, config={**cell.config, "num_threads": number})


def model_key(cell: Cell) -> str:
    """Name the model of a cell: what computes alike, on whatever device it is asked for."""
    return digest(without_execution(cell.config["model"]))


def kept(store: Store, key: str) -> int | None:
    """Return the number that was chosen for a model in this sweep; None before."""
    with suppress(OSError, ValueError):
        told: object = json.loads(_place(store, key).read_text())
        number = told.get("num_threads") if valid_json.is_object(told) else None
        return number if is_int(number, 1) else None
    return None


def keep(store: Store, key: str, number: int, seconds: Mapping[int, float]) -> int:
    """Keep the choice, unless somebody was faster; return the one that counts."""
    atomic.make_folder(store.folder)
    told = {"num_threads": number, "seconds": {str(t): s for t, s in seconds.items()}}
    text = valid_json.dumps(told, indent=1) + "\n"
    try:
        atomic.write_new(_place(store, key), text)
    except FileExistsError:
        if (other := kept(store, key)) is not None:
            return other
        atomic.write(_place(store, key), text)  # a damaged one
    return number


def _place(store: Store, key: str) -> Path:
    return store.folder / THREADS.replace("*", key)


def candidates(num_cores: int) -> list[int]:
    """Return the numbers that are tried: 1, 2, 4 and so on, and all cores."""
    powers = [2**k for k in range(num_cores.bit_length()) if 2**k < num_cores]
    return [*powers, num_cores]


def fastest(seconds: Mapping[int, float], num_cells: int, num_workers: Callable[[int], int]) -> int:
    """Return the fewest threads with which a sweep takes nearly the least time.

    `seconds` of a pass by threads. `num_workers`: that share the cells, with so many threads each.
    """
    costs = {t: ceil(num_cells / num_workers(t)) * s for t, s in seconds.items()}
    return min(t for t, cost in costs.items() if cost <= WORTH_IT * min(costs.values()))


def time_passes(model: "PreTrainedModel", numbers: Sequence[int]) -> dict[int, float]:
    """Return the seconds of a forward pass by the number of threads, the least of a few."""
    import torch

    length = min(NUM_TOKENS, getattr(model.config, "max_position_embeddings", NUM_TOKENS))
    tokens = torch.arange(length)[None] % model.config.vocab_size
    before = torch.get_num_threads()
    seconds: dict[int, float] = {}
    try:
        for number in numbers:
            torch.set_num_threads(number)
            passes = [_time(lambda: model(tokens, use_cache=False)) for _ in range(NUM_PASSES + 1)]
            seconds[number] = min(passes[1:])
    finally:
        torch.set_num_threads(before)
    return seconds


def _time(action: Callable[[], object]) -> float:
    import torch

    start = time.perf_counter()
    with torch.inference_mode():
        action()
    return time.perf_counter() - start
