"""What lies beside the records: scores per item in each cell, the calibration sets of all sweeps.

    results/<sweep>/<cell>/items.parquet      results/calibration/<folder>/card.json
                                              results/calibration/<folder>/tokens.safetensors

A sweep can be reported on without them; whether they are there, and what they hold, moves it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ITEMS, CARD, TOKENS = "items.parquet", "card.json", "tokens.safetensors"


def item_files(
    folder: str | Path, cells: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """Every done cell of the sweep in `folder` that has scores per item, and their file."""
    for record in cells:
        path = Path(folder) / str(record.get("folder", record["cell_id"])) / ITEMS
        if record["status"] == "done" and path.is_file():
            yield record, path


def stored_sets(
    results_dir: str | Path, cells: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Path]]:
    """The sets behind `cells` that are still on disk: the hash of the tokens, their file."""
    wanted = {str((record.get("calibration") or {}).get("hash")) for record in cells}
    for path in sorted((Path(results_dir) / "calibration").glob(f"*/{CARD}")):
        tokens = path.with_name(TOKENS)
        try:
            hash_ = json.loads(path.read_text(encoding="utf-8"))["hash"]
        except (ValueError, KeyError):
            continue  # no card of ours; whoever draws from it is told
        if hash_ in wanted and tokens.is_file():
            yield hash_, tokens


def fingerprint(folder: Path, cells: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What of it a report is made of: items by their bytes, sets by the hash of their tokens."""
    items = {
        str(record["cell_id"]): hashlib.sha256(path.read_bytes()).hexdigest()
        for record, path in item_files(folder, cells)
    }
    return [items, sorted({hash_ for hash_, _ in stored_sets(folder.parent, cells)})]
