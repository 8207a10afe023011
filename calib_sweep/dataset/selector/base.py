"""The class that a selector derives from: it chooses n samples out of a seeded pool.

The pool is what the dataset draws for the seed with `pool_size` samples, in random order. So
another seed has another pool, and a choice that draws nothing itself still varies with the seed.

Shapes: C candidates of the pool, T tokens of each, N chosen.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.settings import is_count
from calib_sweep.errors import require
from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEY = "dataset.selector"
TIMES = 8  # candidates for each sample, where nobody says


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The candidates, and what a selector may ask about them."""

    candidates: CalibrationSet
    draw_name: str  # of the dataset: names the random streams
    seed: int
    tokenizer: "PreTrainedTokenizerBase"
    model: "PreTrainedModel | None" = None  # dense; given to selectors with `needs_model`

    def __len__(self) -> int:
        return len(self.candidates.samples)

    @property
    def texts(self) -> list[str]:
        """The text of each candidate."""
        return [sample["text"] for sample in self.candidates.samples]

    @property
    def lengths_C(self) -> np.ndarray:
        """Tokens of each candidate that are no padding."""
        return self.candidates.ends_N

    @property
    def rows(self) -> list[np.ndarray]:
        """The tokens of each candidate, without padding."""
        rows = zip(self.candidates.tokens_NT, self.lengths_C, strict=True)
        return [row[:length] for row, length in rows]

    def stream(self, name: str, *parts: str | int) -> np.random.Generator:
        """Return the random numbers of this dataset and seed that are called so."""
        return stream(f"selector/{name}", self.draw_name, self.seed, *parts)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a selector chose, and why."""

    chosen: "np.ndarray | list[int]"  # N different candidates, in the order that the set gets
    scores_C: np.ndarray | None = None  # what they were chosen by; None: by nothing of their own
    cost: Mapping[str, float] = field(default_factory=dict)  # tokens_read, say
    notes: Mapping[str, Any] = field(default_factory=dict)  # further plain values for the card


@dataclass(frozen=True, kw_only=True)
class Selector(ABC):
    """A way of choosing samples out of a pool."""

    name: str  # label in records and tables
    pool_size: int | None  # candidates that are drawn first; None: eight for each sample

    def __post_init__(self) -> None:
        require(
            isinstance(self.name, str) and self.name != "",
            f"{KEY}.name",
            self.name,
            "a non-empty string",
            f"Example: {KEY}.name=mine.",
        )
        require(
            self.pool_size is None or is_count(self.pool_size),
            f"{KEY}.pool_size",
            self.pool_size,
            f"an integer >= 1, or null for {TIMES} candidates for each sample",
            f"Example: {KEY}.pool_size=1024.",
        )

    @property
    def needs_model(self) -> bool:
        """Tell whether it asks the dense model. Its sets are drawn when a cell first needs them."""
        return False

    @abstractmethod
    def select(self, pool: Pool, num_samples: int) -> Selection:
        """Choose `num_samples` of the pool, which holds at least as many.

        Draw from `pool.stream` alone, so that a seed always chooses the same.
        """

    def size_for(self, num_samples: int) -> int:
        """Return the size of the pool to choose so many from; `ConfigError` if it is too small."""
        size = TIMES * num_samples if self.pool_size is None else self.pool_size
        require(
            size >= num_samples,
            f"{KEY}.pool_size",
            size,
            f"at least calibration.num_samples={num_samples}, as so many are chosen from the pool",
            f"Type {KEY}.pool_size={TIMES * num_samples}, or a smaller calibration.num_samples.",
        )
        return size

    def check(self, num_samples: int) -> None:  # noqa: B027  (most have nothing to check)
        """Raise `ConfigError` for what hinders the choice and shows before the pool is drawn."""
