"""Cut samples out of documents: slices, packed windows, heads of documents.

Each function walks documents in a given order, tokenises no more of them than it needs, and
returns samples number `first` to `first + count - 1` of that order, so that runs of one order never
overlap.

Units: all offsets and lengths are tokens. `text_len` is the number of text tokens in a sample.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import Origin
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.marked import mark
from calib_sweep.dataset.documents.tokenised import TokenisedDocuments
from calib_sweep.dataset.documents.tokenizing import Tokenised, special_token
from calib_sweep.seeding import stream

Order = Sequence[int] | np.ndarray  # positions of documents, in the order in which to look at them
Fits = Callable[[Any, Any], Any]  # of (length, has_text), numbers or arrays: can it be a sample?

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of a draw: named documents, a tokenizer, and the settings of the set."""

    name: str  # for messages
    streams: str  # names the random streams: of the text, so that a label moves no sample
    documents: Documents
    tokenizer: "PreTrainedTokenizerBase"
    calibration: Calibration

    @property
    def tells_answers(self) -> bool:
        """Tell whether tokens of answers come marked, as documents/marked.py does it."""
        return False

    @cached_property
    def tokenised(self) -> TokenisedDocuments:
        """The documents as token ids, from the disk where they were made before."""
        special = self.calibration.bos == "document"
        return TokenisedDocuments(
            documents=self.documents, tokenizer=self.tokenizer, special=special
        )

    def walk(self, order: Order) -> Iterator[Tokenised]:
        """Documents of `order`, tokenised lazily."""
        return self.tokenised.walk(order)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The text tokens of one sample and where they begin."""

    tokens: np.ndarray  # integers
    document: str
    offset: int  # tokens, in that document
    documents: tuple[str, ...] = ()  # all that a packed sample touches

    def origin(self) -> Origin:
        """Return where the sample comes from, for people and for `samples.jsonl`."""
        origin: Origin = {"document": self.document, "offset": self.offset}
        if self.documents:
            origin["documents"] = list(self.documents)
        return origin


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Pieces found, and what the walk over the pool saw until then."""

    pieces: list[Piece]
    documents: int  # in the pool
    walked: int  # of these, looked at so far
    eligible: int  # samples that could be cut from what was looked at
    longest: int  # tokens of the longest document (of the whole stream: pack)

    def pool(self) -> dict[str, int]:
        """The pool as it stands in the card. `eligible` counts what was walked, no more."""
        return {"documents": self.documents, "walked": self.walked, "eligible": self.eligible}


def cut_slices(source: Source, order: Order, first: int, count: int, seed: int) -> Cut:
    """A random window of each document that is long enough, one sample per document."""
    width, design = source.calibration.text_len, source.calibration.design
    seen = _Seen()
    pieces: list[Piece] = []

    def fits(length: Any, _: Any) -> Any:
        return length >= width

    for position, _, tokens in _choose(source, order, first, count, fits, seen):
        name, key = source.documents.id(position), source.documents.key_of(position)
        # Its own stream: the start of one document never depends on the documents before it.
        generator = stream("calibration/slice", source.streams, design, seed, key)
        start = int(generator.integers(len(tokens) - width + 1))
        pieces.append(Piece(tokens=tokens[start : start + width], document=name, offset=start))
    return _cut(source, pieces, seen)


def cut_heads(source: Source, order: Order, first: int, count: int) -> Cut:
    """The beginning of each document that has any token of text; shorter than a sample or not."""
    width = source.calibration.text_len
    seen = _Seen()
    pieces = [
        Piece(tokens=tokens[:width], document=source.documents.id(position), offset=0)
        for position, _, tokens in _choose(source, order, first, count, _has_text, seen)
    ]
    return _cut(source, pieces, seen)


def _has_text(_: Any, has_text: Any) -> Any:
    return has_text


@dataclass
class _Seen:
    """What a walk saw so far, as `Cut` has it."""

    walked: int = 0
    eligible: int = 0
    longest: int = 0


def _choose(
    source: Source, order: Order, first: int, count: int, fits: Fits, seen: _Seen
) -> Iterator[Tokenised]:
    """Documents number `first` to `first + count - 1` of those of `order` that fit.

    `fits(length, has_text)` of one document, or of arrays. Where the lengths of all documents are
    known, the others are not walked over, and what is `seen` is the whole pool.
    """
    index = source.tokenised.index()
    if index is not None:
        fits_D = fits(index.length_D, index.has_text_D)
        seen.walked, seen.longest = len(fits_D), int(index.length_D.max(initial=0))
        seen.eligible = int(fits_D.sum())
        order = np.asarray(order)
        yield from source.walk(order[fits_D[order]][first : first + count])
        return
    for one in source.walk(order):
        length = len(one.tokens)
        seen.walked, seen.longest = seen.walked + 1, max(seen.longest, length)
        if not fits(length, one.has_text):
            continue
        seen.eligible += 1
        if seen.eligible > first:
            yield one
        if seen.eligible == first + count:
            break


