"""A calibration set: the token sequences one (dataset, seed) draws, with where each came from.

Shapes: N = samples, T = tokens in a sample (`seq_len`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from calib_sweep.hashing import tokens_sha256


class Origin(TypedDict):
    """The place that a sample was cut from."""

    document: str
    offset: int  # tokens, in that document
    documents: NotRequired[list[str]]  # all that a packed sample touches


class Sample(Origin):
    """A line of `samples.jsonl`."""

    text: str
    part: NotRequired[str]  # of a mixture


# The tokenizer of a card; "class" is no name that a class body can give.
TokenizerNote = TypedDict(
    "TokenizerNote", {"hash": str, "class": str, "name": str | None, "vocabulary": int}
)


class Card(TypedDict):
    """The provenance card of a set: where it is from, how it was drawn, with which software."""

    dataset: str
    provenance: Mapping[str, object]
    pool: Mapping[str, object] | None  # `Cut.pool`; of a mixture: those of its parts, by name
    design: str | None  # None, as are window and bos: nobody told
    window: str | None
    bos: str | None
    seed: int
    num_samples: int
    seq_len: int  # of the longest
    lengths: NotRequired[list[int]]  # that samples were cut to, in turn
    tokenizer: TokenizerNote
    model: NotRequired[Mapping[str, object]]  # that was asked: settings, hash of files, commit
    versions: Mapping[str, str]
    descriptors: NotRequired[Mapping[str, float | None]]  # from when the set is kept
    cost: NotRequired[Mapping[str, float]]  # of what computes to draw: seconds, tokens written ...
    selection: NotRequired[Mapping[str, object]]  # selector, pool_size, scores, chosen


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationSet:
    """The token sequences that a method gets to see, and their provenance."""

    tokens_NT: np.ndarray  # int64
    lengths_N: np.ndarray | None  # int64; None: every sample is full. Positions from there on pad.
    samples: list[Sample]
    card: Card
    answers_NT: np.ndarray | None = None  # bool: tokens that are answers; None: nobody told
    folder: Path | None = None  # where it is kept; None: nowhere yet

    @cached_property
    def hash(self) -> str:
        """SHA-256 over shape, tokens, lengths and answers: equal hashes, same data."""
        return tokens_sha256(self.tokens_NT, self.lengths_N, self.answers_NT)

    @property
    def ends_N(self) -> np.ndarray:
        """Tokens of each sample that are no padding."""
        return ends_of(self.tokens_NT, self.lengths_N)

    def take(self, row_M: np.ndarray, card: Card) -> "CalibrationSet":
        """Return M of the samples, in this order, under another card."""
        return CalibrationSet(
            tokens_NT=self.tokens_NT[row_M],
            lengths_N=None if self.lengths_N is None else self.lengths_N[row_M],
            answers_NT=None if self.answers_NT is None else self.answers_NT[row_M],
            samples=[self.samples[row] for row in row_M],
            card=card,
        )


def ends_of(tokens_NT: np.ndarray, lengths_N: np.ndarray | None) -> np.ndarray:
    """Return how many tokens of each sample are no padding [N]; `lengths_N` None: all."""
    num_samples, seq_len = tokens_NT.shape
    return np.full(num_samples, seq_len) if lengths_N is None else lengths_N


def not_padding(tokens_NT: np.ndarray, lengths_N: np.ndarray | None) -> np.ndarray:
    """Tell of each token whether it is no padding, bool [N, T]."""
    return np.arange(tokens_NT.shape[1]) < ends_of(tokens_NT, lengths_N)[:, None]


def without_candidates(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card for records: without the numbers of each candidate that a selector had.

    They stay in the card of the set. The cards of a mixture's parts are shortened too.
    """
    short: dict[str, Any] = {}
    for key, value in card.items():
        if key.startswith("selection") and isinstance(value, Mapping):
            value = {name: told for name, told in value.items() if not isinstance(told, list)}
        short[key] = without_candidates(value) if isinstance(value, Mapping) else value
    return short
