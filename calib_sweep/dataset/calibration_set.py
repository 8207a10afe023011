"""A calibration set: the token sequences one (dataset, seed) draws, with where each came from.

Shapes: N = samples, T = tokens in a sample (`seq_len`).
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationSet:
    """What a method gets to see of the world, and its provenance."""

    tokens_NT: np.ndarray  # int64
    lengths_N: np.ndarray | None  # int64; None: every sample is full. Positions from there on pad.
    samples: list[dict[str, Any]]  # per sample: document, offset in its tokens, documents, text
    card: dict[str, Any]  # source, revision, shard, pool, settings, tokenizer hash, versions
    folder: Path | None = None  # where it is kept; None: nowhere yet

    @cached_property
    def hash(self) -> str:
        """SHA-256 over shape, tokens and lengths: equal hashes, same data."""
        digest = hashlib.sha256(str(self.tokens_NT.shape).encode())
        digest.update(np.ascontiguousarray(self.tokens_NT, dtype="<i8").tobytes())
        if self.lengths_N is not None:
            digest.update(b"lengths")
            digest.update(np.ascontiguousarray(self.lengths_N, dtype="<i8").tobytes())
        return digest.hexdigest()
