"""Cut samples out of documents: slices, packed windows, heads of documents.

Each function walks documents in a given order, tokenises no more of them than it needs, and
returns samples number `first` to `first + count - 1` of that order, so that runs of one order never
overlap.

Units: all offsets and lengths are tokens. `text_len` is the number of text tokens in a sample.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import Origin
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.marked import mark
from calib_sweep.dataset.documents.tokenised import TokenisedDocuments
from calib_sweep.dataset.documents.tokenizing import Tokenised, special_token
from calib_sweep.seeding import stream

Order = Sequence[int] | np.ndarray  # positions of documents, in the order in which to look at them

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
    pieces: list[Piece] = []
    walked = eligible = longest = 0
    for position, _, tokens in source.walk(order):
        walked, longest = walked + 1, max(longest, len(tokens))
        if len(tokens) < width:
            continue
        if eligible >= first:
            name, key = source.documents.id(position), source.documents.key_of(position)
            # Its own stream: the start of one document never depends on the documents before it.
            generator = stream("calibration/slice", source.streams, design, seed, key)
            start = int(generator.integers(len(tokens) - width + 1))
            window = tokens[start : start + width]
            pieces.append(Piece(tokens=window, document=name, offset=start))
        eligible += 1
        if len(pieces) == count:
            break
    return _cut(source, pieces, walked, eligible, longest)


def cut_heads(source: Source, order: Order, first: int, count: int) -> Cut:
    """The beginning of each document that has any token of text; shorter than a sample or not."""
    width = source.calibration.text_len
    pieces: list[Piece] = []
    walked = eligible = longest = 0
    for position, has_text, tokens in source.walk(order):
        walked, longest = walked + 1, max(longest, len(tokens))
        if not has_text:
            continue
        if eligible >= first:
            name = source.documents.id(position)
            pieces.append(Piece(tokens=tokens[:width], document=name, offset=0))
        eligible += 1
        if len(pieces) == count:
            break
    return _cut(source, pieces, walked, eligible, longest)


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
    blocks: list[_Block] = []
    end = begin = 0  # positions in the stream: of what was walked, of the first block kept
    walked: set[int] = set()
    for block in _joined(source, order, rotation):
        walked.add(block.position)
        end += len(block.tokens)
        if end > low:
            begin = begin if blocks else end - len(block.tokens)
            blocks.append(block)
        if end >= high:
            break
    num_pieces = max(min(count, end // width - first), 0)
    pieces = _windows(source, blocks, low - begin, num_pieces)
    return _cut(source, pieces, len(walked), end // width, end)


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


def _cut(source: Source, pieces: list[Piece], walked: int, eligible: int, longest: int) -> Cut:
    return Cut(
        pieces=pieces,
        documents=len(source.documents),
        walked=walked,
        eligible=eligible,
        longest=longest,
    )
