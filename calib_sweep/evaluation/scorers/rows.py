"""Requests packed into rows: what they have in common stands once.

The requests of an item (a question and its choices) are token lists that begin alike. In order of
their tokens, each shows only what the one before it does not begin with:

    question ' a cat'    ' dog'    ' two birds'    next question ' yes'    ' no'

A token sees what stands before it in its own requests: whatever stands before it, unless that is
over. In this order, that of a tree which is walked in depth, each place has one number, the last
place that sees it. Its position is the one that it has in its requests. The last token of a
continuation is never an input: nothing comes after it. Requests with equal inputs are one;
continuations of one token share everything.

Of a request longer than the model's context the beginning is left out, as lm-eval does.

Items fill rows of one length, the largest first, each into the fullest row that has room (best fit
decreasing: at most 11/9 of the fewest rows and one, Johnson 1973). Or they follow each other in the
order of their tokens, where that takes fewer places: solved examples in front of all questions of a
task then stand once in a row. Items longer than a row have rows of their own, of twice, four
times, ... the length.

Shapes: R rows, L places of a row, U places where a head is needed, P scored tokens.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from calib_sweep.evaluation.requests import Request

MULTIPLE = 16  # row lengths are multiples of it: few shapes, and whole tiles of a GPU
LENGTHENED = (1.0, 1.25, 1.5, 1.75, 2.0)  # rows that are tried where items do not fill them
GOOD_PADDING = 0.04  # share of places; no longer rows are tried
MOST_PLACES = 4096  # of several requests; those beyond have their question once more

Tokens = tuple[int, ...]
Asked = tuple[int, list[int]]  # a request: its index, its continuation


class Item(NamedTuple):
    """Requests of a document that stand together."""

    inputs: list[Tokens]  # in order, all different
    requests: list[list[Asked]]  # of each input
    num_places: int


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows laid out as arrays; place 0 of a row is its first token."""

    tokens_RL: np.ndarray  # 0 where nothing stands
    positions_RL: np.ndarray  # of a token within its own request
    until_RL: np.ndarray  # the last place that sees this one; its own where nothing stands
    is_plain_R: np.ndarray  # one request stands in the row, and nothing else
    row_U: np.ndarray  # where scored tokens are predicted, in order of rows: each place once
    place_U: np.ndarray
    at_P: np.ndarray  # scored tokens, in order of rows: where among U they are predicted,
    target_P: np.ndarray  # which they are,
    request_P: np.ndarray  # and the request that they belong to
    num_used: int  # places where a token stands

    @property
    def padding(self) -> float:
        """Return the share of places where nothing stands."""
        return 1 - self.num_used / self.tokens_RL.size


def pack(
    requests: Sequence[Request],
    documents: Sequence[Sequence[int]],
    context_length: int,
    row_length: int,
) -> list[Rows]:
    """Lay out requests in rows of about `row_length` places, and longer ones for longer items.

    `documents`: the indices of the requests that belong together.
    """
    by_size: dict[int, list[Item]] = {}
    for own in documents:
        for item in items_of(requests, own, context_length):
            by_size.setdefault(_doublings(item.num_places, row_length), []).append(item)
    return [_rows(own, None if size else row_length) for size, own in sorted(by_size.items())]


def alone(requests: Sequence[Request], indices: Sequence[int], context_length: int) -> list[Rows]:
    """Lay out requests in a row each, those of one length together: no place is empty."""
    by_length: dict[int, list[list[Item]]] = {}
    for index in indices:
        for item in items_of(requests, [index], context_length):
            by_length.setdefault(item.num_places, []).append([item])
    return [lay_out(rows, length) for length, rows in sorted(by_length.items())]


