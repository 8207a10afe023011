"""What a cell is compared with: the dense model's own cell, which has run before."""

from collections.abc import Mapping

from calib_sweep.cell import Cell
from calib_sweep.errors import StoreError
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.parts.interfaces import Parts
from calib_sweep.places import REFERENCE
from calib_sweep.results.store import Store
from calib_sweep.session import Session


def load_reference(
    store: Store, cell: Cell, parts: Parts, inputs: Mapping[str, str | None], session: Session
) -> DenseReference | None:
    """Load what the dense model's own cell left for comparison; None for that one, or if not asked.

    `StoreError` where that cell read other files: what it scored is then no reference.
    """
    if cell.is_dense:
        return None
    dense = cell.dense()
    record = session.ranks.from_rank(0, lambda: store.find(dense))
    read = inputs if record is None else record.get("inputs", inputs)
    changed = [key for key in ("model", "evaluation") if read.get(key) != inputs[key]]
    if changed:
        raise StoreError(
            f"{' and '.join(changed)}: files have changed since the dense cell {dense.id} ran, so "
            "nothing can be compared with it. Restore them, or type sweep_name=NEW_NAME to run "
            "everything on the files as they are now."
        )
    if parts.evaluation.divergence is None:
        return None
    content = None if record is None else record.get("files", {}).get(REFERENCE)
    return session.reference((store.cell_folder(dense) / REFERENCE).parent, content)
