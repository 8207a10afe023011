"""Documents that tell which of their text is an answer, and how their tokens carry the mark.

A token is an answer's if any character of it is. Between tokenizer and finished set such a token is
written as mark(id), a negative number, so that whatever cuts and joins tokens carries the mark
along without knowing of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]  # characters: from, up to but without


@dataclass(frozen=True)
class MarkedText:
    """A text and where its answers stand in it, in order."""

    text: str
    answers: tuple[Span, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MarkedDocuments:
    """An ordered sequence of marked texts. `id(i)` names document i within its dataset."""

    num_documents: int
    read: Callable[[Sequence[int]], list[MarkedText]]  # at these positions, in this order
    id: Callable[[int], str]
    key: Callable[[int], str] | None = None  # of document i in random streams; None: its id
    is_complete: bool  # the special tokens are in the text: the tokenizer adds none

    def plain(self) -> Documents:
        """Return the same texts without their marks."""
        return Documents(
            num_documents=self.num_documents,
            read=lambda positions: [one.text for one in self.read(positions)],
            id=self.id,
            key=self.key,
        )


def mark(token: int) -> int:
    """Return what stands for a token of an answer; of a marked token the token."""
    return ~token


def without_marks(marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens without their marks, and which were marked (bool, same shape)."""
    is_answer = marked < 0
    return np.where(is_answer, ~marked, marked), is_answer


def encode_marked(
    tokenizer: "PreTrainedTokenizerBase", documents: Sequence[MarkedText], *, special: bool
) -> list[np.ndarray]:
    """Return the marked tokens of each text. `special`: with what the tokenizer adds by itself."""
    if not documents:
        return []
    if not tokenizer.is_fast:
        raise ConfigError(
            "dataset: expected a tokenizer that tells where in a text its tokens stand, to tell "
            f"answers apart, but {tokenizer.name_or_path or type(tokenizer).__name__} is a slow "
            "one. Choose a model with a fast tokenizer (tokenizer.json)."
        )
    encoded = tokenizer(
        [one.text for one in documents],
        add_special_tokens=special,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=True,
        verbose=False,
    )
    rows = zip(encoded["input_ids"], encoded["offset_mapping"], documents, strict=True)
    return [_marked(ids, places, one.answers) for ids, places, one in rows]


def _marked(ids: Sequence[int], places: Sequence[Span], answers: Sequence[Span]) -> np.ndarray:
    """Mark the tokens that have a character of an answer."""
    starts = np.array([start for start, _ in places], dtype=np.int64)
    stops = np.array([stop for _, stop in places], dtype=np.int64)
    # Some tokenizers leave the space out of a place: of a token of spaces only its end is left.
    starts = np.minimum(starts, stops - 1)
    is_answer = np.zeros(len(ids), dtype=bool)
    for start, stop in answers:
        is_answer |= (starts < stop) & (stops > start)
    tokens = np.asarray(ids, dtype=np.int64)
    return np.where(is_answer, ~tokens, tokens)
