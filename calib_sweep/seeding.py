"""Named random streams: every draw has its own generator, made from a name and numbers.

A stream is a function of its name and parts alone, so a new consumer never shifts another one,
and nothing depends on a method, a launcher, the number of processes, or what ran before. SHA-256
is used because Python's `hash` is salted per process.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream(name: str, *parts: str | int) -> np.random.Generator:
    """Return the generator that belongs to `name` and `parts`; equal arguments, equal draws."""
    text = "\x1f".join([name, *(f"{type(part).__name__}:{part}" for part in parts)])
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


@contextlib.contextmanager
def constant_global_seeds() -> Iterator[None]:
    """The global seeds that lm-eval sets, for tasks that draw; then as they were before."""
    import torch

    with _global_states_kept():
        random.seed(0)
        np.random.seed(1234)  # noqa: NPY002
        torch.default_generator.manual_seed(1234)
        yield


@contextlib.contextmanager
def global_seeds_of(generator: np.random.Generator, device: "torch.device") -> Iterator[None]:
    """Global seeds from `generator`, for code that draws by them; then as they were before.

    Of torch's generators it is that of the CPU, and that of `device`.
    """
    import torch

    seed, of_numpy, of_torch = (int(part) for part in generator.integers(2**32, size=3))
    devices = [] if device.type in ("cpu", "meta") else [device]
    kind = devices[0].type if devices else "cuda"
    with _global_states_kept(), torch.random.fork_rng(devices, device_type=kind):
        random.seed(seed)
        np.random.seed(of_numpy)  # noqa: NPY002
        torch.manual_seed(of_torch)
        yield


@contextlib.contextmanager
def _global_states_kept() -> Iterator[None]:
    """Put the global generators back afterwards; of torch's only that of the CPU."""
    import torch

    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.random.set_rng_state(before[2])
