"""The means over corpora and over tasks of a cell, for records from elsewhere that have none.

    ppl/geomean    as `results.means` makes it
    acc/mean       mean over the T tasks of acc, or acc_norm of a task that has no acc
                   stderr: sqrt(sum stderr^2) / T

Standard errors are over items, of which tasks share none.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.results.means import ACC_MEAN, PPL_MEAN, geometric_mean, geometric_stderr


def with_means(scores: Mapping[str, float | None]) -> dict[str, float]:
    """Return `scores` as floats, with both means."""
    values = {metric: as_number(value) for metric, value in scores.items()}
    ppl_C = np.array([value for metric, value in values.items() if is_corpus_perplexity(metric)])
    acc_T = np.array([values[metric] for metric in task_accuracies(values)])
    if ppl_C.size and PPL_MEAN not in values:
        values[PPL_MEAN] = geometric_mean(ppl_C)
    if acc_T.size and ACC_MEAN not in values:
        values[ACC_MEAN] = float(np.mean(acc_T))
    return values


def unlike_tasks(cells: Iterable[ReadCell]) -> set[str]:
    """Find models whose done cells without acc/mean were not scored on the same tasks.

    Means over other tasks are no scores to compare, so none are made for them.
    """
    seen: dict[str, set[frozenset[str]]] = {}
    for record in cells:
        tasks = frozenset(task_accuracies(record["scores"]))
        if record["status"] == "done" and tasks and ACC_MEAN not in record["scores"]:
            seen.setdefault(record["cell"]["model"], set()).add(tasks)
    return {model for model, found in seen.items() if len(found) > 1}


def stderr_with_means(
    stderr: Mapping[str, float | None], values: Mapping[str, float]
) -> dict[str, float]:
    """Return the standard error of each of `values`; NaN where it is not known."""
    known = {metric: as_number(stderr.get(metric)) for metric in values}
    corpora = [metric for metric in values if is_corpus_perplexity(metric)]
    if corpora and np.isnan(known[PPL_MEAN]):
        ppl_C, stderr_C = (np.array([of[metric] for metric in corpora]) for of in (values, known))
        known[PPL_MEAN] = geometric_stderr(values[PPL_MEAN], ppl_C, stderr_C)
    tasks = task_accuracies(values)
    if tasks and np.isnan(known.get(ACC_MEAN, 0.0)):
        acc_T, stderr_T = (np.array([of[metric] for metric in tasks]) for of in (values, known))
        if np.isclose(np.mean(acc_T), values[ACC_MEAN], rtol=0, atol=1e-9):  # it is theirs
            known[ACC_MEAN] = float(np.sqrt(np.sum(stderr_T**2)) / len(tasks))
    return known


def task_accuracies(metrics: Iterable[str]) -> list[str]:
    """Return the accuracy of each task among `metrics`: its acc/, else its acc_norm/."""
    found = dict.fromkeys(metrics)
    plain = [m for m in found if m.startswith("acc/") and m != ACC_MEAN]
    names = {metric.partition("/")[2] for metric in plain}
    other = [m for m in found if m.startswith("acc_norm/") and m.partition("/")[2] not in names]
    return plain + other


def is_corpus_perplexity(metric: str) -> bool:
    """Tell whether `metric` is the perplexity of one corpus."""
    return metric.startswith("ppl/") and metric != PPL_MEAN


def as_number(value: float | None) -> float:
    return np.nan if value is None else float(value)
