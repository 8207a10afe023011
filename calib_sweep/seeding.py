"""Named random streams: every draw has its own generator, made from a name and numbers.

A stream is a function of its name and parts alone, so a new consumer never shifts another one,
and nothing depends on a method, a launcher, the number of processes, or what ran before. SHA-256
is used because Python's `hash` is salted per process.
"""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np


def stream(name: str, *parts: str | int) -> np.random.Generator:
    """Return the generator that belongs to `name` and `parts`; equal arguments, equal draws."""
    text = "\x1f".join([name, *(f"{type(part).__name__}:{part}" for part in parts)])
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


@contextlib.contextmanager
def constant_global_seeds() -> Iterator[None]:
    """The global seeds that lm-eval sets, for tasks that draw; then as they were before."""
    import torch

    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    random.seed(0)
    np.random.seed(1234)  # noqa: NPY002
    torch.default_generator.manual_seed(1234)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.random.set_rng_state(before[2])
