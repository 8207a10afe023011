"""What a report was found to be current for, so that a finished sweep typed again reads no records.

    results/<sweep>/report/seen.json     a hash of all files below, and what is told at the end

The hash is over the bytes of every file that report and ending are made from: of each cell its
record, whatever else is called record, and its items; the cards of sets; published numbers. It may
change where the report need not, never the other way round. The file may go at any time.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from calib_sweep import atomic, valid_json
from calib_sweep.analysis.report.told import Told
from calib_sweep.places import CALIBRATION, CARD, CONFIG, ITEMS, REPORT, SEEN, TOKENS

OF_RECORDS = "record."  # record.json, and those set aside or in conflict


def files_sha256(folder: Path, beside: Sequence[Path], known: object) -> str | None:
    """Hash what a report on the sweep in `folder` is made from; None where a file cannot be read.

    `beside`: files that lie elsewhere. `known`: what is in no file.
    """
    found = hashlib.sha256(valid_json.dumps([folder.resolve().name, known]).encode())
    try:
        for name, path in (*_of_cells(folder), *_of_sets(folder.parent), *_of(beside)):
            content = b"" if path is None else path.read_bytes()
            found.update(os.fsencode(f"{name}\0{len(content)}\0"))
            found.update(content)
    except OSError:
        return None
    return found.hexdigest()


def _of_cells(folder: Path) -> Iterator[tuple[str, Path | None]]:
    """Find the files in folders of cells; without a path where only their being there counts."""
    for cell in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        for name in sorted(os.listdir(folder / cell)):  # noqa: PTH208
            if name == ITEMS or name.startswith(OF_RECORDS):
                yield f"{cell}/{name}", folder / cell / name
            elif name == CONFIG:
                yield f"{cell}/{name}", None


def _of_sets(results_dir: Path) -> Iterator[tuple[str, Path | None]]:
    """Find the cards of calibration sets, and whether their tokens are there."""
    for card in sorted((results_dir / CALIBRATION).glob(f"*/{CARD}")):
        yield card.parent.name, card
        if os.path.lexists(card.with_name(TOKENS)):
            yield f"{card.parent.name}/{TOKENS}", None


def _of(beside: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    return ((path.name, path) for path in beside)


def told(folder: Path, files: str, report: str) -> Told | None:
    """Return what was told when `files` were read and the report was made from `report`."""
    try:
        kept = json.loads((folder / REPORT / SEEN).read_bytes())
        is_same = (kept["files"], kept["report"]) == (files, report)
        return Told.of_plain(kept["told"]) if is_same else None
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or it is damaged
        return None


def keep(folder: Path, files: str, report: str, told: Told) -> None:
    """Keep what is told, where the folder can be written: a colleague's is read every time."""
    kept = {"files": files, "report": report, "told": told.to_plain()}
    with contextlib.suppress(OSError):  # it saves time, and nothing else
        atomic.write(folder / REPORT / SEEN, valid_json.dumps(kept) + "\n", durable=False)
