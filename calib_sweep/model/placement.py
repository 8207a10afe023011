"""Where a model computes.

Models larger than a GPU: decoder blocks wait in host memory and visit the device one at a time.

    offload(model, device)   once, after loading: all but the blocks moves to the device for good
    with onload(block): ...  the block is on the device; its weights are taken back at the end

A block that is called outside of `onload`, when an evaluation runs the whole model, visits for the
time of the call. Whoever calls the model need not know. Host memory is pinned, so that a block
comes and goes at the full speed of the bus; waiting for it is a hundredth of a walk's time, and a
copy of the next block meanwhile, which would take memory of a second one, is not made.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from itertools import chain
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from calib_sweep.errors import require
from calib_sweep.model.blocks import decoder_blocks
from calib_sweep.wording import counted

P = ParamSpec("P")
T = TypeVar("T")

_HOME = "_home_in_host_memory"  # attribute of a block that waits there


def named_device(name: str) -> torch.device:
    """The device of a checked `model.device`; auto: this process's GPU, if there is one."""
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        return torch.device("cuda", local_rank % num_gpus) if num_gpus else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda":
        require(
            (device.index or 0) < num_gpus,
            "model.device",
            name,
            f"a device of this machine, which has {counted(num_gpus, 'usable GPU')}",
            "Example: model.device=auto.",
        )
    return device


def offload(model: nn.Module, device: torch.device) -> None:
    """Move `model`, loaded on the CPU, to `device`, except for its decoder blocks."""
    blocks = decoder_blocks(model)
    waiting = {id(tensor) for tensor in _tensors(blocks)}
    for tensor in _tensors(model):
        if id(tensor) not in waiting:
            tensor.data = tensor.data.to(device)
    for block in blocks:
        home = _Home(block, device)
        setattr(block, _HOME, home)
        block.forward = _visiting(block.forward, home)


def onload(block: nn.Module) -> AbstractContextManager[None]:
    """A context in which `block` is where the model computes; changes of its weights are kept."""
    home = getattr(block, _HOME, None)
    return nullcontext() if home is None else home.visit(changes=True)


@contextmanager
def without_visits(model: nn.Module) -> Iterator[None]:
    """As if the blocks did not wait anywhere: to copy the model without what moves them."""
    kept = [(block, vars(block)) for block in decoder_blocks(model) if hasattr(block, _HOME)]
    taken = [(own, own.pop(_HOME), own.pop("forward")) for _, own in kept]
    try:
        yield
    finally:
        for own, home, forward in taken:
            own[_HOME], own["forward"] = home, forward


class _Home:
    """The place where the parameters and buffers of a block wait."""

    def __init__(self, block: nn.Module, device: torch.device) -> None:
        self._device = device
        self._tensors = list(_tensors(block))
        self._waiting = [_waiting(tensor, device) for tensor in self._tensors]
        self._num_visits = 0
        self._leave(changes=False)

    @contextmanager
    def visit(self, *, changes: bool) -> Iterator[None]:
        """On the device meanwhile; of visits inside each other the outermost counts."""
        if self._num_visits == 0:
            self._enter()
        self._num_visits += 1
        try:
            yield
        finally:
            self._num_visits -= 1
            if self._num_visits == 0:
                self._leave(changes=changes)

    @torch.inference_mode(False)
    def _enter(self) -> None:
        for tensor, waiting in zip(self._tensors, self._waiting, strict=True):
            tensor.data = waiting.to(self._device, non_blocking=True, copy=True)

    @torch.inference_mode(False)
    def _leave(self, *, changes: bool) -> None:
        for tensor, waiting in zip(self._tensors, self._waiting, strict=True):
            if changes:
                waiting.copy_(tensor.data)
            tensor.data = waiting


def _visiting(forward: Callable[P, T], home: _Home) -> Callable[P, T]:
    @wraps(forward)
    def visiting(*args: P.args, **kwargs: P.kwargs) -> T:
        with home.visit(changes=False):
            return forward(*args, **kwargs)

    return visiting


def _waiting(tensor: Tensor, device: torch.device) -> Tensor:
    host = tensor.detach().to("cpu")
    return host.pin_memory() if device.type == "cuda" else host


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())
