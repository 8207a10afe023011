"""The analysis's tables as a reader meets them: rounded, with units, a meaning to each column.

A `Column` says which columns of a DataFrame it shows (a value alone, or a value with the ends of
its interval), and in what form:

    name          words; nothing is "-". word: one among the numbers
    score         as recorded: percent, or perplexity          sd   the same, of an SD
    change        a difference of scores as recorded, with its sign
    difference    on the scale of the analysis: points, or the ratio of perplexities; ends: an
                  interval alone, beside it; size: without a sign
    spread        an SD on that scale, of the logarithm of a perplexity in per cent
    share         a fraction, in percent                        p    a p-value
    count         a whole number                                plain   anything else

`format_table` makes one table of one metric: a column has one unit and one number of decimals.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.document import Table
from calib_sweep.analysis.scores.table import DENSE

NOTHING = "-"
SMALLEST_P = 0.001
SMALLEST = 1e-12  # what is nearer to 0 is the rounding of a sum
OF_DIFFERENCE = ("difference", "ends", "size")
MARGIN = {"score", "sd", "change"}  # forms with the decimals of the scores


@dataclass(frozen=True)
class Column:
    """One column of a table. `better`: +1 mark the largest, -1 the smallest, 0 as the metric."""

    heading: str
    keys: tuple[str, ...]
    form: str
    meaning: str
    better: int | None = None  # None: nothing to mark


def format_table(
    frame: Frame,
    columns: Sequence[Column],
    metric: str,
    caption: str = "",
    known: Metrics = OURS,
) -> Table:
    """Write rows of one metric as a table; name columns that are all alike are left out."""
    own = [column for column in columns if _is_shown(frame, column)]
    digits = {column.heading: _digits(frame, column, metric, known) for column in own}
    records = frame.to_dict("records")
    rows = [[_text(row, c, metric, digits[c.heading], known) for c in own] for row in records]
    return Table(
        [_with_unit(column, metric, known) for column in own],
        rows,
        num_names=sum(column.form == "name" for column in own),
        caption=caption,
        meanings={_with_unit(column, metric, known): column.meaning for column in own},
        best=frozenset(_best(frame, own, known.of(metric).direction)),
    )


def _is_shown(frame: Frame, column: Column) -> bool:
    if any(key not in frame for key in column.keys):
        return False
    if column.form == "name" and column.keys[0] in ("model", "dataset", "draw"):
        return frame[column.keys[0]].nunique() > 1
    return column.form == "name" or bool(frame[column.keys[0]].notna().any())


def _with_unit(column: Column, metric: str, known: Metrics) -> str:
    heading = column.heading
    if column.form == "difference" and known.of(metric).is_logged:
        heading = heading.replace(" - ", " / ")
    unit = dict.fromkeys(("difference", "size"), formatting.difference_unit(metric, known))
    unit |= {"share": "%", "spread": formatting.unit(metric, known)}
    shown = unit.get(column.form)
    return f"{heading}, {shown}" if shown else heading


def _digits(frame: Frame, column: Column, metric: str, known: Metrics) -> int:
    if column.form in MARGIN:
        return formatting.decimals_for(metric, frame.get("sd", []), known)
    if column.form not in (*OF_DIFFERENCE, "spread"):
        return 0
    ends = [frame[key].map(lambda v: _shown(v, column.form, metric, known)) for key in column.keys]
    if len(ends) > 1:
        return formatting.difference_decimals((ends[-1] - ends[-2]) / 2)
    one = (
        1.0 if column.form == "size" and known.of(metric).is_logged else 0.0
    )  # what is no difference
    return formatting.difference_decimals(ends[0] - one)


def _shown(value: float, form: str, metric: str, known: Metrics) -> float:
    """Return `value` in the unit of its column."""
    if form in ("score", "sd", "change"):
        return formatting.scale(metric, known) * value
    if form in OF_DIFFERENCE:
        return formatting.difference(metric, value, known)
    if form == "spread":
        return formatting.spread(metric, value, known)
    return 100 * value if form == "share" else value


def _text(row: dict[Any, Any], column: Column, metric: str, digits: int, known: Metrics) -> str:
    if column.form in ("name", "word"):
        return " ".join(str(row[key]) for key in column.keys if row[key]) or NOTHING
    values = [float(row[key]) for key in column.keys]
    if math.isnan(values[0]):
        return NOTHING
    if column.form == "p":
        p = values[0]
        return f"<{SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
    if column.form == "count":
        ends = [f"{v:.0f}" if math.isfinite(v) else "many" for v in values]
        return ends[0] if len(ends) == 1 else f"{ends[0]} ({ends[1]}..{ends[2]})"
    if column.form == "plain":
        has_ends = len(values) == 3 and not any(map(math.isnan, values))
        shown = [f"{0.0 if abs(value) < SMALLEST else value:.3g}" for value in values]
        return f"{shown[0]} ({shown[1]}..{shown[2]})" if has_ends else shown[0]
    shown = [_shown(value, column.form, metric, known) for value in values]
    is_none = column.form == "spread" and shown[0] == 0
    if is_none or (column.form == "sd" and len(shown) == 1):
        return formatting.sd_text(shown[0], 2, digits)
    if len(shown) == 2:
        return "..".join(formatting.number(end, digits) for end in shown)
    low, high = shown[1:] or (math.nan, math.nan)
    is_signed = column.form == "change"
    is_signed |= column.form == "difference" and not known.of(metric).is_logged
    return formatting.with_interval(shown[0], low, high, digits, signed=is_signed)


def _best(frame: Frame, columns: Sequence[Column], direction: int) -> set[tuple[int, int]]:
    """Find the places of the best value of each column, among compressed models of one model."""
    found = set()
    kept = frame["method"] != DENSE if "method" in frame else frame.index == frame.index
    models = frame["model"].fillna("") if "model" in frame else frame.index.map(lambda _: "")
    for c, column in enumerate(columns):
        sign = column.better if column.better != 0 else direction
        if not sign:
            continue
        for model in dict.fromkeys(models):
            own = frame[column.keys[0]][kept & (models == model)]
            best = (sign * own).max() if len(own) > 1 else math.nan
            found |= {(int(r), c) for r in own.index[sign * own == best]}
    return found
