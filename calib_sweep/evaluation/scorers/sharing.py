"""Batches shared by the ranks of a cell: each asks the model some of them, all get every answer.

A batch goes through the model whole, on one rank, and holds what it holds on one rank alone. So no
number of ranks moves the last digit of an answer. Batches of requests and prompts differ in cost
and are dealt out; those of windows, which do not, are shared in runs (`forward.log_probs`).

Shapes: P positions.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from calib_sweep.ranks import Ranks

T = TypeVar("T")


def dealt(costs: Sequence[float], ranks: Ranks) -> list[int]:
    """Return which of the batches that cost so much are this rank's, in order.

    The dearest goes first, each to the rank that has least to do (Graham 1969: at most 4/3 of the
    best).
    """
    load = [0.0] * ranks.count
    own: list[int] = []
    for number in sorted(range(len(costs)), key=lambda one: -costs[one]):  # stable
        rank = load.index(min(load))
        load[rank] += costs[number]
        if rank == ranks.index:
            own.append(number)
    return sorted(own)


def of_all(ranks: Ranks, own: Sequence[int], answers: Sequence[T]) -> list[T]:
    """Return the answers to the batches of all ranks, in order; `answers`: to this rank's own."""
    found = ranks.gathered(list(zip(own, answers, strict=True)))
    return [answer for _, answer in sorted(found, key=lambda one: one[0])]


def fill(ranks: Ranks, own: Sequence[slice], *values_P: np.ndarray) -> None:
    """Write what the other ranks have found into the values; `own`: the positions found here.

    They follow each other. Values may be of the first positions alone.
    """
    runs = [slice(own[0].start, own[-1].stop)] if own else []
    found = [(run, [value_P[run] for value_P in values_P]) for run in runs]
    for run, others in ranks.gathered(found):
        for value_P, other in zip(values_P, others, strict=True):
            value_P[run] = other
