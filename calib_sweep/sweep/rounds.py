"""The rule of hydra/sweeper=adaptive: which seeds make a round, which contrasts have to be known.

A contrast is two methods on all datasets that both were given, of one model. An arm is a method
with the settings that tell it from another of the same name.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from calib_sweep.analysis.inference.sequential import MIN_FIRST
from calib_sweep.analysis.metrics import HEADLINES, kind_of
from calib_sweep.analysis.scores.names import part_of
from calib_sweep.cell import Cell
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.settings import settings_text
from calib_sweep.values import is_int, is_number
from calib_sweep.wording import counted

Names = Sequence[str] | Sequence[Sequence[str]] | None
Pair = tuple["Arm", "Arm"]

KEY = "hydra.sweeper"
KINDS = tuple(kind_of(metric) for metric in HEADLINES)  # ppl, acc


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a sweep that adds seeds stops: every contrast is shown or narrow, or no seed is left."""

    min_seeds: int  # before the first look
    round: int  # seeds between two looks
    width: float | Mapping[str, float]  # half-width: 0.01 is 1 point of accuracy, 1 % of perplexity
    contrasts: Names  # None: all pairs of methods

    def __post_init__(self) -> None:
        kinds = "{" + ", ".join(f"{kind}: 0.01" for kind in KINDS) + "}"
        with collected() as problems:
            for name, is_good, expected, example in (
                (
                    *("min_seeds", is_int(self.min_seeds, MIN_FIRST)),
                    *(f"an integer >= {MIN_FIRST}", "min_seeds=5"),
                ),
                ("round", is_int(self.round, 1), "an integer >= 1", "round=1"),
                (
                    *("width", _is_width(self.width)),
                    "a half-width between 0 and 1 (0.01 is 1 point of accuracy, 1 % of "
                    f"perplexity), or one for each of {' and '.join(KINDS)}",
                    f"width={kinds}",
                ),
                (
                    *("contrasts", are_names(self.contrasts)),
                    "methods of the grid, each against each, or pairs of them",
                    "contrasts=[wanda,sparsegpt]",
                ),
            ):
                value, remedy = getattr(self, name), f"Example: '{KEY}.{example}'."
                problems.of(require, is_good, f"{KEY}.{name}", value, expected, remedy)

    def rounds(self, seeds: Sequence[int]) -> Iterator[Sequence[int]]:
        """Split `seeds` into rounds, in the order typed."""
        yield seeds[: self.min_seeds]
        for start in range(self.min_seeds, len(seeds), self.round):
            yield seeds[start : start + self.round]

    def width_of(self, metric: str) -> float | None:
        """Return the half-width asked for of a difference in `metric`; None: it may be any."""
        if isinstance(self.width, Mapping):
            return self.width.get(kind_of(metric))
        return self.width


def _is_width(value: object) -> bool:
    values = list(value.values()) if isinstance(value, Mapping) else [value]
    are_known = not isinstance(value, Mapping) or set(value) <= set(KINDS)
    return bool(values) and are_known and all(is_number(v) and 0 < v < 1 for v in values)


def are_names(value: object) -> bool:
    """Tell whether `value` can be contrasts: null, methods, or pairs of them."""
    if value is None:
        return True
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    if all(isinstance(name, str) for name in value):
        return len(set(value)) == len(value) >= 2
    return all(
        isinstance(pair, Sequence)
        and not isinstance(pair, str)
        and len(pair) == 2
        and pair[0] != pair[1]
        and all(isinstance(name, str) for name in pair)
        for pair in value
    )


def require_seeds(seeds: Sequence[object], min_seeds: object) -> None:
    """Raise `ConfigError` unless `seeds`, all that may be used, suffice for a first look."""
    if is_int(min_seeds) and len(seeds) < min_seeds:
        raise ConfigError(
            f"seed: expected at least {KEY}.min_seeds={min_seeds} different seeds, of which as "
            f"many are used as are needed, and there {'is' if len(seeds) == 1 else 'are'} "
            f"{len(seeds)}. Example: 'seed=range(20)'."
        )


