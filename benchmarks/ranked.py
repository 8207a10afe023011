"""Ranks of one machine for benchmarks: processes with gloo between them, on so many threads each.

    on_ranks(2, 1, run, *arguments)     what `run(ranks, *arguments)` returns on the first rank
    on_gpus(2, run, *arguments)         what it returns on each rank: a GPU each, NCCL between them
    in_turns(ranks, alone, together, 3) rows: what one rank takes, and all of them

`timed` measures in step: wall-clock seconds until the last rank is done, CPU seconds of each. On a
machine that others use, the CPU seconds are the steadier ones: alone's over those of the busiest
rank are the speed-up that free cores would give.
"""

import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from calib_sweep.ranks import ALONE, ProcessRanks, Ranks

TIMEOUT_S = 3600


def on_ranks(count: int, num_threads: int, run: Callable[..., Any], *arguments: Any) -> Any:
    """Start the ranks; return what `run`, a function of a module, returns on the first one."""
    with tempfile.TemporaryDirectory() as folder:
        told = (count, num_threads, folder, run, arguments)
        torch.multiprocessing.spawn(_rank, told, nprocs=count)
        return torch.load(Path(folder) / "found", weights_only=False)


def on_gpus(count: int, run: Callable[..., Any], *arguments: Any, kind: str = "cuda") -> list[Any]:
    """Start the ranks, each on its own GPU; return what `run` returns on each. `kind`: or cpu."""
    with tempfile.TemporaryDirectory() as folder:
        told = (count, folder, run, arguments, kind)
        torch.multiprocessing.spawn(_gpu_rank, told, nprocs=count)
        found = [Path(folder) / f"found.{index}" for index in range(count)]
        return [torch.load(path, weights_only=False) for path in found]


def in_turns(
    ranks: Ranks, alone: Callable[[], Any], together: Callable[[], Any], repeats: int
) -> list[dict[str, Any]]:
    """Measure what the first rank does alone, and all together, one after the other.

    Both are done once before, so that libraries are loaded and rows laid out.
    """
    ranks.from_rank(0, alone)
    together()
    rows = []
    for _ in range(repeats):
        one, alone_s, (alone_cpu_s,) = ranks.from_rank(0, lambda: timed(ALONE, alone))
        all_, together_s, rank_cpu_s = timed(ranks, together)
        row = {"ranks": ranks.count, "same": one == all_, "alone_s": alone_s}
        row |= {"together_s": together_s, "speed_up": alone_s / together_s}
        row |= {"alone_cpu_s": alone_cpu_s, "rank_cpu_s": rank_cpu_s}
        rows.append(row | {"speed_up_by_cpu": alone_cpu_s / max(rank_cpu_s)})
    return rows


def timed(ranks: Ranks, action: Callable[[], Any]) -> tuple[Any, float, list[float]]:
    """Return what `action` does on all ranks, wall-clock seconds, and CPU seconds of each rank."""
    ranks.gathered([])
    start_s, cpu_s = time.perf_counter(), time.process_time()
    found = action()
    own_s = time.process_time() - cpu_s
    used_s = ranks.gathered([own_s])
    return found, time.perf_counter() - start_s, used_s


def _rank(
    index: int, count: int, num_threads: int, folder: str, run: Callable[..., Any], arguments: Any
) -> None:
    torch.set_num_threads(num_threads)
    ranks = _join(index, count, folder, torch.device("cpu"))
    found = run(ranks, *arguments)
    if ranks.is_first:
        torch.save(found, f"{folder}/found")
    torch.distributed.destroy_process_group()


def _gpu_rank(
    index: int, count: int, folder: str, run: Callable[..., Any], arguments: Any, kind: str
) -> None:
    device = torch.device(kind, index) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    ranks = _join(index, count, folder, device)
    torch.save(run(ranks, *arguments), f"{folder}/found.{index}")
    torch.distributed.destroy_process_group()


def _join(index: int, count: int, folder: str, device: torch.device) -> ProcessRanks:
    """As `calib_sweep.group` does, without a watch."""
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=torch.distributed.FileStore(f"{folder}/store", count),
        rank=index,
        world_size=count,
        timeout=timedelta(seconds=TIMEOUT_S),
    )
    return ProcessRanks(index=index, count=count, device=device)
