"""Scores from elsewhere as records, one for each cell: checked as a whole, then made.

Fractions in percent are made fractions when that is said (a column `unit`, --percent); where it
only looks so, it is asked for. The same scores give the same records, byte by byte.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from calib_sweep.analysis.metrics import OURS, PERCENT
from calib_sweep.analysis.scores.score_sheet import Score
from calib_sweep.analysis.scores.table import DENSE
from calib_sweep.cell import digest
from calib_sweep.errors import Problems
from calib_sweep.results.record import SCHEMA

UNITS = {"%": PERCENT, "percent": PERCENT, "per cent": PERCENT, "fraction": 1.0, "share": 1.0}
WORST = {"nan": None, "null": None, "none": None}  # a score that is no number
MAX_TOLD = 5  # places of one kind of mistake
NAME_PARTS = re.compile(r"[^A-Za-z0-9._]+")

Key = tuple[object, ...]


@dataclass
class Cell:
    """The scores of one cell as they come together."""

    axes: Mapping[str, object]
    settings: Mapping[str, object]
    scores: dict[str, float | None] = field(default_factory=dict)
    stderr: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, dict[str, object]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)  # of each score


class _Told:
    """Mistakes of one kind with the lines that they are on: the first few are told."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.places: dict[tuple[str, str], list[str]] = {}

    def add(self, what: str, place: str, remedy: str) -> None:
        self.places.setdefault((what, remedy), []).append(place)

    def tell(self) -> None:
        for (what, remedy), places in self.places.items():
            more = len(places) - MAX_TOLD
            rest = f" and {more} more" if more > 0 else ""
            self.problems.add(f"{', '.join(places[:MAX_TOLD])}{rest}: {what}. {remedy}")


def cells_of(scores: Iterable[Score], unit: str | None, problems: Problems) -> list[Cell]:
    """Gather scores by cell; `unit` of fractions: "percent", "fraction", or None (by column)."""
    cells: dict[Key, Cell] = {}
    told = _Told(problems)
    sizes: dict[tuple[str, str], list[float]] = {}  # shares of no own unit, by metric and method
    for score in scores:
        if score.value == "":
            continue
        cell = _cell_of(score, cells, told)
        value = _number(score.value, f"line {score.line}", told)
        if score.metric in cell.lines:
            told.add(
                f"a second {score.metric} of the same cell",
                f"line {score.line} (first in {cell.lines[score.metric]})",
                "Take one of them out, or give them a column replicate or a setting that differs.",
            )
            continue
        cell.lines[score.metric] = score.line
        times = _times(score, unit, told)
        if not score.unit and value is not None and OURS.of(score.metric).is_share:
            sizes.setdefault((score.metric, score.axes["method"]), []).append(value)
        _put(cell, score, value, times or 1.0, told)
    asked = _ask_for_units(sizes, unit, problems)
    _check_ranges(cells.values(), asked, told)
    told.tell()
    return list(cells.values())


def _cell_of(score: Score, cells: dict[Key, Cell], told: _Told) -> Cell:
    axes: dict[str, object] = {
        "model": score.axes["model"],
        "method": score.axes["method"],
        "dataset": score.axes["dataset"] or None,
        "seed": _whole(score.axes["seed"], "seed", score.line, told),
        "replicate": _whole(score.axes["replicate"], "replicate", score.line, told) or 0,
    }
    for role in ("model", "method"):
        if not axes[role]:
            told.add(f"no {role}", f"line {score.line}", f"Fill it in; {DENSE} is a method too.")
    if axes["dataset"] and not score.axes["seed"] and axes["method"] != DENSE:
        told.add(
            "a dataset and no seed",
            f"line {score.line}",
            "Number the draws of calibration data (0, 1, ...); a method that reads none has "
            "neither.",
        )
    if axes["method"] == DENSE:
        axes |= {"dataset": None, "seed": None}
    settings = {key: _plain(text) for key, text in score.settings.items()}
    # A seed that could not be read is one of its own: its row is no second one of another cell.
    unread = "" if axes["seed"] is not None else score.axes["seed"]
    key = (*axes.values(), unread, *sorted(settings.items()))
    return cells.setdefault(key, Cell(axes, settings))


