"""Drop near duplicates: a candidate that is too like one kept before it is not kept.

How alike two samples are is estimated by MinHash, see `near_duplicates`: the Jaccard index of their
runs of five tokens. The pool is walked in its random order until n are kept.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.dataset.calibration.near_duplicates import signatures, similarity
from calib_sweep.dataset.selector.base import KEY, Pool, Selection, Selector
from calib_sweep.errors import ConfigError, require


@dataclass(frozen=True, kw_only=True)
class Deduplicated(Selector):
    """Samples of which no two are as alike as `threshold`."""

    threshold: float  # similarity, from which on the later one of two is dropped

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            type(self.threshold) in (int, float) and 0 < self.threshold <= 1,
            f"{KEY}.threshold",
            self.threshold,
            "a similarity above 0, at most 1",
            f"Example: {KEY}.threshold=0.8.",
        )

    def select(self, pool: Pool, num_samples: int) -> Selection:
        """Keep the first n that are not too like one kept before; scores: the largest likeness."""
        signature_CP = signatures(pool.candidates.tokens_NT, pool.lengths_C)
        kept: list[int] = []
        largest_C = np.zeros(len(pool))
        for candidate in range(len(pool)):
            if kept:
                likeness = similarity(signature_CP[candidate, None], signature_CP[kept])
                largest_C[candidate] = likeness.max()
            if largest_C[candidate] < self.threshold:
                kept.append(candidate)
        if len(kept) < num_samples:
            raise ConfigError(
                f"{KEY}.threshold={self.threshold}: expected at least calibration.num_samples="
                f"{num_samples} samples of which no two are so alike, but of {len(pool)} "
                f"candidates {len(kept)} are left. Raise {KEY}.pool_size or {KEY}.threshold."
            )
        notes = {"dropped": len(pool) - len(kept)}
        return Selection(chosen=kept[:num_samples], scores_C=largest_C, notes=notes)
