"""The table of methods beside tasks, for a paper: mean (SD) in percent, the best of a task bold."""

import math

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.report.document import Table
from calib_sweep.analysis.scores.table import DENSE
from calib_sweep.analysis.tables.tasks import NAMES, SD

MEANING = "mean over calibration seeds (SD over them), %"


def paper_table(frame: Frame) -> Table:
    """Return tasks.csv as a reader meets it; name columns that are all alike are left out."""
    shown = [name for name in NAMES[:3] if name == "method" or frame[name].nunique() > 1]
    tasks = [name for name in frame.columns if name not in NAMES and not name.endswith(SD)]
    digits = {task: formatting.decimals_for(task, frame[f"{task}{SD}"]) for task in tasks}
    records = frame.to_dict("records")
    rows = [
        [
            *(str(row[name]) or "-" for name in shown),
            *(_score(row[task], row[f"{task}{SD}"], task, digits[task]) for task in tasks),
            str(row["n"]),
        ]
        for row in records
    ]
    header = [*shown, *(task.partition("/")[2] for task in tasks), "n"]
    best = {(r, len(shown) + c) for c, task in enumerate(tasks) for r in _best(frame, task)}
    meanings = dict.fromkeys(header[len(shown) : -1], MEANING)
    return Table(header, rows, len(shown), meanings=meanings, best=frozenset(best))


def _score(mean: float, sd: float, task: str, digits: int) -> str:
    if math.isnan(mean):
        return "-"
    times = formatting.scale(task)
    text = formatting.number(times * mean, digits)
    return text if math.isnan(sd) else f"{text} ({formatting.sd_text(times * sd, 2, digits)})"


def _best(frame: Frame, task: str) -> list[int]:
    """Return the rows that have the largest mean of a task among compressed models of a model."""
    rows: list[int] = []
    for _, own in frame[frame["method"] != DENSE].groupby("model", sort=False):
        if own[task].notna().sum() > 1:
            rows += [int(row) for row in own.index[own[task] == own[task].max()]]
    return rows