def _doublings(num_places: int, row_length: int) -> int:
    return max(0, (-(-num_places // row_length) - 1).bit_length())


def items_of(
    requests: Sequence[Request], indices: Sequence[int], context_length: int
) -> Iterator[Item]:
    """Return the requests of a document as an item, or as several if they are too many."""
    own: dict[Tokens, list[Asked]] = {}
    for i in indices:
        context, continuation = requests[i]
        inputs = tuple((context + continuation)[-(context_length + 1) :][:-1])
        own.setdefault(inputs, []).append((i, continuation))
    inputs, start = sorted(own), 0
    shared = [0, *(num_shared(one, other) for one, other in pairwise(inputs))]
    while start < len(inputs):
        end, num_places = start + 1, len(inputs[start])
        while end < len(inputs):
            more = len(inputs[end]) - shared[end]
            if num_places + more > MOST_PLACES:
                break
            end, num_places = end + 1, num_places + more
        yield Item(inputs[start:end], [own[one] for one in inputs[start:end]], num_places)
        start = end


def num_shared(one: Tokens, other: Tokens) -> int:
    """Count the tokens that both begin with."""
    least = min(len(one), len(other))
    if one[:least] == other[:least]:
        return least
    return next(k for k in range(least) if one[k] != other[k])


def _rows(items: Sequence[Item], row_length: int | None) -> Rows:
    """Lay out items in rows of one length: of those that are tried the one that takes least.

    They begin with `row_length`; None: with the longest item.
    """
    by_size = sorted(items, key=lambda item: -item.num_places)  # stable
    in_order = sorted(items, key=lambda item: item.inputs)
    sizes = [item.num_places for item in by_size]
    shared = [0, *(num_shared(a.inputs[-1], b.inputs[0]) for a, b in pairwise(in_order))]
    least = min(row_length or sizes[0], sum(sizes))
    tried: list[tuple[int, int, list[list[Item]]]] = []
    for times in LENGTHENED:
        length = -(-round(least * times) // MULTIPLE) * MULTIPLE
        fitted = filled(sizes, length)
        tried.append((len(fitted) * length, length, [[by_size[i] for i in r] for r in fitted]))
        row_of = following([item.num_places for item in in_order], shared, length)
        num_rows = row_of[-1] + 1
        if num_rows < len(fitted):
            rows: list[list[Item]] = [[] for _ in range(num_rows)]
            for item, row in zip(in_order, row_of, strict=True):
                rows[row].append(item)
            tried.append((num_rows * length, length, rows))
        elif sum(sizes) >= (1 - GOOD_PADDING) * len(fitted) * length:
            break
    _, length, rows = min(tried, key=lambda one: one[:2])
    return lay_out(rows, length)


def following(sizes: Sequence[int], shared: Sequence[int], length: int) -> list[int]:
    """Put things into rows of `length` in their order: the row of each.

    `shared`: how much less each takes behind the one before it, in the same row.
    """
    rows, room = [], -1
    row = -1
    for size, less in zip(sizes, shared, strict=True):
        if room < size - less:
            row, room, less = row + 1, length, 0
        room -= size - less
        rows.append(row)
    return rows


def filled(sizes: Sequence[int], length: int) -> list[list[int]]:
    """Put things of these sizes, which go down, into rows of `length`: the number of each."""
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # left in a row, its number; from little to much
    for number, size in enumerate(sizes):
        at = bisect_left(room, (size, -1))
        if at < len(room):
            left, row = room.pop(at)
        else:
            left, row = length, len(rows)
            rows.append([])
        rows[row].append(number)
        if left > size:
            insort(room, (left - size, row))
    return rows


def lay_out(rows: Sequence[Sequence[Item]], length: int) -> Rows:
    """Write items into arrays of rows."""
    tokens_RL, positions_RL = np.zeros((2, len(rows), length), dtype=np.int64)
    until_RL = np.tile(np.arange(length), (len(rows), 1))
    is_plain_R, num_used = np.zeros(len(rows), dtype=bool), 0
    heads: list[tuple[int, int]] = []
    scored: list[tuple[int, int, int]] = []
    for r, items in enumerate(rows):
        asked: dict[Tokens, list[Asked]] = {}
        for item in items:
            for inputs, requests in zip(item.inputs, item.requests, strict=True):
                asked.setdefault(inputs, []).extend(requests)
        tree = _Tree()
        number: dict[int, int] = {}  # place -> its number among U
        for inputs in sorted(asked):
            places = tree.add(inputs)
            for index, continuation in asked[inputs]:
                first = len(places) - len(continuation)
                for place, target in zip(places[first:], continuation, strict=True):
                    at = number.setdefault(place, len(heads) + len(number))
                    scored.append((at, target, index))
        heads += [(r, place) for place in number]
        used = len(tree.tokens)
        tokens_RL[r, :used], positions_RL[r, :used] = tree.tokens, tree.positions
        until_RL[r, :used], is_plain_R[r] = tree.ended(), len(asked) == 1
        num_used += used
    row_U, place_U = np.array(heads, dtype=np.int64).reshape(-1, 2).T
    at_P, target_P, request_P = np.array(scored, dtype=np.int64).reshape(-1, 3).T
    places = (tokens_RL, positions_RL, until_RL, is_plain_R, row_U, place_U)
    return Rows(*places, at_P, target_P, request_P, num_used)


class _Tree:
    """Token lists in order, each without what it shares with the one before it."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.until: list[int] = []  # last place that sees this one
        self._last: Tokens = ()
        self._places: list[int] = []  # of the last list

    def add(self, inputs: Tokens) -> list[int]:
        """Return the places of the tokens of `inputs`, which follows the last one in order."""
        shared = num_shared(self._last, inputs)
        self._close(shared)
        start = len(self.tokens)
        self.tokens += inputs[shared:]
        self.positions += range(shared, len(inputs))
        self.until += [-1] * (len(inputs) - shared)
        self._places = self._places[:shared] + list(range(start, len(self.tokens)))
        self._last = inputs
        return self._places

    def ended(self) -> list[int]:
        """Return of each place the last one that sees it."""
        self._close(0)
        return self.until

    def _close(self, shared: int) -> None:
        """Have the last list end, but for its first tokens."""
        for place in self._places[shared:]:
            self.until[place] = len(self.tokens) - 1
