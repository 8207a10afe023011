"""Token ids of documents, kept on disk: each document of a corpus is tokenised once.

    results_dir/documents/<address>/<hash>.safetensors    a segment: ids of some documents
    results_dir/documents/<address>.tokenising            who tokenises the whole corpus now

The address is a hash of the corpus and of all that ids depend on, so nothing that is found there
can be stale. Any process adds segments at any time: they appear whole or not at all, and a document
that two processes tokenised at the same time has the same ids in both. What is damaged is said,
deleted and made again; where nothing can be kept, each process tokenises by itself. The folder can
be deleted at any time.

Shapes: K documents that are known, D documents of a corpus.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.keeping import kept_documents
from calib_sweep.dataset.documents.segments import (
    ENDS,
    HAS_TEXT,
    DamagedSegmentError,
    Segment,
    read_segment,
    write_segment,
)
from calib_sweep.dataset.documents.tokenizing import Tokenised, tokenizer_identity
from calib_sweep.hashing import address_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

FORM = 1  # part of every address: of the files, and of what a document's ids are
# Documents wait in memory until they have so many tokens, or are so many, and then are a segment.
SEGMENT_TOKENS, SEGMENT_DOCUMENTS = 8_000_000, 100_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Index:
    """What is known of all documents of a corpus without a look at their ids."""

    length_D: np.ndarray  # tokens, int64
    has_text_D: np.ndarray
    ends_D: np.ndarray  # with the tokenizer's end-of-sequence token


class TokenStore:
    """The documents of one corpus, as one tokenizer made them, as far as they are kept."""

    def __init__(self, folder: Path, eos: int | None) -> None:
        self.folder = folder
        self._eos = eos
        self._segments: dict[str, Segment] = {}
        self._waiting: dict[int, Tokenised] = {}
        self._num_waiting_tokens = 0
        self._position_K = np.zeros(0, dtype=np.int64)
        self.look()

    @classmethod
    def of(
        cls, documents: Documents, tokenizer: "PreTrainedTokenizerBase", special: bool
    ) -> "TokenStore | None":
        """Return the store; None where nothing is kept, or nobody knows what ids depend on."""
        kept = kept_documents()
        if kept is None or documents.identity is None or not tokenizer.is_fast:
            return None
        known = {
            "form": FORM,
            "special": special,
            "documents": documents.identity(),
            "tokenizer": tokenizer_identity(tokenizer),
        }
        eos = tokenizer.eos_token_id
        return cls(kept / address_of(known), eos if isinstance(eos, int) else None)

    @property
    def num_documents(self) -> int:
        """Documents that are kept."""
        return len(self._position_K)

    def look(self) -> None:
        """See what has been kept since, by whichever process."""
        try:
            names = {path.name: path for path in self.folder.glob("*.safetensors")}
        except OSError as error:
            say_once(self.folder, error.strerror)
            return
        new = [path for name, path in sorted(names.items()) if name not in self._segments]
        for path in new:
            with self._deleting_damaged(path):
                self._segments[path.name] = read_segment(path)
        if new:
            self._index()

    def find(self, positions: Sequence[int]) -> dict[int, Tokenised]:
        """Return those of the documents at `positions` that are kept."""
        found = {i: self._waiting[i] for i in positions if i in self._waiting}
        if not self.num_documents:
            return found
        wanted = np.asarray(positions, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._position_K, wanted), self.num_documents - 1)
        segments = list(self._segments.values())
        damaged: set[str] = set()
        for k in place[self._position_K[place] == wanted]:
            segment = segments[self._segment_K[k]]
            if segment.path.name in damaged:
                continue
            with self._deleting_damaged(segment.path):
                one = segment.document(int(self._row_K[k]))
                found[one.position] = one
                continue
            damaged.add(segment.path.name)
        for name in damaged:
            del self._segments[name]
        if damaged:
            self._index()
        return found

    def add(self, documents: Sequence[Tokenised]) -> None:
        """Keep documents: on disk from the next `flush` on, which comes when they are many."""
        for one in documents:
            self._waiting[one.position] = one
            self._num_waiting_tokens += len(one.tokens)
        many = len(self._waiting) >= SEGMENT_DOCUMENTS
        if many or self._num_waiting_tokens >= SEGMENT_TOKENS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        try:
            path = write_segment(self.folder, list(self._waiting.values()), self._eos)
            self._segments[path.name] = read_segment(path)
        except (OSError, DamagedSegmentError) as error:
            say_once(self.folder, getattr(error, "strerror", None) or str(error))
        self._waiting, self._num_waiting_tokens = {}, 0
        self._index()

    def missing(self, num_documents: int) -> np.ndarray:
        """Return the positions below `num_documents` that are not kept, rising."""
        is_missing = np.ones(num_documents, dtype=bool)
        is_missing[self._position_K[: np.searchsorted(self._position_K, num_documents)]] = False
        return np.flatnonzero(is_missing)

    def index(self, num_documents: int) -> Index | None:
        """Return the lengths of the first `num_documents`; None where some are not kept."""
        known = int(np.searchsorted(self._position_K, num_documents))
        if known < num_documents:
            return None
        return Index(
            length_D=self._length_K[:known],
            has_text_D=(self._flags_K[:known] & HAS_TEXT) > 0,
            ends_D=(self._flags_K[:known] & ENDS) > 0,
        )

    def _index(self) -> None:
        """Join the indices of all segments, by position; one that stands in two counts once."""
        segments = sorted(self._segments.values(), key=lambda segment: segment.position_K[0])
        self._segments = {segment.path.name: segment for segment in segments}
        nothing = [np.zeros(0, dtype=np.int64)]
        position = np.concatenate([s.position_K for s in segments] or nothing)
        first: np.ndarray | slice = slice(None)
        if not (np.diff(position) > 0).all():  # as of a corpus that was made in one go
            position, first = np.unique(position, return_index=True)
        sizes = [len(s.position_K) for s in segments]
        self._position_K = position
        self._segment_K = np.repeat(np.arange(len(segments)), sizes)[first]
        self._row_K = np.concatenate([np.arange(size) for size in sizes] or nothing)[first]
        self._length_K = np.concatenate([s.length_K for s in segments] or nothing)[first]
        self._flags_K = np.concatenate([s.flags_K for s in segments] or nothing)[first]

    @contextlib.contextmanager
    def _deleting_damaged(self, path: Path) -> Iterator[None]:
        try:
            yield
        except DamagedSegmentError as damage:
            log.warning("%s is damaged (%s): its documents are tokenised again", path, damage)
            with contextlib.suppress(OSError):
                path.unlink()
        except FileNotFoundError:  # deleted since: anybody may
            return
        except OSError as error:
            say_once(path.parent, error.strerror)


@cache
def say_once(folder: Path, why: str | None) -> None:
    """Say that nothing can be kept in a folder: many draws and files would say it."""
    log.warning("%s: token ids cannot be kept (%s): each process tokenises by itself", folder, why)
