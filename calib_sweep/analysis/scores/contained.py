"""Cells that say nothing of their own: what they scored stands in another cell of their weights.

A sweep that was scored on more has two cells of each compressed model, one for each evaluation. The
one that was scored on less is left out, with the status "contained"; of two that scored the same,
the earlier one. A dense cell stays as long as a cell that was scored as it was does.
"""

from collections.abc import Sequence

from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.settings import flatten, is_execution, text_of

CONTAINED = "contained"
DENSE = "dense"

Parts = frozenset[tuple[str, str]]  # name and identity of each


def without_contained(cells: Sequence[ReadCell]) -> list[ReadCell]:
    """Return `cells`, those that are contained in others with that status."""
    alike: dict[tuple[str, str], list[ReadCell]] = {}
    for record in cells:
        if (weights := _weights(record)) is not None and record.get("parts"):
            alike.setdefault(weights, []).append(record)
    found = {
        record["cell_id"]
        for own in alike.values()
        for record in own
        if any(_is_contained(record, other) for other in own)
    }
    kept = (r for r in cells if r["cell_id"] not in found and not _is_dense(r))
    needed = {_compared_with(record) for record in kept if record["status"] == "done"}
    found -= {r["cell_id"] for r in cells if _is_dense(r) and _compared_with(r) in needed}
    return [{**r, "status": CONTAINED} if r["cell_id"] in found else r for r in cells]


def _weights(record: ReadCell) -> tuple[str, str] | None:
    """Return what tells the weights of a done cell from others; None where nothing does."""
    note = record.get("compression") or {}
    weights = note.get("id"), note.get("fingerprint")
    if record["status"] != "done" or not all(isinstance(one, str) for one in weights):
        return None
    return str(weights[0]), str(weights[1])


def _is_contained(record: ReadCell, other: ReadCell) -> bool:
    """Tell whether `other`, of the same weights, scored the same, and more besides or later."""
    own, others = _parts(record), _parts(other)
    age, later = ((str(one.get("finished_at") or ""), one["cell_id"]) for one in (record, other))
    return own < others or (own == others and age < later)


def _parts(record: ReadCell) -> Parts:
    return frozenset((name, note["identity"]) for name, note in record.get("parts", {}).items())


def _is_dense(record: ReadCell) -> bool:
    return record["cell"]["method"] == DENSE


def _compared_with(record: ReadCell) -> tuple[str, str]:
    """Return model and evaluation of a cell, which it has in common with its dense cell."""
    evaluation = (record.get("config") or {}).get("evaluation")
    told = flatten({"evaluation": evaluation})
    moving = {name: value for name, value in told.items() if not is_execution(name)}
    return record["cell"]["model"], text_of(dict(sorted(moving.items())))
