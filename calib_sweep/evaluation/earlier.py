"""Parts that finished cells of the same weights have scored: read back, and not scored again."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from calib_sweep.errors import StoreError
from calib_sweep.evaluation.items import COLUMNS
from calib_sweep.evaluation.parts import TASK, WINDOW, Part, name_of
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.places import ITEMS, REFERENCE
from calib_sweep.ranks import Ranks
from calib_sweep.results.files import damage
from calib_sweep.results.kin import Kin

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)


def earlier_parts(
    kin: Iterable[Kin], wanted: Mapping[str, str], code: str | None
) -> dict[str, Part]:
    """Find what is wanted among the parts of `kin`: name -> part.

    `wanted`: identity of each. `code`: hash of the code of the evaluation's classes, where some are
    not ours. What lies in a damaged file is not found, and scored again.
    """
    found: dict[str, Part] = {}
    for one in kin:
        if one.record.get("inputs", {}).get("evaluation.code") != code:
            continue
        notes = one.record.get("parts", {})
        names = [
            name
            for name, identity in wanted.items()
            if name not in found and name in notes and notes[name]["identity"] == identity
        ]
        if names:
            found |= _read(one, names)
    return found


def on_all(ranks: Ranks, find: Callable[[], dict[str, Part]]) -> dict[str, Part]:
    """Return what `find` gives on the first rank; the others get it without the reference."""
    found: dict[str, Part] = {}

    def told() -> dict[str, Part]:
        found.update(find())
        return {name: replace(part, log_probs=None, top=None) for name, part in found.items()}

    scores = ranks.from_rank(0, told)
    return found if ranks.is_first else scores


def _read(kin: Kin, names: list[str]) -> dict[str, Part]:
    """Read some parts of a cell; none where one of its files is damaged."""
    import pyarrow
    from pyarrow import parquet

    files = kin.record.get("files", {})
    reference, flaw = None, damage(kin.folder, files, ITEMS)
    try:
        table = None if flaw else parquet.read_table(kin.folder / ITEMS, columns=list(COLUMNS))
        if REFERENCE in files:
            place = (kin.folder / REFERENCE).parent
            reference = DenseReference.load(place, files[REFERENCE])
    except (OSError, pyarrow.ArrowException, StoreError) as error:
        table, flaw = None, str(error)
    if table is None:
        log.warning("%s: %s; what it scored is scored again", kin.folder.name, flaw)
        return {}
    return {name: _part(kin, name, table, reference) for name in names}


def _part(kin: Kin, name: str, table: "pyarrow.Table", reference: DenseReference | None) -> Part:
    """Take one part out of a record and the tables beside it."""
    import pyarrow.compute

    record, note = kin.record, kin.record.get("parts", {})[name]
    rows = table.filter(pyarrow.compute.field("name") == name).to_pydict()
    own = {s: value for s, value in record["scores"].items() if name_of(s) == name}
    stderr, metrics = record.get("stderr", {}), record.get("metrics", {})
    return Part(
        kind=WINDOW if WINDOW in rows["kind"] else TASK,
        name=name,
        headline=note["headline"],
        scores={score: float("nan") if value is None else value for score, value in own.items()},
        stderr={s: error for s in own if (error := stderr.get(s)) is not None},
        metrics={score: dict(metrics[score]) for score in own if score in metrics},
        rows=rows,
        log_probs=None if reference is None else reference.log_probs.get(name),
        top=None if reference is None else reference.top.get(name),
        correct=None if reference is None else reference.correct.get(name),
        max_gen_toks=note.get("max_gen_toks"),
        taken_from=note.get("taken_from", kin.id),
    )