def _put(cell: Cell, score: Score, value: float | None, times: float, told: _Told) -> None:
    cell.scores[score.metric] = None if value is None else value / times
    if score.stderr:
        error = _number(score.stderr, f"line {score.line}", told)
        if error is not None:
            cell.stderr[score.metric] = error / times
    if score.direction:
        if score.direction not in ("1", "+1", "-1", "0"):
            told.add(
                f"direction {score.direction!r}",
                f"line {score.line}",
                "Expected 1 (more is better), -1 (less is) or 0 (not known).",
            )
        else:
            cell.metrics[score.metric] = {"direction": int(score.direction)}


def _times(score: Score, unit: str | None, told: _Told) -> float | None:
    """Return what to divide by; None where no unit is said of a share, or it has none."""
    if not OURS.of(score.metric).is_share:
        return None
    if not score.unit:
        return None if unit is None else UNITS[unit]
    if score.unit.lower() not in UNITS:
        told.add(f"unit {score.unit!r}", f"line {score.line}", f"Expected {', '.join(UNITS)}.")
    return UNITS.get(score.unit.lower())


def _ask_for_units(
    sizes: Mapping[tuple[str, str], Sequence[float]], unit: str | None, problems: Problems
) -> set[str]:
    """Ask for units that are not said, or seem to be mixed; return the metrics in question."""
    metrics = sorted({metric for metric, _ in sizes})
    high = {m: max(max(v) for (own, _), v in sizes.items() if own == m) for m in metrics}
    above = [metric for metric in metrics if high[metric] > 1]
    if unit is not None:
        below = [metric for metric in metrics if unit == "percent" and high[metric] <= 1]
        if below:
            problems.add(
                f"--percent: expected numbers up to 100, but {', '.join(below[:MAX_TOLD])} has "
                "none above 1. Leave it out, or add a column unit (percent, fraction)."
            )
        return set(below)
    if not above:
        return set()
    low = [
        f"{metric} of {method} (up to {max(v):g})"
        for (metric, method), v in sizes.items()
        if metric in above and max(v) <= 1
    ]
    shown = ", ".join(f"{m} (up to {high[m]:g})" for m in above[:MAX_TOLD])
    remedy = "Type --percent if all are in percent, or add a column unit (percent, fraction)."
    if low:
        shown += f"; but {', '.join(low[:MAX_TOLD])} not"
        remedy = "Add a column unit (percent, fraction): the units seem to be mixed."
    problems.add(f"fractions above 1: {shown}. {remedy}")
    return set(above)


def _check_ranges(cells: Iterable[Cell], asked: set[str], told: _Told) -> None:
    for cell in cells:
        for metric, value in cell.scores.items():
            flaw = None if value is None else OURS.of(metric).flaw(value)
            if flaw and metric not in asked:
                told.add(
                    f"a {metric} that no model can have",
                    f"line {cell.lines[metric]} ({value:g})",
                    "Correct it, or leave the field empty.",
                )


def _number(text: str, place: str, told: _Told) -> float | None:
    if text.lower() in WORST:
        return None
    try:
        number = float(text)
    except ValueError:
        told.add(f"{text!r} is no number", place, "Write 0.5, 1e9 or inf, with a point.")
        return None
    return None if math.isnan(number) else number


def _whole(text: str, role: str, line: int, told: _Told) -> int | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        told.add(f"{role} {text!r}", f"line {line}", "Expected a whole number: 0, 1, 2, ...")
        return None
    return int(number)


def _plain(text: str) -> object:
    """Return the value of a setting: a number where it is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def record_of(cell: Cell, source: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a cell's folder, and its record; `source`: the hash of the table."""
    names = {**cell.axes, "settings": dict(sorted(cell.settings.items()))}
    own = digest({"imported": names})
    parts = [cell.axes["model"], cell.axes["method"], cell.axes["dataset"]]
    seed = [] if cell.axes["seed"] is None else [f"seed{cell.axes['seed']}"]
    words = [NAME_PARTS.sub("_", str(part))[:60] for part in parts if part]
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "cell_id": own,
        "status": "done",
        "cell": names,
        "inputs": {"scores": source},
        "scores": dict(sorted(cell.scores.items())),
        "stderr": dict(sorted(cell.stderr.items())),
        "metrics": dict(sorted(cell.metrics.items())),
    }
    return "-".join([*words, *seed, own]), record
