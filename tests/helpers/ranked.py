"""Ranks for tests: threads of this process, or processes of their own with gloo between them."""

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import torch

from calib_sweep.ranks import ProcessRanks, Ranks

TIMEOUT_S = 120


@dataclass(frozen=True, kw_only=True)
class ThreadRanks(Ranks):
    """A rank that is a thread: it hands values over as they are, tensors copied."""

    barrier: threading.Barrier
    board: dict

    def _sent(self, value, owner):
        if self.index == owner:
            self.board["value"] = value
        self.barrier.wait(TIMEOUT_S)
        got = _copied(self.board["value"])
        self.barrier.wait(TIMEOUT_S)
        return got


def _copied(value):
    """Of containers that tests send: a tensor that two ranks share would hide a mistake."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_copied(item) for item in value)
    return value


def in_threads(count, run):
    """`run(ranks)` of each rank, in order; the first error of any is raised."""
    barrier, board = threading.Barrier(count), {}

    def run_rank(index):
        try:
            return run(ThreadRanks(index=index, count=count, barrier=barrier, board=board))
        except threading.BrokenBarrierError:
            raise
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run_rank, index) for index in range(count)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures]


def _process(index, count, folder, run, arguments):
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/store", count)
    timeout = timedelta(seconds=TIMEOUT_S)
    torch.distributed.init_process_group(
        "gloo", store=store, rank=index, world_size=count, timeout=timeout
    )
    ranks = ProcessRanks(index=index, count=count, device=torch.device("cpu"))
    try:
        result = run(ranks, *arguments)
    except BaseException:
        traceback.print_exc()
        raise
    torch.save(result, f"{folder}/{index}.pt")
    torch.distributed.destroy_process_group()


def in_processes(count, folder, run, *arguments):
    """`run(ranks, *arguments)` of each rank, in order: `run` is a function of a module."""
    torch.multiprocessing.spawn(_process, (count, str(folder), run, arguments), nprocs=count)
    return [torch.load(f"{folder}/{index}.pt", weights_only=False) for index in range(count)]