@dataclass(frozen=True)
class Arm:
    """A method with the settings that tell it from others, on one model."""

    model: str
    method: str
    settings: str  # of the method and its walk
    draw: str | None  # settings of its calibration sets; None: it reads no data

    @property
    def label(self) -> str:
        return " ".join(part for part in (self.method, self.settings, self.draw) if part)


@dataclass(frozen=True)
class Contrast:
    """Two arms that are compared on the same calibration sets."""

    a: Arm
    b: Arm
    datasets: tuple[str, ...]  # that both were given; a seed counts with scores on all of them


def arm_of(cell: Cell) -> tuple[Arm, str | None]:
    """Return the arm that a cell belongs to, and its dataset with the settings that tell it."""
    own: dict[str, dict[str, object]] = {}
    for name in sorted(cell.settings.keys() & set(cell.shown)):
        own.setdefault(part_of(name), {})[name.rpartition(".")[2]] = cell.settings[name]
    text = {part: settings_text(settings) for part, settings in own.items()}
    draw = text.get("draw", "") if cell.needs_data else None
    model = f"{cell.model} {text.get('model', '')}".rstrip()
    dataset = f"{cell.dataset} {text.get('dataset', '')}".rstrip() if cell.needs_data else None
    return Arm(model, cell.method, text.get("method", ""), draw), dataset


def contrasts_of(cells: Iterable[Cell], wanted: Names) -> list[Contrast]:
    """Return the contrasts among `cells`; `ConfigError` for names that none of them has."""
    given: dict[Arm, set[str]] = {}
    for arm, dataset in map(arm_of, cells):
        given.setdefault(arm, set()).update([] if dataset is None else [dataset])
    arms = sorted(given, key=lambda arm: (arm.model, arm.label))
    if wanted is None:
        pairs = combinations([arm for arm in arms if arm.method != "dense"], 2)
    else:
        pairs = _named(wanted, arms)
    found = []
    for a, b in dict.fromkeys(pairs):
        reading = [given[arm] for arm in (a, b) if arm.draw is not None]
        datasets = set.intersection(*reading) if reading else set()
        if _meet(a, b) and datasets:
            found.append(Contrast(a, b, tuple(sorted(datasets))))
    if not found:
        raise ConfigError(
            "method: expected two that meet on the same calibration sets, as seeds are added until "
            "their difference is known. Example: method=wanda,sparsegpt."
        )
    return found


def _named(wanted: Sequence[str] | Sequence[Sequence[str]], arms: Sequence[Arm]) -> list[Pair]:
    """Return the pairs of arms that are named: each with each of a list, or pair by pair."""
    names = [name for name in wanted if isinstance(name, str)]
    pairs = [*combinations(names, 2), *((p[0], p[1]) for p in wanted if not isinstance(p, str))]
    known = {name for arm in arms for name in (arm.method, arm.label)}
    labels = ", ".join(sorted({arm.label for arm in arms}))
    with collected() as problems:
        for name in dict.fromkeys(name for pair in pairs for name in pair):
            expected, remedy = (
                f"a method of this grid: {labels}",
                f"Example: '{KEY}.contrasts=null'.",
            )
            problems.of(require, name in known, f"{KEY}.contrasts", name, expected, remedy)
    return [
        (a, b)
        for first, second in pairs
        for a in arms
        for b in arms
        if first in (a.method, a.label) and second in (b.method, b.label)
    ]


def _meet(a: Arm, b: Arm) -> bool:
    """Tell whether a seed gives both a score of the same set, and at least one of them varies."""
    reads = {arm.draw for arm in (a, b) if arm.draw is not None}
    return a != b and a.model == b.model and len(reads) == 1


def describe_bound(rule: Rule, num_seeds: int, contrasts: Sequence[Contrast]) -> str:
    """Say in one line how far the sweep may go, and what ends it."""
    every = "one" if rule.round == 1 else counted(rule.round, "seed")
    known = "1 contrast is" if len(contrasts) == 1 else f"{len(contrasts):,} contrasts are"
    if num_seeds == rule.min_seeds:
        return f"adaptive: no seed beyond the {num_seeds} before the first look. Type more of them"
    return (
        f"adaptive: at most the cells below. {rule.min_seeds} to {num_seeds} seeds, with a look "
        f"after {rule.min_seeds} and every {every} more, until {known} known"
    )
