"""Named random streams: every draw has its own generator, made from a name and numbers.

A stream is a function of its name and parts alone, so a new consumer never shifts another one,
and nothing depends on a method, a launcher, the number of processes, or what ran before. SHA-256
is used because Python's `hash` is salted per process.
"""

import hashlib

import numpy as np


def stream(name: str, *parts: str | int) -> np.random.Generator:
    """Return the generator that belongs to `name` and `parts`; equal arguments, equal draws."""
    text = "\x1f".join([name, *(f"{type(part).__name__}:{part}" for part in parts)])
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
