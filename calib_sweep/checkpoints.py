"""Whose walk it is that is kept beside a cell: all that can move a bit of it.

cell       settings that can move its weights (`Cell.compression_id`), and hashes of its files
model      fingerprint of the dense weights, as the walk finds them
set        hash of the calibration set
grids      whether reports hold the grids of the new weights
code       hash of the code that walks
libraries  their versions
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from calib_sweep.cell import Cell
from calib_sweep.compression.checkpoint import Checkpoint
from calib_sweep.compression.nothing_kept import NOTHING_KEPT, NothingKept
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.model.fingerprint import weights_fingerprint
from calib_sweep.places import CHECKPOINT, PACKAGE
from calib_sweep.ranks import ALONE, Ranks
from calib_sweep.results.store import Store

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Folders of the package; that of calibration makes the weights of tokens, too.
WALKS = ("activations", "compression", "dataset/calibration", "method", "model", "rotation")
LIBRARIES = ("torch", "transformers")


def checkpoint_of(
    cell: Cell,
    store: Store,
    model: "PreTrainedModel",
    drawn: CalibrationSet | None,
    inputs: Mapping[str, str | None],
    ranks: Ranks = ALONE,
) -> NothingKept:
    """Return what keeps the walk of `cell`, if that is asked for. `model`: about to be walked."""
    if cell.config.get("checkpoint") is None:
        return NOTHING_KEPT

    def head() -> Mapping[str, object]:
        files = {k: v for k, v in inputs.items() if k.partition(".")[0] != "evaluation"}
        return {
            "cell": [cell.compression_id, files],
            "model": weights_fingerprint(model),
            "set": None if drawn is None else drawn.hash,
            "grids": cell.config["save_model"] not in (None, "dense"),
            "code": _own_code(),
            "libraries": {name: version(name) for name in LIBRARIES},
        }

    folder = store.cell_folder(cell) / CHECKPOINT
    every_s = cell.config["checkpoint_seconds"]
    return Checkpoint(folder, head, every_s=every_s, device=model.device, ranks=ranks)


@cache
def _own_code() -> str:
    """Hash the source of all that a walk runs of this package."""
    paths = [path for folder in WALKS for path in sorted((PACKAGE / folder).rglob("*.py"))]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:32]
