"""Requests packed into rows: what the continuations of an item share stands once.

The requests of an item (a question and its choices) are token lists that begin alike. Their longest
common prefix stands once in a row. What follows it in each request is a branch, behind one another:

    prefix: the question    branch 1: ' a cat'    branch 2: ' two'    prefix of the next item ...

A token sees the prefix of its item and what stands before it in its own branch: whatever stands
before it, unless that is over. So each place has one number, the last place that sees it: the end
of its item in a prefix, the end of its branch in a branch. Its position is the one that it has in
its request, so a branch goes on where the prefix ends. The last token of a continuation is never an
input: nothing comes after it. Requests with equal inputs share a branch; continuations of one token
share everything, and no token is repeated.

Of a request longer than the model's context the beginning is left out, as lm-eval does. Requests of
a document that have little in common (a choice with and without its question) are parted so that
the fewest tokens stand in rows.

Items fill rows of one length, the largest first, each into the fullest row that has room (best fit
decreasing: at most 11/9 of the fewest rows and one, Johnson 1973). Items longer than a row have
rows of their own, of twice, four times, ... the length.

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
MAX_BRANCHES = 64  # of an item; choices beyond have their question once more


class Item(NamedTuple):
    """Requests that share a prefix."""

    prefix: list[int]
    branches: list[list[int]]  # without the prefix, all different; one may be empty
    requests: list[tuple[int, int, list[int]]]  # index, its branch, continuation

    @property
    def num_places(self) -> int:
        return len(self.prefix) + sum(map(len, self.branches))


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


def _doublings(num_places: int, row_length: int) -> int:
    return max(0, (-(-num_places // row_length) - 1).bit_length())


def items_of(
    requests: Sequence[Request], indices: Sequence[int], context_length: int
) -> Iterator[Item]:
    """Part the requests of a document into items with the fewest places."""
    own: dict[tuple[int, ...], list[int]] = {}  # inputs -> requests
    for i in indices:
        whole = requests[i].context + requests[i].continuation
        own.setdefault(tuple(whole[-(context_length + 1) :][:-1]), []).append(i)
    inputs = sorted(own)
    shared = [len(common_prefix(one, other)) for one, other in pairwise(inputs)]
    for start, end in _parts(shared):
        length = min(shared[start : end - 1], default=len(inputs[start]))
        members = [
            (i, branch, requests[i].continuation)
            for branch, tokens in enumerate(inputs[start:end])
            for i in own[tokens]
        ]
        branches = [list(tokens[length:]) for tokens in inputs[start:end]]
        yield Item(list(inputs[start][:length]), branches, members)


def common_prefix(one: Sequence[int], other: Sequence[int]) -> Sequence[int]:
    """Return the longest list that both begin with."""
    least = min(len(one), len(other))
    if one[:least] == other[:least]:
        return one[:least]
    return one[: next(k for k in range(least) if one[k] != other[k])]


def _parts(shared: Sequence[int]) -> list[tuple[int, int]]:
    """Part a sorted list where that saves most tokens; `shared`: of each neighbours' beginnings.

    k neighbours whose beginnings share n tokens save (k - 1) n.
    """
    num = len(shared) + 1
    saved, begins = [0] * (num + 1), [0] * (num + 1)  # of the first so many; where the last part is
    for end in range(1, num + 1):
        best, least = (saved[end - 1], end - 1), 0
        for start in range(end - 2, max(-1, end - MAX_BRANCHES - 1), -1):
            least = shared[start] if start == end - 2 else min(least, shared[start])
            best = max(best, (saved[start] + (end - 1 - start) * least, start))
        saved[end], begins[end] = best
    parts = []
    while num:
        parts.append((begins[num], num))
        num = begins[num]
    return parts[::-1]


def _rows(items: Sequence[Item], row_length: int | None) -> Rows:
    """Lay out items in rows of one length: of those that are tried the one that leaves least.

    They begin with `row_length`; None: with the longest item.
    """
    in_order = sorted(items, key=lambda item: -item.num_places)  # stable
    sizes = [item.num_places for item in in_order]
    least = min(row_length or sizes[0], sum(sizes))
    tried = []
    for times in LENGTHENED:
        length = -(-round(least * times) // MULTIPLE) * MULTIPLE
        rows = filled(sizes, length)
        tried.append((len(rows) * length, length, rows))
        if sum(sizes) >= (1 - GOOD_PADDING) * len(rows) * length:
            break
    _, length, rows = min(tried, key=lambda one: one[:2])
    return lay_out([[in_order[i] for i in row] for row in rows], length)


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
    is_plain_R = np.array([len(own) == 1 == len(own[0].branches) for own in rows])
    number: dict[tuple[int, int], int] = {}  # row, place -> its number among U
    scored: list[tuple[int, int, int]] = []
    for r, own in enumerate(rows):
        start = 0
        for item in own:
            end = start + item.num_places
            tokens_RL[r, start:end] = sum(item.branches, item.prefix)
            num_shared = len(item.prefix)
            at, starts = start + num_shared, []
            positions_RL[r, start:at] = np.arange(num_shared)
            until_RL[r, start:at] = end - 1
            for branch in item.branches:
                starts.append(at)
                part = slice(at, at := at + len(branch))
                positions_RL[r, part] = np.arange(num_shared, num_shared + len(branch))
                until_RL[r, part] = at - 1
            for index, b, continuation in item.requests:
                first = num_shared + len(item.branches[b]) - len(continuation)
                for k, target in enumerate(continuation, first):
                    place = start + k if k < num_shared else starts[b] + k - num_shared
                    scored.append((number.setdefault((r, place), len(number)), target, index))
            start = end
    num_used = sum(item.num_places for own in rows for item in own)
    row_U, place_U = np.array(list(number), dtype=np.int64).reshape(-1, 2).T
    at_P, target_P, request_P = np.array(scored, dtype=np.int64).reshape(-1, 3).T
    places = (tokens_RL, positions_RL, until_RL, is_plain_R, row_U, place_U)
    return Rows(*places, at_P, target_P, request_P, num_used)
