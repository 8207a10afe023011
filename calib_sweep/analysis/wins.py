"""On how many calibration sets one method beats another: counts on paired cells, no inference.

Two cells are paired when they have the same model, dataset, settings and seed, hence the same
calibration set. A method that needs no data has one cell, which meets every cell of the other
method.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from calib_sweep.analysis.scores.groups import Group, direction
from calib_sweep.analysis.scores.table import OF_DATA, settings_text


@dataclass(frozen=True)
class Wins:
    """Of `n` paired cells the first method is better in `first`, the second in `second`."""

    first: int
    second: int
    n: int
    unit: str  # what the pairs differ in: seeds | calibration sets | cells

    @property
    def ties(self) -> int:
        return self.n - self.first - self.second


def count_wins(first_S: np.ndarray, second_S: np.ndarray, sign: int) -> tuple[int, int]:
    """How often the first is better, how often the second; sign +1: more is better, -1: less."""
    gain_S = sign * (first_S - second_S)
    return int(np.sum(gain_S > 0)), int(np.sum(gain_S < 0))


def compare_methods(groups: Iterable[Group], metric: str) -> dict[tuple[str, str, str], Wins]:
    """Wins in `metric` by (model, first method, second method), where two pairs or more exist."""
    by_method: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        if group.metric == metric and not group.is_dense:
            by_method.setdefault(group.model, {}).setdefault(group.method, []).append(group)
    found = {}
    for model, methods in by_method.items():
        for first, second in combinations(sorted(methods), 2):
            wins = _compare(methods[first], methods[second], direction(metric))
            if wins is not None:
                found[model, first, second] = wins
    return found


def _compare(first: list[Group], second: list[Group], sign: int) -> Wins | None:
    pairs = [pair for a, b in _meeting(first, second) for pair in _pair(a, b)]
    if len(pairs) < 2:
        return None
    value_S2 = np.array([values for _, values in pairs], dtype=float)
    if sign < 0:
        value_S2 = np.where(np.isnan(value_S2), np.inf, value_S2)  # no number is the worst
    datasets = {dataset for (dataset, _, _), _ in pairs}
    settings = {text for (_, text, _), _ in pairs}
    unit = "cells" if len(settings) > 1 else "calibration sets" if len(datasets) > 1 else "seeds"
    return Wins(*count_wins(value_S2[:, 0], value_S2[:, 1], sign), len(pairs), unit)


def _meeting(first: list[Group], second: list[Group]) -> Iterator[tuple[Group, Group]]:
    """Those of the two that may have calibration sets in common; without data, all."""
    places: dict[tuple[str | None, str], list[Group]] = {}
    for b in second:
        places.setdefault((b.dataset, b.label[3] if b.dataset else ""), []).append(b)
    for a in first:
        same = places.get((a.dataset, a.label[3]), [])
        for b in [*same, *places.get((None, ""), [])] if a.dataset else second:
            yield a, b


Pair = tuple[tuple[str | None, str, int | None], tuple[float, float]]  # where, the two values


def _pair(a: Group, b: Group) -> list[Pair]:
    """The values of two groups on the same calibration sets."""
    if a.dataset is None and b.dataset is None:
        return []
    if a.dataset is None or b.dataset is None:
        return _pair_without_data(a, b)
    if (a.dataset, a.label[3]) != (b.dataset, b.label[3]):
        return []
    other = dict(zip(b.seeds, b.value_S, strict=True))
    own = zip(a.seeds, a.value_S, strict=True)
    return [((a.dataset, a.label[3], s), (v, other[s])) for s, v in own if s in other]


def _pair_without_data(a: Group, b: Group) -> list[Pair]:
    drawn = b if a.dataset is None else a
    if _beside_data(a.settings) != _beside_data(b.settings):
        return []
    pairs = []
    for index, seed in enumerate(drawn.seeds):
        values = (
            (a.value_S[0], b.value_S[index]) if drawn is b else (a.value_S[index], b.value_S[0])
        )
        pairs.append(((drawn.dataset, drawn.label[3], seed), values))
    return pairs


def _beside_data(settings: Mapping[str, Any]) -> str:
    return settings_text({k: v for k, v in settings.items() if k.split(".")[0] not in OF_DATA})
