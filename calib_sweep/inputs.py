"""Hash what a cell reads besides its settings: local files, and code that is not ours.

Its record keeps their hashes. Where they are others now, a finished cell is stale.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

from calib_sweep.cell import Cell, digest
from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import WITH_CODE, Builder
from calib_sweep.parts.interfaces import Parts
from calib_sweep.results.record import Record

log = logging.getLogger(__name__)

READERS = ("model", "dataset", "evaluation")  # parts that read files
CODE = ".code"  # "method.code": of the classes of the part
METHOD = "method"  # of those that depend on files or versions
KEYS = (*READERS, METHOD, *(f"{key}{CODE}" for key in WITH_CODE))  # what records may hold


def inputs_of(parts: Parts) -> dict[str, str | None]:
    """Hash the local files that a cell reads, None for what is pinned, and code of one's own."""
    readers = {key: getattr(parts, key) for key in READERS}
    files = {key: part.fingerprint() for key, part in readers.items() if part is not None}
    if (own := parts.method.fingerprint()) is not None:
        files[METHOD] = own
    return files | {f"{key}{CODE}": code for key, code in parts.code.items()}


def changed_inputs(builder: Builder, done: Iterable[tuple[Cell, Record]]) -> list[str]:
    """Say which files and code are no longer what finished cells read: their scores are stale."""
    stale: dict[tuple[str, str | None, str | None], list[Cell]] = defaultdict(list)
    hashes: dict[str, str | None] = {}
    for cell, record in done:
        kept = record.get("inputs", {})
        for key, then in ((key, kept[key]) for key in KEYS if key in kept):
            address = f"{key}:{digest(cell.config[key.removesuffix(CODE)])}"
            if address not in hashes:
                hashes[address] = _now(builder, key, cell, then)
            if hashes[address] != then:
                stale[key, then, hashes[address]].append(cell)
    return [_describe(*changed, cells) for changed, cells in stale.items()]


def _describe(key: str, then: str | None, now: str | None, cells: Sequence[Cell]) -> str:
    what = "the code of its classes has" if key.endswith(CODE) else "its files have"
    others = f" and {len(cells) - 1:,} more" if len(cells) > 1 else ""
    return (
        f"{key.removesuffix(CODE)}: {what} changed since cell {cells[0].id}{others} ran (hash "
        f"{then} then, {now} now). Type sweep_name=NEW_NAME to run everything as it is now. Or "
        f"delete the folder of each such cell to run it again; the first is {cells[0].folder_name}."
    )


def _now(builder: Builder, key: str, cell: Cell, before: str | None) -> str | None:
    """Return the hash now; as before, with a warning, where the files are gone altogether."""
    name = key.removesuffix(CODE)
    try:
        if key.endswith(CODE):
            return builder.code_of(name, cell.config[name])
        return builder.build(name, cell.config[name]).fingerprint()
    except ConfigError as error:
        log.warning("finished cells cannot be held against the files they read: %s", error)
        return before
