"""Documents in a fixed order, read only when they are asked for.

A corpus of a million documents must not be read, let alone tokenised, for a set of 128 samples. So
a dataset hands over its number of documents, a function that reads the ones at given positions, and
a function that names one. Random streams know a document by its name, too: where that hangs on the
place of a file, not on its content, by its `key`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import overload


@dataclass(frozen=True, kw_only=True)
class Documents(Sequence[str]):
    """An ordered sequence of texts. `id(i)` names document i within its dataset."""

    num_documents: int
    read: Callable[[Sequence[int]], list[str]]  # the texts at these positions, in this order
    id: Callable[[int], str]
    key: Callable[[int], str] | None = None  # of document i in random streams; None: its id
    # Names the texts and their order, wherever they are: equal names, equal texts. Of documents of
    # which only the first so many are taken, that of all. None: their token ids are not kept.
    identity: Callable[[], str] | None = None

    def named(self, identity: Callable[[], str]) -> "Documents":
        """Return the same documents with a name, so that their token ids can be kept."""
        return replace(self, identity=identity)

    def key_of(self, position: int) -> str:
        """Return the name of a document in random streams."""
        return (self.key or self.id)(position)

    def __len__(self) -> int:
        return self.num_documents

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        positions = range(self.num_documents)[index]
        return self.read(positions) if isinstance(positions, range) else self.read([positions])[0]


def in_memory(texts: Sequence[str], ids: Sequence[str] | None = None) -> Documents:
    """Documents that are at hand already. Without `ids` a document is named by its position."""
    return Documents(
        num_documents=len(texts),
        read=lambda positions: [texts[i] for i in positions],
        id=str if ids is None else ids.__getitem__,
    )


def generated(
    num_documents: int, text: Callable[[int], str], id: Callable[[int], str]
) -> Documents:
    """Documents that a function makes one by one, each on its own."""
    return Documents(
        num_documents=num_documents,
        read=lambda positions: [text(i) for i in positions],
        id=id,
    )
