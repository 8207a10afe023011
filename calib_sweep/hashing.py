"""Hashes that prove that what is read is what was written."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from calib_sweep import valid_json

if TYPE_CHECKING:
    import numpy as np


class Stamp(NamedTuple):
    """A file as it is now: what is remembered of it holds as long as this is equal."""

    path: Path
    size: int
    modified_ns: int  # which programs set as they like
    changed_ns: int  # which they cannot


def stamp_of(path: Path) -> Stamp:
    """Return size and times of change of a file."""
    found = path.stat()
    return Stamp(path, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def file_sha256(path: Path, *, after: bytes = b"") -> str:
    """Return the SHA-256 of a file, remembered as long as its size and times of change stay.

    `after`: bytes that are left out where the file begins with them.
    """
    return _file_sha256(stamp_of(path), after)


@lru_cache(maxsize=65536)
def _file_sha256(stamp: Stamp, after: bytes) -> str:
    with stamp.path.open("rb") as file:
        if file.read(len(after)) != after:
            file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def address_of(known: object) -> str:
    """Hash plain containers to 20 digits: they name a file by all that its content depends on."""
    text = valid_json.dumps(known, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def tokens_sha256(
    tokens_NT: "np.ndarray",
    lengths_N: "np.ndarray | None",
    answers_NT: "np.ndarray | None" = None,
) -> str:
    """Hash shape, tokens, lengths and marks of a calibration set by SHA-256.

    Equal hashes, same data.
    """
    digest = hashlib.sha256(str(tokens_NT.shape).encode())
    digest.update(tokens_NT.astype("<i8", order="C", copy=False).tobytes())
    if lengths_N is not None:
        digest.update(b"lengths")
        digest.update(lengths_N.astype("<i8", order="C", copy=False).tobytes())
    if answers_NT is not None:
        digest.update(b"answers")
        digest.update(answers_NT.astype("u1", order="C", copy=False).tobytes())
    return digest.hexdigest()
