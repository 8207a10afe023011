"""What guessing scores in a task: with it a model is said to be above chance, or not.

    several answers to choose from   acc, acc_norm, acc_bytes, acc_mutual_info: mean over items of
                                     right answers / answers
    one answer, likeliest or not     acc: 0. No word of a whole vocabulary is guessed (LAMBADA)
    a written answer                 0, unless it names one of several

Of other metrics, and where items are counted by code of the task's own, chance is not known.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.evaluation.tasks.definitions import GENERATED
from calib_sweep.evaluation.tasks.task_scores import by_item

if TYPE_CHECKING:
    from calib_sweep.evaluation.harness import Task

MUTUAL = "acc_mutual_info"  # asks for each answer twice: after the question, and by itself
OF_CHOICES = ("acc", "acc_norm", "acc_bytes", MUTUAL)


def chances(task: "Task") -> dict[str, float]:
    """Return the score of guessing in each metric of which it is known, without its filter."""
    from calib_sweep.evaluation.harness import counts_itself

    metrics = list(task.aggregation())
    if task.OUTPUT_TYPE == GENERATED:
        return {} if _offers_choices(task) else dict.fromkeys(metrics, 0.0)
    if counts_itself(task):
        return {}
    if task.OUTPUT_TYPE == "loglikelihood":
        return {"acc": 0.0}
    if task.OUTPUT_TYPE != "multiple_choice":
        return {}
    times = 2 if MUTUAL in metrics else 1
    items = [(len(own) // times, _num_right(task, own[0].doc)) for own in by_item(task.instances)]
    chance = float(np.mean([num_right / num for num, num_right in items])) if items else 0.0
    return {metric: chance for metric in metrics if metric in OF_CHOICES}


def _offers_choices(task: "Task") -> bool:
    """Tell whether a task lists answers, also where the answer is written."""
    own: Any = task
    return own.config.doc_to_choice is not None


def _num_right(task: "Task", doc: object) -> int:
    """Return how many of the answers to an item are right."""
    own: Any = task
    found = own.doc_to_target(doc) if own.multiple_target else None
    return len(set(found)) if isinstance(found, list) else 1
