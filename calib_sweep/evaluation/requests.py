"""Requests: the token lists that tasks ask a model for, and which of them belong together.

Shapes: none; token lists of any lengths.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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

    def __init__(
        self, rows: Iterable[Request], items: Mapping[str, Sequence[Sequence[int]]] | None = None
    ) -> None:
        """`items`: of each task the indices of the requests of each of its documents.

        None: one task, in which every request is a document of its own.
        """
        self._rows = tuple(rows)
        alone = {"": [[index] for index in range(len(self._rows))]}
        self.items = alone if items is None else items
        self._kept: dict[Hashable, object] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Request, ...]: ...
    def __getitem__(self, index: int | slice) -> Request | tuple[Request, ...]:
        return self._rows[index]

    def kept(self, key: Hashable, make: Callable[["Requests"], T]) -> T:
        """Return what `make` returned for `key` the first time."""
        if key not in self._kept:
            self._kept[key] = make(self)
        return self._kept[key]  # pyright: ignore[reportReturnType]  (a key has one type)


def by_document(keys: Iterable[tuple[str, Hashable]]) -> dict[str, list[list[int]]]:
    """Return `items` of requests: `keys` says of each its task and its document."""
    found: dict[str, dict[Hashable, list[int]]] = {}
    for index, (task, document) in enumerate(keys):
        found.setdefault(task, {}).setdefault(document, []).append(index)
    return {task: list(documents.values()) for task, documents in found.items()}