def cut_packed(
    source: Source,
    order: Order,
    first: int,
    count: int,
    rotation: np.random.Generator | None,
) -> Cut:
    """Windows of all documents joined by one end-of-sequence token; they may span documents.

    `rotation` (the independent design) lets the stream begin at a random token of its first
    document, whose head then comes last: without it every seed of a one-document dataset would be
    the same set.
    """
    width = source.calibration.text_len
    low, high = first * width, (first + count) * width
    known = _Stream.of(source, order)
    end = 0  # position in the stream
    if known is not None and rotation is None:
        order, end = known.part(low, high)
    begin = end  # of the first block kept
    blocks: list[_Block] = []
    walked: set[int] = set()
    for block in _joined(source, order, rotation):
        walked.add(block.position)
        end += len(block.tokens)
        if end > low:
            begin = begin if blocks else end - len(block.tokens)
            blocks.append(block)
        if end >= high:
            break
    seen = _Seen(len(walked), end // width, end)
    if known is not None:
        is_rotated = rotation is not None and any(block.offset > 0 for block in blocks[:1])
        end = known.length(is_rotated=is_rotated)
        seen = _Seen(len(source.documents), end // width, end)
    num_pieces = max(min(count, end // width - first), 0)
    return _cut(source, _windows(source, blocks, low - begin, num_pieces), seen)


@dataclass(frozen=True, eq=False)
class _Stream:
    """All documents joined, where the lengths of all are known: K of them have text."""

    position_K: np.ndarray
    end_K: np.ndarray  # with the separator that comes after each
    has_last: bool  # a separator after the last one, where a rotated head comes after it

    @classmethod
    def of(cls, source: Source, order: Order) -> "_Stream | None":
        """Return the stream in this order; None where some lengths are not known."""
        index = source.tokenised.index()
        if index is None:
            return None
        order = np.asarray(order)
        position_K = order[index.has_text_D[order]]
        end_K = np.cumsum(index.length_D[position_K] + ~index.ends_D[position_K])
        return cls(position_K, end_K, not index.ends_D[position_K[-1:]].any())

    def part(self, low: int, high: int) -> tuple[np.ndarray, int]:
        """Return the documents that these places and one separator lie in, and their beginning."""
        first = int(np.searchsorted(self.end_K, low, side="right"))
        last = int(np.searchsorted(self.end_K, high, side="left"))
        return self.position_K[first : last + 2], int(self.end_K[first - 1]) if first else 0

    def length(self, *, is_rotated: bool) -> int:
        """Return the tokens of the stream."""
        if not len(self.end_K):
            return 0
        return int(self.end_K[-1]) - (self.has_last and not is_rotated)


@dataclass(frozen=True)
class _Block:
    """Consecutive tokens of one document inside the joined stream."""

    position: int
    offset: int
    tokens: np.ndarray


def _joined(source: Source, order: Order, rotation: np.random.Generator | None) -> Iterator[_Block]:
    """The documents of `order` as blocks, an end-of-sequence block between two of them."""
    setting = f"calibration.window={source.calibration.window!r}"
    eos = special_token(source.tokenizer, "eos", setting, "which stands between two documents")
    last: _Block | None = None
    head: _Block | None = None
    for position, has_text, tokens in source.walk(order):
        if not has_text:
            continue
        if last is not None:
            yield from _separator(last, eos)
        start = int(rotation.integers(len(tokens))) if last is None and rotation else 0
        if start:
            head = _Block(position, 0, tokens[:start])
        last = _Block(position, start, tokens[start:])
        yield last
    if last is not None and head is not None:
        yield from _separator(last, eos)
        yield head


def _separator(last: _Block, eos: int) -> Iterator[_Block]:
    """One end-of-sequence token after `last`, unless the tokenizer already put one there."""
    if last.tokens[-1] not in (eos, mark(eos)):
        yield _Block(last.position, last.offset + len(last.tokens), np.array([eos]))


def _windows(source: Source, blocks: list[_Block], start: int, count: int) -> list[Piece]:
    """Cut `count` windows from the concatenated blocks, the first one at `start`."""
    if not count:
        return []
    width = source.calibration.text_len
    tokens = np.concatenate([np.asarray(block.tokens, dtype=np.int64) for block in blocks])
    edges = np.cumsum([0, *(len(block.tokens) for block in blocks)])
    pieces = []
    for low in range(start, start + count * width, width):
        block = int(np.searchsorted(edges, low, side="right")) - 1
        stop = int(np.searchsorted(edges, low + width, side="left"))
        names = [source.documents.id(b.position) for b in blocks[block:stop]]
        pieces.append(
            Piece(
                tokens=tokens[low : low + width],
                document=names[0],
                offset=blocks[block].offset + low - int(edges[block]),
                documents=tuple(dict.fromkeys(names)),
            )
        )
    return pieces


def _cut(source: Source, pieces: list[Piece], seen: _Seen) -> Cut:
    return Cut(
        pieces=pieces,
        documents=len(source.documents),
        walked=seen.walked,
        eligible=seen.eligible,
        longest=seen.longest,
    )
