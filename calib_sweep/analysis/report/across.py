"""Two sweeps or more side by side: sentences and tables of across.csv.

A claim is a row with `is_shown`: corrected for all rows of the table, a family of its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.table_format import Column
from calib_sweep.analysis.tables.across import SAME_DRAWS

MAX_OPEN = 4  # contrasts that are open, told one by one
IN_ALL = "Of pairs of sweeps in which no difference differs, at most 5 % would show any."
NOTHING = "No contrast of the one can be told from that of the other."
CAPTION = "Each difference with its 95 % interval in every sweep."
READING = (
    "A and B are two methods; A is ahead in the first sweep. Their difference is taken in either "
    "sweep, and then the difference of the two: draw by draw where both sweeps used the same "
    "calibration sets ('same draws'), else as of independent samples."
)
SECOND = Column("second sweep", ("second",), "name", "with which the first one is compared")
COLUMNS = [
    Column("model", ("model",), "name", "the model that was compressed"),
    Column("A", ("a",), "name", "the one that is ahead in the first sweep"),
    Column("B", ("b",), "name", "the other"),
    Column("differ", ("claimed",), "name", "yes: the two differences differ, corrected; no: open"),
    Column("draws", ("design",), "name", "whether both used the same calibration sets"),
    Column(
        "A - B, first (95 %)",
        ("first_diff", "first_lo", "first_hi"),
        "difference",
        "on all draws of the first sweep; of perplexity the ratio A / B",
    ),
    Column(
        "A - B, second (95 %)",
        ("second_diff", "second_lo", "second_hi"),
        "difference",
        "on all draws of the second sweep",
    ),
    Column(
        "first - second (95 %)",
        ("difference", "lo", "hi"),
        "difference",
        "the difference of the two differences; of perplexity the ratio of the two; not corrected",
    ),
    Column("p, Holm", ("p_holm",), "p", "of the test of that, corrected for all rows"),
    Column("n, first", ("n_first",), "count", "draws of the first sweep"),
    Column("n, second", ("n_second",), "count", "draws of the second sweep"),
]
VALUES = ("first_diff", "second_diff", "difference")
ENDS = (("first_lo", "first_hi"), ("second_lo", "second_hi"), ("lo", "hi"))


def columns(table: Frame) -> list[Column]:
    """Return the columns of the table: which sweep is second only where there are several."""
    several = table["second"].nunique() > 1
    return [*COLUMNS[:3], *([SECOND] if several else []), *COLUMNS[3:]]


def ahead_first(table: Frame, known: Metrics = OURS) -> Frame:
    """Return the rows with the method that is ahead in the first sweep as A."""
    sign = np.array([known.of(metric).direction for metric in table["metric"]], dtype=float)
    turned = sign * table["first_diff"].to_numpy(float) < 0
    found = table.copy()
    for first, second in (("a", "b"), *ENDS):
        found[first] = np.where(turned, table[second], table[first])
        found[second] = np.where(turned, table[first], table[second])
    for name in (*VALUES, *sum(ENDS, ())):
        found[name] = np.where(turned, -1.0, 1.0) * found[name].to_numpy(float)
    shown = np.where(table["is_shown"].to_numpy(bool), "yes", "no")
    return found.assign(claimed=np.where(table["p_holm"].notna(), shown, table["reason"]))


def sentences(table: Frame, words: Mapping[str, str], known: Metrics = OURS) -> Iterator[str]:
    """Say which contrasts differ between sweeps, and which cannot be told apart."""
    rows = ahead_first(table, known).to_dict("records")
    several = table["model"].nunique() > 1
    shown = [row for row in rows if row["claimed"] == "yes"]
    for row in shown:
        yield _told(row, words, known, several=several)
    if not shown:
        yield NOTHING
    others = [row for row in rows if row["claimed"] == "no"]
    if shown and others:
        yield f"{len(others)} of {len(rows)} contrasts cannot be told apart: see the table."
    else:
        for row in others[:MAX_OPEN]:
            yield _told(row, words, known, several=several)
    for reason in dict.fromkeys(row["reason"] for row in rows if row["reason"]):
        own = [_named(row, words, known) for row in rows if row["reason"] == reason]
        yield f"Not tested, {reason}: {formatting.listed(list(dict.fromkeys(own)))}."
    if shown:
        yield IN_ALL


def _named(row: Mapping[str, Any], words: Mapping[str, str], known: Metrics) -> str:
    """Name a contrast."""
    sign = "/" if known.of(row["metric"]).is_logged else "-"
    return f"{row['a']} {sign} {row['b']} in {words[row['metric']]}"


def _told(
    row: Mapping[str, Any], words: Mapping[str, str], known: Metrics, *, several: bool
) -> str:
    metric = row["metric"]
    is_ratio = known.of(metric).is_logged
    amounts = [
        formatting.amount(metric, row[value], row[low], row[high], known)
        for value, (low, high) in zip(VALUES, ENDS, strict=True)
    ]
    of = f"{row['model']}: " if several else ""
    where = f"{of}{_named(row, words, known)} is {amounts[0][0]} in {row['first']}"
    both = f"{where} and {amounts[1][0]} in {row['second']}"
    size, ends = amounts[2]
    what = "ratio of the two" if is_ratio else "difference of the two"
    if row["claimed"] == "yes":
        return f"{both}. They differ: the {what} is {size} (95 % {ends})."
    unit = formatting.unit(metric, known)
    within = f"x{ends}" if is_ratio else f"{ends} {unit}".rstrip()
    is_apart = row["lo"] > 0 or row["hi"] < 0  # alone it is shown
    which = "which, corrected for all contrasts," if is_apart else "which"
    return f"{both}, {which} cannot be told apart ({what}: 95 % {within})."


def how(table: Frame) -> str:
    """Say how contrasts were compared."""
    same = int((table["design"] == SAME_DRAWS).sum())
    if same == len(table):
        return "The calibration sets are the same, so differences are compared draw by draw."
    if not same:
        return "The calibration sets are not the same, so they are compared as independent samples."
    return f"{same} of {len(table)} contrasts were made on the same calibration sets, draw by draw."
