"""The files beside a record that it stands for, and the hashes that it keeps of them.

A record of an earlier version keeps none; then a file is only held to be readable.
"""

from collections.abc import Mapping
from pathlib import Path

from calib_sweep.hashing import file_sha256
from calib_sweep.places import ITEMS, LAYERS, REFERENCE

NOT_KEPT = "not kept"  # in the place of a hash: what is there belongs to another record


def hash_files(folder: Path) -> dict[str, str]:
    """Hash every file in a cell's folder that its record stands for, by SHA-256."""
    present = [name for name in (ITEMS, LAYERS, REFERENCE) if (folder / name).is_file()]
    return {name: file_sha256(folder / name) for name in present}


def damage(folder: Path, files: Mapping[str, str] | None, name: str) -> str | None:
    """Say what is wrong with a file beside a record that keeps the hashes `files`, or None."""
    wanted = (files or {}).get(name)
    if wanted is None:
        return None
    try:
        found = file_sha256(folder / name)
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None if found == wanted else f"{name} is not the file that was written with the record"
