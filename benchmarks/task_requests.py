"""Requests of the size of the ten tasks of Williams & Aletras: token lists without a meaning.

TASKS holds, for each, the items of the split that is scored, and the lengths that its requests have
with LLaMA's tokenizer and lm-eval's prompts, in round numbers. A length is drawn from a log-normal
distribution with this mean and SD, of at least one token.

A WinoGrande item asks for the same ending after two contexts that begin alike; all others ask for
several endings of one context.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from calib_sweep.evaluation.requests import Requests


@dataclass(frozen=True)
class Task:
    num_items: int
    num_choices: int
    context: tuple[float, float]  # tokens: mean, SD
    continuation: tuple[float, float]
    is_partial: bool = False  # the choice stands at the end of the context


TASKS = {
    "arc_challenge": Task(1172, 4, (30, 13), (6.0, 4.5)),
    "arc_easy": Task(2376, 4, (27, 11), (5.0, 3.5)),
    "boolq": Task(3270, 2, (150, 80), (1.0, 0.0)),
    "hellaswag": Task(10042, 4, (62, 30), (27, 13)),
    "lambada_openai": Task(5153, 1, (86, 17), (1.6, 0.8)),
    "openbookqa": Task(500, 4, (14, 7), (4.0, 3.0)),
    "piqa": Task(1838, 2, (18, 8), (24, 15)),
    "rte": Task(277, 2, (85, 35), (1.0, 0.0)),
    "storycloze": Task(1871, 2, (48, 8), (9.5, 2.5)),
    "winogrande": Task(1267, 2, (17, 4), (8.5, 3.5), is_partial=True),
}
CHOICE_TOKENS = 2  # of a name at the end of a WinoGrande context

Pair = tuple[list[int], list[int]]  # context, continuation


def requests_of(task: Task, share: float, vocab: int, seed: int) -> list[list[Pair]]:
    """Return the requests of each item, for the first `share` of the items."""
    generator = np.random.default_rng(seed)

    def tokens(number: int) -> list[int]:
        return generator.integers(3, vocab, number).tolist()

    num_items = max(1, round(task.num_items * share))
    contexts = _lengths(task.context, num_items, generator)
    continuations = _lengths(task.continuation, (num_items, task.num_choices), generator)
    items = []
    for length, own in zip(contexts, continuations, strict=True):
        begin = [1, *tokens(length)]  # a BOS first
        if task.is_partial:
            end = tokens(own[0])
            items.append([(begin + tokens(CHOICE_TOKENS), end) for _ in own])
        else:
            items.append([(begin, tokens(number)) for number in own])
    return items


def all_requests(share: float, vocab: int, seed: int = 0) -> Iterator[tuple[str, list[list[Pair]]]]:
    """Yield each task's name and its items."""
    for number, (name, task) in enumerate(TASKS.items()):
        yield name, requests_of(task, share, vocab, seed + number)


def _lengths(
    moments: tuple[float, float], shape: int | tuple[int, int], generator: np.random.Generator
) -> np.ndarray:
    mean, sd = moments
    variance = np.log1p((sd / mean) ** 2)
    drawn = generator.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), shape)
    return np.maximum(1, np.rint(drawn)).astype(int)


def num_packed(requests: Requests) -> int:
    """Count the tokens of a tree per item: what requests have in common stands once."""
    total = 0
    for documents in requests.items.values():
        for indices in documents:
            inputs = {tuple((requests[i].context + requests[i].continuation)[:-1]) for i in indices}
            first, last = min(inputs), max(inputs)
            shared = next(
                (k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
            )
            total += shared + sum(len(one) - shared for one in inputs)
    return total
