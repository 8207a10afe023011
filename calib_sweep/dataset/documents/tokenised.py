"""Documents as a tokenizer makes them: those that are kept from before, the others as needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.token_store import TokenStore
from calib_sweep.dataset.documents.tokenizing import Tokenised, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Documents are tokenised in batches that double from the first number to the second: a small set
# must not pay for documents that it never looks at, a large walk must not crawl.
FIRST_BATCH, LARGEST_BATCH = 8, 256


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenisedDocuments:
    """Documents and a tokenizer; `special`: with what it adds to a document by itself."""

    documents: Documents
    tokenizer: "PreTrainedTokenizerBase"
    special: bool

    @cached_property
    def store(self) -> TokenStore | None:
        """Where token ids are kept for other draws and processes; None: nowhere."""
        return TokenStore.of(self.documents, self.tokenizer, self.special)

    def walk(self, order: Sequence[int] | np.ndarray) -> Iterator[Tokenised]:
        """Tokenise the documents at these positions, in this order, no more than are asked for."""
        start, size = 0, FIRST_BATCH
        while start < len(order):
            yield from self.at([int(i) for i in order[start : start + size]])
            start, size = start + size, min(2 * size, LARGEST_BATCH)

    def at(self, positions: Sequence[int]) -> list[Tokenised]:
        """Return the documents at these positions."""
        known = self.store.find(positions) if self.store is not None else {}
        unknown = [i for i in dict.fromkeys(positions) if i not in known]
        if unknown:
            made = tokenise(self.documents, unknown, self.tokenizer, special=self.special)
            known |= {one.position: one for one in made}
            if self.store is not None:
                self.store.add(made)
        return [known[i] for i in positions]

    def keep(self) -> None:
        """Bring what was tokenised to the disk."""
        if self.store is not None:
            self.store.flush()
