"""The scores of one task from the answers to its requests, as lm-eval's evaluator makes them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.evaluation.items import Table
from calib_sweep.evaluation.tasks.checks import require_headline
from calib_sweep.evaluation.tasks.definitions import metric_key
from calib_sweep.evaluation.tasks.written import Written

if TYPE_CHECKING:
    from calib_sweep.evaluation.harness import Instance, Task

Values = dict[str, list[object]]  # metric -> what lm-eval says of each item, in document order


@dataclass(frozen=True, eq=False)
class TaskScore:
    """One task on one model. Columns have one entry per item, in document order."""

    metrics: dict[str, float]  # as lm-eval names them
    stderr: dict[str, float]
    directions: dict[str, int]  # of those of which lm-eval knows: 1 more is better, -1 less is
    headline: str | None
    # Headline metric of each item, 0/1; [replicates, items] where answers are drawn more than once;
    # None where there is no headline.
    correct: np.ndarray | None
    rows: Table  # columns of the per-item table
    written: Written | None  # of its answers, where they are


def values_of(task: "Task") -> Values:
    """Apply the task's filters and metrics to the answers that its requests hold now."""
    task.apply_filters()
    values: Values = {}
    for instances in by_item(task.instances):
        for filter_name in instances[0].filtered_resps:
            responses = [instance.filtered_resps[filter_name] for instance in instances]
            for metric, value in task.process_results(instances[0].doc, responses).items():
                values.setdefault(metric_key(metric, filter_name), []).append(value)
    return values


def collect(
    task: "Task",
    name: str,
    headline: str | None,
    draws: Sequence[Values],
    columns: Table,
    written: Written | None,
) -> TaskScore:
    """Aggregate as lm-eval does; of several draws of the answers, the mean."""
    from calib_sweep.evaluation.harness import directions

    if headline is not None:
        binary = [key for key in draws[0] if all(i in (0, 1) for d in draws for i in d[key])]
        require_headline(name, headline, binary)
    choices = [_choice(task, instances) for instances in by_item(task.instances)]
    missing = [math.nan] * len(choices)

    def column(metric: str, otherwise: str | None = None) -> list:
        found: list[Any] = [d.get(metric, d[otherwise] if otherwise else missing) for d in draws]
        return found[0] if len(found) == 1 else np.mean(found, axis=0).tolist()

    rows: Table = {
        **columns,
        "item": list(range(len(choices))),
        "correct": column("acc", headline),
        "correct_norm": column("acc_norm"),
        "choice": choices,
    }
    correct = None
    if headline is not None:
        found = [d[headline] for d in draws]
        correct = np.asarray(found[0] if len(found) == 1 else found, dtype=np.float64)
    known = directions(task, draws[0])
    return TaskScore(*_aggregate(task, draws), known, headline, correct, rows, written)


def _aggregate(task: "Task", draws: Sequence[Values]) -> tuple[dict[str, float], dict[str, float]]:
    """Return lm-eval's aggregate of each metric and its error; of several draws the mean.

    Of several draws an error is given where lm-eval aggregates by the mean: that of the items'
    means, which holds what items differ by and what answers to one item do.
    """
    from calib_sweep.evaluation.harness import aggregate, is_mean

    if len(draws) == 1:
        return aggregate(task, draws[0])
    parts = [aggregate(task, values)[0] for values in draws]
    metrics = {key: sum(part[key] for part in parts) / len(parts) for key in parts[0]}
    means: Values = {
        key: np.mean([values[key] for values in draws], axis=0).tolist()  # pyright: ignore
        for key in draws[0]
        if is_mean(task, key)
    }
    return metrics, aggregate(task, means)[1]


def by_item(instances: "Sequence[Instance]") -> "Iterator[list[Instance]]":
    """Yield the requests of one document after the other."""
    found: dict[int | None, list[Instance]] = {}
    for instance in instances:
        found.setdefault(instance.doc_id, []).append(instance)
    for item in found.values():
        yield sorted(item, key=lambda instance: instance.idx)


def _choice(task: "Task", instances: "Sequence[Instance]") -> int | None:
    """The answer of highest log-likelihood; None where a task offers no choices."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return None
    num_choices = len(task.doc_to_choice(instances[0].doc))
    return int(np.argmax([instance.resps[0][0] for instance in instances[:num_choices]]))
