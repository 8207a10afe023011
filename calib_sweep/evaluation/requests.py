"""Requests: the token lists that a task asks a model for, and what is forwarded together.

Shapes: none; token lists of any lengths.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar, overload

T = TypeVar("T")


class Request(NamedTuple):
    """A continuation to score, and what stands before it. Neither is empty."""

    context: list[int]
    continuation: list[int]


class Answer(NamedTuple):
    """The reply to a request."""

    log_likelihood: float  # of the continuation, in nats, summed over its tokens
    is_greedy: bool  # each token of the continuation is the likeliest


class Requests(Sequence[Request]):
    """Requests of one tokenizer and set of tasks: the same object for every model of a process.

    A scorer lays them out in its own way, which depends on the tokens alone, and leaves that here
    for the next model: `requests.kept("packed 512", lay_out)`.
    """

    def __init__(self, rows: Iterable[Request]) -> None:
        self._rows = tuple(rows)
        self._kept: dict[Hashable, object] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Request, ...]: ...
    def __getitem__(self, index: int | slice) -> Request | tuple[Request, ...]:
        return self._rows[index]

    def kept(self, key: Hashable, make: Callable[[Sequence[Request]], T]) -> T:
        """Return what `make` returned for `key` the first time."""
        if key not in self._kept:
            self._kept[key] = make(self)
        return self._kept[key]  # pyright: ignore[reportReturnType]  (a key has one type)


def batches(requests: Sequence[Request], batch_size: int) -> Iterator[list[int]]:
    """Yield the indices of the requests that lm-eval forwards together, in its order.

    Requests that differ in their last token alone are one row. Rows go from long to short.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for index, (context, continuation) in enumerate(requests):
        rows.setdefault(tuple(context + continuation[:-1]), []).append(index)

    def order(row: list[int]) -> tuple[int, list[int]]:
        context, continuation = requests[max(row, key=lambda i: len(requests[i].continuation))]
        return -len(context + continuation), context + continuation

    ordered = sorted(rows.values(), key=order)
    for start in range(0, len(ordered), batch_size):
        yield [index for row in ordered[start : start + batch_size] for index in row]


def num_scored(requests: Sequence[Request], context_length: int) -> int:
    """Count the positions from the end of a right-padded batch that hold all that is scored."""
    inputs = [min(len(r.context) + len(r.continuation) - 1, context_length) for r in requests]
    first = min(n - len(r.continuation) for n, r in zip(inputs, requests, strict=True))
    return max(inputs) - first
