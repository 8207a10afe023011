"""What a cell leaves in W&B besides its run: the calibration set it used, and its items.

    calibration-set    DATASET-seedN-HASH   tokens, text, card; one for all cells of the set, each
                                            of which uses it, so that lineage shows set -> cells
    items              items-RUN            `items.parquet`: one row per test item and window

A set is the same artifact wherever it is sent from, for its name ends in the hash of its tokens,
which is an alias in full.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calib_sweep.errors import StoreError
from calib_sweep.places import CALIBRATION, CARD, ITEMS, SAMPLES, TOKENS
from calib_sweep.results.files import damage
from calib_sweep.results.record import Record
from calib_sweep.tracking.mirrored import ITEM_SCORES, SET

MAX_PART = 60  # characters of a dataset's name; W&B takes 128 in all
TOLD = ("dataset", "seed", "design", "window", "bos", "num_samples", "seq_len")  # of a set's card


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Files under a name and a type; `aliases` are further names of its version."""

    type: str
    name: str
    files: Mapping[str, Path]
    aliases: tuple[str, ...]
    metadata: Mapping[str, object]


def calibration_set(folder: Path, record: Record) -> Artifact | None:
    """Return the set that the cell in `folder` used; None without one, or where it is not there."""
    from calib_sweep.dataset.calibration.artifact import load_set

    used: dict[str, Any] = dict(record.get("calibration") or {})
    if (place := used.get("folder")) is None:
        return None
    kept = folder.parent.parent / CALIBRATION / str(place)
    try:
        found = load_set(kept).hash
    except StoreError:
        return None  # what is damaged, gone or another user's is not sent
    if found != used["hash"]:
        return None
    told = {key: used[key] for key in TOLD if used.get(key) is not None}
    label = re.sub(r"[^A-Za-z0-9_.-]", "_", str(told.get("dataset", "set")))[:MAX_PART]
    return Artifact(
        type=SET,
        name=f"{label}-seed{told.get('seed', 0)}-{used['hash'][:12]}",
        files={name: kept / name for name in (TOKENS, SAMPLES, CARD)},
        aliases=(used["hash"],),
        metadata={**told, "hash": used["hash"], "folder": str(place)},
    )


def items(folder: Path, record: Record, run_id: str) -> Artifact | None:
    """Return the items of the cell in `folder`, whose run is `run_id`; None without, or damaged."""
    if not (folder / ITEMS).is_file() or damage(folder, record.get("files"), ITEMS):
        return None
    return Artifact(
        type=ITEM_SCORES,
        name=f"items-{run_id}",
        files={ITEMS: folder / ITEMS},
        aliases=(),
        metadata={"cell": record.get("cell_id"), "sha256": (record.get("files") or {}).get(ITEMS)},
    )
