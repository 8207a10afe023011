"""Documents as a tokenizer makes them: those that are kept from before, the others as needed."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.token_store import Index, TokenStore, say_once
from calib_sweep.dataset.documents.tokenizing import Tokenised, tokenise
from calib_sweep.interruption import raise_if_told
from calib_sweep.places import TOKENISING
from calib_sweep.results.once import once

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# Documents are tokenised in batches that double from the first number to the second: a small set
# must not pay for documents that it never looks at, a large walk must not crawl.
FIRST_BATCH, LARGEST_BATCH = 8, 256
# Characters that take a second of one core: a corpus of no more is tokenised whole at once.
LITTLE = 2_000_000
NUM_LOOKED_AT = 16  # documents, to estimate the size of all
TELL_S = 10.0  # between two words on how far it is


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

    def index(self) -> Index | None:
        """Return the lengths of all documents; None while some are not known."""
        return None if self.store is None else self.store.index(len(self.documents))

    def keep(self) -> None:
        """Bring what was tokenised to the disk."""
        if self.store is not None:
            self.store.flush()

    def complete_if_little(self) -> None:
        """Tokenise all that is missing where that costs little, or no more than was spent.

        A set of a few samples must not wait for a corpus of millions of documents; of a small one
        the size of the pool is worth more than the second that it takes. When half of a corpus is
        known, draws go on to need the rest: then it is made in one go, by one process.
        """
        store = self.store
        if store is None or self.index() is not None:
            return
        missing = store.missing(len(self.documents))
        if 2 * len(missing) <= len(self.documents) or self._characters(missing) <= LITTLE:
            self.complete()

    def complete(self) -> None:
        """Tokenise all that is missing: one process does, others wait, though not for the dead."""
        store = self.store
        if store is None:
            return
        claims = store.folder.with_name(f"{store.folder.name}{TOKENISING}")
        try:
            once(claims, self._found, self._make)
        except OSError as error:
            say_once(store.folder, error.strerror)

    def _found(self) -> Index | None:
        assert self.store is not None
        self.store.look()
        return self.index()

    def _make(self) -> Index | None:
        """Tokenise in the order of the corpus; what is done when it is stopped stays done."""
        assert self.store is not None
        missing = self.store.missing(len(self.documents))
        told = time.monotonic()
        try:
            for start in range(0, len(missing), LARGEST_BATCH):
                raise_if_told()
                self.at(missing[start : start + LARGEST_BATCH].tolist())
                if time.monotonic() - told > TELL_S:
                    told = time.monotonic()
                    share = 1 - (len(missing) - start) / len(self.documents)
                    log.info("tokenising %s documents: %.0f %%", len(self.documents), 100 * share)
        finally:
            self.keep()
        return self.index()

    def _characters(self, positions: np.ndarray) -> float:
        """Estimate the characters of documents from some of them, evenly spaced."""
        some = positions[:: -(-len(positions) // NUM_LOOKED_AT)].tolist()
        return len(positions) * float(np.mean([len(text) for text in self.documents.read(some)]))
