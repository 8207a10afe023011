"""Cells whose scores cannot be what they are called: refused by name, while the rest is reported.

An accuracy of 60.1, a perplexity of 0.5 or below zero are no scores of a model. They are in another
unit, or broken, and one of them next to others makes every mean and difference wrong. So the whole
cell is left out: its status is "refused", and its error says which score and why.
"""

from collections.abc import Sequence

from calib_sweep.analysis.metrics import OURS, Declared, Metrics, flaws_of, kind_of
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.means import as_number
from calib_sweep.errors import ConfigError
from calib_sweep.results.record import ErrorNote

REFUSED = "refused"
MAX_TOLD = 3  # scores of a cell


def known_metrics(cells: Sequence[ReadCell], declared: Declared) -> Metrics:
    """Return what is known of metrics: ours, what the records say, then what is `declared`.

    Of records that disagree the first counts, and the others are refused.
    """
    of_records: dict[str, dict[str, object]] = {}
    for record in cells:
        told = record.get("metrics") or {}
        if record["status"] == "done" and not flaws_of(told):
            for metric, fields in told.items():
                own = of_records.setdefault(metric, {})
                own |= {field: value for field, value in fields.items() if field not in own}
    return OURS.extended(of_records).extended(declared)


def refuse(cells: Sequence[ReadCell], declared: Declared) -> list[ReadCell]:
    """Return `cells`, those that are done and cannot be true with the status "refused"."""
    known = known_metrics(cells, declared)
    return [_refused(record, known, declared) for record in cells]


def _refused(record: ReadCell, known: Metrics, declared: Declared) -> ReadCell:
    if record["status"] != "done":
        return record
    flaws = [f"metrics{flaw}" for flaw in flaws_of(record.get("metrics") or {})]
    flaws = flaws or _disagreements(record, known, declared)
    flaws += _out_of_range(record, known)
    if not flaws:
        return record
    more = f"; and {len(flaws) - MAX_TOLD} more" if len(flaws) > MAX_TOLD else ""
    why = f"refused: {'; '.join(flaws[:MAX_TOLD])}{more}"
    error: ErrorNote = {"type": REFUSED, "message": why}
    return {**record, "status": REFUSED, "scores": {}, "stderr": {}, "error": error}


def _out_of_range(record: ReadCell, known: Metrics) -> list[str]:
    told = ((m, known.of(m).flaw(as_number(value))) for m, value in record["scores"].items())
    return [f"{metric} {flaw}" for metric, flaw in told if flaw]


def _disagreements(record: ReadCell, known: Metrics, declared: Declared) -> list[str]:
    """Say where the record calls a metric better the other way round than the others do."""
    told = {metric: fields.get("direction") for metric, fields in _declared_in(record).items()}
    return [
        f"{metric} has direction {own}, and {known.of(metric).direction} in other records"
        for metric, own in told.items()
        if own is not None
        and own != known.of(metric).direction
        and not _is_settled(metric, declared)
    ]


def _is_settled(metric: str, declared: Declared) -> bool:
    return any("direction" in declared.get(name, {}) for name in (metric, kind_of(metric)))


def _declared_in(record: ReadCell) -> Declared:
    return record.get("metrics") or {}


def require_units(name: str, cells: Sequence[ReadCell]) -> None:
    """Raise `ConfigError` where every cell that was scored is refused: say what to type."""
    scored = [record for record in cells if record["status"] in ("done", REFUSED)]
    if not scored or any(record["status"] == "done" for record in scored):
        return
    error = scored[0].get("error") or {"message": ""}
    first = f"{scored[0]['cell_id']}: {error.get('message')}"
    remedy = f"Example: python -m calib_sweep import {name} {name}_in_fractions --percent."
    if "percent" not in first:
        remedy = "Correct the records, or say in analysis.metrics what the scores are."
    raise ConfigError(
        f"report {name!r}: expected scores that a model can have, but all {len(scored)} cells are "
        f"refused, for example {first}. {remedy}"
    )
