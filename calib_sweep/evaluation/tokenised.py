"""Token ids of the texts that are scored, kept on disk: a sweep tokenises them once.

    results_dir/tokenised/<address>.safetensors    ids of all texts one after the other, their
                                                   lengths; in the header the hash of both
    results_dir/tokenised/<address>.tokenising     who makes that now, where it takes long

The address is a hash of the texts themselves and of all else that their ids depend on: nothing that
is found there can be stale. What is damaged is said and made again, and what cannot be written is
made by each process. Only ids are kept: whatever is cut, paired and laid out is made from them as
before.

Shapes: K texts, T tokens of all of them.
"""

import hashlib
import logging
import struct
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from calib_sweep import atomic
from calib_sweep.dataset.documents.token_store import say_once
from calib_sweep.dataset.documents.tokenizing import encode, tokenizer_identity
from calib_sweep.hashing import address_of
from calib_sweep.places import IDS, TOKENISED, TOKENISING
from calib_sweep.results.once import once

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

FORM = 1  # part of every address: of the file
# Texts of so many characters take a second or more to tokenise: of several workers one does it.
LONG = 2_000_000
PATIENCE_S = 120.0  # then a worker no longer waits for the one that does

Ids = list[list[int]]


class Encoder(Protocol):
    """What makes tokens of a string; `wanted`: special tokens, None: as it does by itself."""

    tokenizer: "PreTrainedTokenizerBase"

    def tokenise(self, string: str, wanted: bool | None) -> list[int]: ...
    def is_special(self, string: str, wanted: bool | None) -> bool: ...


class Strings:
    """Token ids of strings: each is tokenised once, those that are learnt all together."""

    def __init__(self, encoder: Encoder, shelf: "Shelf | None") -> None:
        """`shelf`: where ids are kept for other processes; None: nowhere."""
        self._encoder, self._shelf = encoder, shelf
        self._known: dict[tuple[str, bool | None], list[int]] = {}
        self._asked: dict[tuple[str, bool | None], None] | None = None  # while `learn` listens

    def ids(self, string: str, wanted: bool | None) -> list[int]:
        """Return the ids of a string."""
        key = (string, wanted)
        if key not in self._known and self._asked is not None:
            self._asked[key] = None
            return []
        if key not in self._known:
            self._known[key] = self._encoder.tokenise(string, wanted)
        return self._known[key]

    def learn(self, ask: Callable[[], object]) -> None:
        """Tokenise, or find on disk, the strings whose ids `ask` asks for; it is told none."""
        self._asked = {}
        try:
            ask()
        finally:
            asked, self._asked = self._asked, None
        kinds: dict[bool, list[tuple[str, bool | None]]] = {True: [], False: []}
        for key in asked:
            kinds[self._encoder.is_special(*key)].append(key)
        for special, keys in kinds.items():
            texts, tokenizer = [string for string, _ in keys], self._encoder.tokenizer
            ids = token_ids(tokenizer, texts, special=special, shelf=self._shelf)
            self._known |= zip(keys, ids, strict=True)


class Shelf:
    """The place of the token ids of one tokenizer, as long as nobody changes its rules."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", results_dir: Path) -> None:
        self.folder = results_dir / TOKENISED
        self._tokenizer = tokenizer_identity(tokenizer)

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase", results_dir: Path | None) -> "Shelf | None":
        """Return the shelf; None where there is no folder, or nobody knows what ids depend on."""
        return None if results_dir is None or not tokenizer.is_fast else cls(tokenizer, results_dir)

    def place(self, texts: Sequence[str], special: bool) -> Path:
        """Return the file of these texts: it is named by all that their ids depend on."""
        text = hashlib.sha256()
        for one in texts:
            content = one.encode("utf-8", "surrogatepass")
            text.update(struct.pack("<Q", len(content)))
            text.update(content)
        known = {"form": FORM, "special": special, "texts": text.hexdigest(), **self._tokenizer}
        return self.folder / f"{address_of(known)}{IDS}"


def token_ids(
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    *,
    special: bool,
    shelf: Shelf | None,
) -> Ids:
    """Return the token ids of each text at full length, from the disk if they were made before.

    special: with what the tokenizer adds by itself. shelf: of this tokenizer; None: keep nothing.
    """
    make = partial(encode, tokenizer, texts, special=special)
    if shelf is None or not texts:
        return make()
    path = shelf.place(texts, special)
    find, keep = partial(_read, path, len(texts)), partial(_kept, path, make)
    try:
        if sum(map(len, texts)) < LONG:
            return find() or keep()
        return once(path.with_suffix(TOKENISING), find, keep, patience_s=PATIENCE_S)
    except OSError as error:
        log.warning("%s cannot be used (%s): each worker tokenises by itself", path.parent, error)
        return make()


def _kept(path: Path, make: partial[Ids]) -> Ids:
    """Make the ids, and keep them where that can be done."""
    from safetensors.numpy import save

    ids = make()
    lengths_K = np.array([len(one) for one in ids], dtype=np.int64)
    ids_T = np.fromiter((i for one in ids for i in one), np.int32, count=int(lengths_K.sum()))
    content = save({"ids": ids_T, "lengths": lengths_K}, {"sha256": _sha256(ids_T, lengths_K)})
    try:
        atomic.make_folder(path.parent)
        atomic.write(path, content, durable=False)  # cut by a power failure it is made again
    except OSError as error:
        say_once(path.parent, error.strerror)
    return ids


def _read(path: Path, num_texts: int) -> Ids | None:
    """Return what is kept; None where nothing is, or it is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        path.open("rb").close()  # what the library raises says not why
        with safe_open(path, framework="numpy") as file:
            ids_T, lengths_K = file.get_tensor("ids"), file.get_tensor("lengths")
            whole = (file.metadata() or {})["sha256"] == _sha256(ids_T, lengths_K)
    except PermissionError:
        raise
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        log.warning("%s is damaged (%s): its texts are tokenised again", path, error)
        return None
    if not whole or len(lengths_K) != num_texts:
        log.warning("%s is not what was written: its texts are tokenised again", path)
        return None
    ends = [0, *np.cumsum(lengths_K).tolist()]
    flat = ids_T.tolist()
    return [flat[start:end] for start, end in pairwise(ends)]


def _sha256(ids_T: np.ndarray, lengths_K: np.ndarray) -> str:
    digest = hashlib.sha256(lengths_K.astype("<i8").tobytes())
    digest.update(ids_T.astype("<i4").tobytes())
    return digest.hexdigest()
