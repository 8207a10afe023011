"""Segments: files that hold the token ids of some documents of one corpus.

A segment is a safetensors file. Its index is read as a whole and proved by a hash in the header;
its ids are mapped into memory, so that a window of one document costs the pages that it lies on.
Each document has a checksum of its own, proved whenever it is read.

    position  int64 [K]   of each document in its corpus, rising
    end       int64 [K]   where its ids end
    crc       uint32 [K]  of its ids
    flags     uint8 [K]   HAS_TEXT, ENDS (with the end-of-sequence token of the tokenizer)
    ids       [T]         one document after the other; uint16 where all fit, else uint32

Shapes: K documents, T tokens of all of them.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from calib_sweep import atomic
from calib_sweep.dataset.documents.tokenizing import Tokenised

HAS_TEXT, ENDS = 1, 2  # flags

INDEX = {"position": np.int64, "end": np.int64, "crc": np.uint32, "flags": np.uint8}
DTYPES = {"I64": np.int64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8}
# Files mapped at a time: each map keeps one open, of which a process may have about a thousand.
NUM_MAPS = 64


class DamagedSegmentError(Exception):
    """A file that does not hold what was written into it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Segment:
    """The index of one file, and where its ids lie."""

    path: Path
    position_K: np.ndarray
    end_K: np.ndarray
    crc_K: np.ndarray
    flags_K: np.ndarray
    dtype: type
    offset: int  # bytes before the ids
    num_tokens: int
    inode: int  # a file that takes the place of a damaged one has the same name

    @property
    def length_K(self) -> np.ndarray:
        """Tokens of each document."""
        return np.diff(self.end_K, prepend=0)

    def document(self, row: int) -> Tokenised:
        """Return one document; `DamagedSegmentError` where its ids are not those written."""
        start = int(self.end_K[row - 1]) if row else 0
        ids_T = _mapped(self.path, self.inode, self.dtype, self.offset, self.num_tokens)
        tokens = ids_T[start : int(self.end_K[row])]
        if zlib.crc32(tokens.tobytes()) != self.crc_K[row]:
            raise DamagedSegmentError(f"document {self.position_K[row]} has another checksum")
        has_text = bool(self.flags_K[row] & HAS_TEXT)
        return Tokenised(int(self.position_K[row]), has_text, tokens)


def write_segment(folder: Path, documents: Sequence[Tokenised], eos: int | None) -> Path:
    """Write documents into a file of `folder` that is named by their content; return it."""
    from safetensors.numpy import save

    documents = sorted(documents, key=lambda one: one.position)
    lengths_K = [len(one.tokens) for one in documents]
    ids_T = np.concatenate([one.tokens for one in documents])
    ids_T = ids_T.astype(np.uint16 if not len(ids_T) or ids_T.max() < 2**16 else np.uint32)
    end_K = np.cumsum(lengths_K, dtype=np.int64)
    index: dict[str, np.ndarray] = {
        "position": np.array([one.position for one in documents], dtype=np.int64),
        "end": end_K,
        "crc": np.array(
            [zlib.crc32(one.tobytes()) for one in np.split(ids_T, end_K[:-1])], dtype=np.uint32
        ),
        "flags": np.array([_flags(one, eos) for one in documents], dtype=np.uint8),
    }
    proof = _sha256(index)
    path = folder / f"{proof[:20]}.safetensors"
    atomic.make_folder(folder)
    atomic.write(path, save(index | {"ids": ids_T}, {"sha256": proof}), durable=False)
    return path


def read_segment(path: Path) -> Segment:
    """Read the index of a file; `DamagedSegmentError` where it is not what was written."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            (size,) = struct.unpack("<Q", file.read(8))
            if size > found.st_size:
                raise DamagedSegmentError("it is cut")
            header = json.loads(file.read(size))
            index = {}
            for name, dtype in INDEX.items():
                begin, end = header[name]["data_offsets"]
                file.seek(8 + size + begin)
                index[name] = np.frombuffer(file.read(end - begin), dtype=dtype)
        ids = header["ids"]
        begin, end = ids["data_offsets"]
        if found.st_size < 8 + size + end:
            raise DamagedSegmentError("it is cut")
        if header["__metadata__"]["sha256"] != _sha256(index):
            raise DamagedSegmentError("its index is not the one that was written")
        return Segment(
            path=path,
            **{f"{name}_K": values for name, values in index.items()},
            dtype=DTYPES[ids["dtype"]],
            offset=8 + size + begin,
            num_tokens=ids["shape"][0],
            inode=found.st_ino,
        )
    except (struct.error, ValueError, LookupError, TypeError) as error:
        raise DamagedSegmentError(f"{type(error).__name__}: {error}") from error


@lru_cache(maxsize=NUM_MAPS)
def _mapped(path: Path, _inode: int, dtype: type, offset: int, num_tokens: int) -> np.ndarray:
    if not num_tokens:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, "r", offset, (num_tokens,))


def _flags(document: Tokenised, eos: int | None) -> int:
    ends = len(document.tokens) > 0 and document.tokens[-1] == eos
    return HAS_TEXT * document.has_text + ENDS * bool(ends)


def _sha256(index: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, dtype in INDEX.items():
        digest.update(np.ascontiguousarray(index[name], dtype=dtype).tobytes())
    return digest.hexdigest()
