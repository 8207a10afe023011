"""Measure where the time of a walk goes: clocks around its parts, none of which knows of them.

    load         a block comes to the device and goes back (model.offload=blocks)
    embed        embedding all samples, recording how blocks are called
    forward      observing: blocks run on their dense inputs
    statistics   sums over the inputs of linear layers
    factorise    Cholesky factors of inverse Hessians, eigenvalues
    solve        masks, rounding, repair
    report       checks, output error, writing the weight back
    dense        blocks run on the hidden states of the dense model, for methods that compare both
    propagate    blocks run again, compressed
    exchange     what ranks send each other, and the wait for it
    other        the rest

Each part is exclusive: the time of `forward` leaves out the `statistics` taken meanwhile. On a GPU
the clock waits for it at every boundary, a hundred microseconds per block in all.
"""

import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar
from unittest.mock import patch

import torch

from calib_sweep.compression import block, spreading, walk
from calib_sweep.compression.dense_stream import DenseStream
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.method.base import BlockMethod, LayerMethod, Method
from calib_sweep.method.statistics.cross_hessian import CrossHessian
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.spectrum import HessianSpectrum
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.model.placement import _Home
from calib_sweep.ranks import ProcessRanks

P, R = ParamSpec("P"), TypeVar("R")
PARTS = (
    "load", "embed", "forward", "statistics", "factorise", "solve", "report", "dense", "propagate",
    "exchange", "other",
)  # fmt: skip


class Clock:
    """Wall and CPU seconds of parts; the innermost part that is running gets the time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._running = ["other"]
        self._last = (0.0, 0.0)
        self.wall_s: Counter[str] = Counter()
        self.cpu_s: Counter[str] = Counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._account()
        self._running.append(name)
        try:
            yield
        finally:
            self._account()
            self._running.pop()

    @contextmanager
    def measuring(self) -> Iterator[None]:
        self._last = self._now()
        yield
        self._account()

    def _account(self) -> None:
        now = self._now()
        self.wall_s[self._running[-1]] += now[0] - self._last[0]
        self.cpu_s[self._running[-1]] += now[1] - self._last[1]
        self._last = now

    def _now(self) -> tuple[float, float]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter(), time.process_time()


@contextmanager
def clocked(device: torch.device, method: Method) -> Iterator[Clock]:
    """Measure a walk with `method` inside the block."""
    clock = Clock(device)
    functions = [
        (_Home, "_enter", "load"),
        (_Home, "_leave", "load"),
        (walk, "record", "embed"),
        (block, "observe", "forward"),
        (Statistic, "add", "statistics"),
        (CrossHessian, "add_pair", "statistics"),
        (CrossHessian, "pull_II", "factorise"),
        (DenseStream, "pair", "dense"),
        (Hessian, "inverse_factor", "factorise"),
        (HessianSpectrum, "spectrum", "factorise"),
        *[(kind, "compress_weight", "solve") for kind in LayerMethod.__subclasses__()],
        (spreading, "compress_layer", "report"),
        (spreading, "replacement_of", "report"),
        (ProcessRanks, "_sent", "exchange"),
        (BlockInputs, "advance", "propagate"),
    ]
    if isinstance(method, BlockMethod):
        functions.append((type(method), "plan_block", "solve"))
    with ExitStack() as stack:
        for owner, name, part in functions:
            timed = _timed(getattr(owner, name), clock, part)
            stack.enter_context(patch.object(owner, name, timed))
        stack.enter_context(clock.measuring())
        yield clock


def _timed(function: Callable[P, R], clock: Clock, part: str) -> Callable[P, R]:
    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        with clock.part(part):
            return function(*args, **kwargs)

    return timed


def peak_host_gib() -> float:
    """The most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
