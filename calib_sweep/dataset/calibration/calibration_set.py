"""A calibration set: the token sequences one (dataset, seed) draws, with where each came from.

Shapes: N = samples, T = tokens in a sample (`seq_len`).
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from calib_sweep.hashing import tokens_sha256


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationSet:
    """The token sequences that a method gets to see, and their provenance."""

    tokens_NT: np.ndarray  # int64
    lengths_N: np.ndarray | None  # int64; None: every sample is full. Positions from there on pad.
    samples: list[dict[str, Any]]  # per sample: document, offset in its tokens, documents, text
    card: dict[str, Any]  # source, revision, shard, pool, settings, tokenizer hash, versions
    folder: Path | None = None  # where it is kept; None: nowhere yet

    @cached_property
    def hash(self) -> str:
        """SHA-256 over shape, tokens and lengths: equal hashes, same data."""
        return tokens_sha256(self.tokens_NT, self.lengths_N)
