"""The files of weights of a checkpoint: all there, whole, and holding what they are said to hold.

A file of safetensors begins with the length of its header (8 bytes) and the header, in JSON: each
tensor's name, dtype, shape, and where it begins and ends behind the header. That much is read.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from calib_sweep.errors import ConfigError, collected, require

if TYPE_CHECKING:
    from torch import Tensor

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
GIT_LFS = b"version https://git-lfs"  # how a file begins whose content git has not fetched


class TensorHeader(TypedDict):
    """The facts that a file of safetensors tells of one of its tensors."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]  # bytes, after the header


Header = Mapping[str, TensorHeader]


def missing_weights(folder: Path) -> list[str]:
    """Files of weights that a checkpoint names and lacks: one file, or those of its index."""
    return [name for name in _weight_files(folder) if not (folder / name).is_file()]


def read_headers(path: str, folder: Path) -> Header:
    """Read what the weights in `folder`, typed as `path`, are; `ConfigError` unless whole."""
    missing = missing_weights(folder)
    require(
        not missing,
        "model.path",
        path,
        f"a complete checkpoint, but these files of it are missing: {some(missing)}",
        "Download or save it again.",
    )
    tensors: dict[str, TensorHeader] = {}
    with collected() as problems:
        for name in _weight_files(folder):
            tensors |= problems.of(_read_header, path, folder / name) or {}
    return tensors


def hollow(tensors: Header) -> dict[str, "Tensor"]:
    """Tensors of these names and shapes without content."""
    import torch

    return {name: torch.empty(tensor["shape"], device="meta") for name, tensor in tensors.items()}


def some(names: Sequence[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more


def _weight_files(folder: Path) -> list[str]:
    """The files that weights are read from."""
    index = folder / INDEX
    if (folder / WHOLE).is_file() or not index.is_file():
        return [WHOLE]
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted({str(name) for name in places.values()})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"model.path={str(folder)!r}: expected the files of all weights in {INDEX}, but it "
            f"cannot be read ({error}). Download or save it again."
        ) from error


def _read_header(path: str, file: Path) -> Header:
    """Read what a file says of its tensors, held against its size."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        if opened.read(len(GIT_LFS)) == GIT_LFS:
            raise _damaged(path, file, "is a pointer of Git LFS", "Fetch it with `git lfs pull`")
        opened.seek(0)
        first = opened.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        if 8 + length > size:
            raise _damaged(path, file, f"ends after {size:,} bytes, within its header")
        text = opened.read(length)
    try:
        header = {k: v for k, v in json.loads(text).items() if k != "__metadata__"}
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(path, file, f"does not begin as safetensors do ({error})") from error
    if 8 + length + end != size:
        raise _damaged(path, file, f"has {size:,} bytes where {8 + length + end:,} belong")
    return header


def _damaged(
    path: str, file: Path, reason: str, remedy: str = "It is damaged or cut short: copy it again"
) -> ConfigError:
    return ConfigError(
        f"model.path={path!r}: expected weights in safetensors, but {file.name} {reason}. {remedy}."
    )
