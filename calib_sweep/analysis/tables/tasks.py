"""Methods beside tasks: the accuracy of each task and their mean, over calibration seeds.

A task is scored by its acc, or its acc_norm where it has no acc, as in acc/mean.
"""

from collections.abc import Sequence

import pandas as pd

from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.means import ACC_MEAN, task_accuracies
from calib_sweep.analysis.scores.names import Naming

NAMES = ["model", "method", "dataset", "n"]
SD = " SD"  # after a metric: the column of its sample SD over seeds


def task_table(groups: Sequence[Group], naming: Naming) -> pd.DataFrame:
    """Return tasks.csv: a row per method and dataset, two columns per task; shares, as recorded."""
    metrics = {group.metric for group in groups}
    tasks = sorted(task_accuracies(sorted(metrics)))
    tasks += [ACC_MEAN] if tasks and ACC_MEAN in metrics else []
    rows: dict[object, dict[str, object]] = {}
    for group in groups:
        if group.metric in tasks:
            names, spread = naming.of(group), group.spread
            labels = (names.model, names.method, names.dataset or "", spread.n)
            row = rows.setdefault(group.label, dict(zip(NAMES, labels, strict=True)))
            row |= {group.metric: spread.mean, f"{group.metric}{SD}": spread.sd}
    columns = [*NAMES, *(name for task in tasks for name in (task, f"{task}{SD}"))]
    return pd.DataFrame(list(rows.values()), columns=pd.Index(columns))
