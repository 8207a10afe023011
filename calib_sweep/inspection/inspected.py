"""Everything that is told of calibration sets, as numbers: terminal and pages only lay it out.

Shapes: N samples.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.descriptors import describe_tokens, diversities, vocabulary_of
from calib_sweep.dataset.calibration.near_duplicates import near_duplicates, signatures
from calib_sweep.inspection.language import characters_of, language_of
from calib_sweep.inspection.samples import describe_samples
from calib_sweep.inspection.shared import (
    Pair,
    find_duplicates,
    share_of,
    shared_documents,
    window_hashes,
)
from calib_sweep.inspection.unusual import Unusual, find_unusual

Seen = Mapping[str, Mapping[str, float]]  # by corpus or task: `Overlap`
Held = Mapping[int, Sequence[str]]  # sample -> corpora and tasks that have most of it


@dataclass(frozen=True, eq=False, kw_only=True)
class Inspected:
    """A calibration set and what describes it."""

    name: str
    set: CalibrationSet
    described: Mapping[str, np.ndarray]  # of each sample [N], by descriptor
    numbers: Mapping[str, float | None]  # of the set, by descriptor
    languages: Mapping[str, int]  # samples, by language; most first
    characters: Mapping[str, float]
    unusual: Sequence[Unusual]
    duplicates: Sequence[Sequence[int]]  # groups of samples with the same tokens
    near: Sequence[Pair]  # samples that are nearly the same, equal ones left out
    seen: Seen  # what it shares with text that is scored


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What two sets have in common."""

    one: str
    other: str
    documents: int
    windows: tuple[float, float]  # share of the 50-token windows of `one` in `other`; and back
    near: int  # pairs of samples that are the same, or nearly


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Several sets, and what each two share."""

    sets: Sequence[Inspected]
    shared: Sequence[Shared] = field(default_factory=list)


def inspect_sets(
    sets: Mapping[str, CalibrationSet],
    perplexities: Mapping[str, np.ndarray] | None = None,
    seen: Mapping[str, Seen] | None = None,
    held: Mapping[str, Held] | None = None,
) -> Inspection:
    """Describe sets by name.

    `perplexities`: under the dense model, of each sample [N], by set; `seen` and `held`: by set.
    """
    perplexities, seen, held = perplexities or {}, seen or {}, held or {}
    inside, between = _near(sets)
    windows = {name: window_hashes(one) for name, one in sets.items()}
    return Inspection(
        sets=[
            _inspect(
                name, one, perplexities.get(name), inside[name], seen.get(name, {}), held.get(name)
            )
            for name, one in sets.items()
        ],
        shared=[
            Shared(
                one=a,
                other=b,
                documents=shared_documents(sets[a], sets[b]),
                windows=(share_of(windows[a], windows[b]), share_of(windows[b], windows[a])),
                near=between[a, b],
            )
            for a, b in combinations(sets, 2)
        ],
    )


def _near(
    sets: Mapping[str, CalibrationSet],
) -> tuple[dict[str, list[Pair]], Counter[tuple[str, str]]]:
    """Find near duplicates: the pairs inside each set, and their number between each two."""
    inside: dict[str, list[Pair]] = {name: [] for name in sets}
    between: Counter[tuple[str, str]] = Counter()
    if not sets:
        return inside, between
    own = [signatures(one.tokens_NT, one.lengths_N) for one in sets.values()]
    place = [(name, k) for name, one in sets.items() for k in range(len(one.tokens_NT))]
    for first, later, likeness in near_duplicates(np.concatenate(own)):
        (a, i), (b, j) = place[first], place[later]
        if a == b:
            inside[a].append(Pair(i, j, likeness))
        else:
            between[a, b] += 1
    return inside, between


def _inspect(
    name: str,
    one: CalibrationSet,
    perplexity_N: np.ndarray | None,
    near: list[Pair],
    seen: Seen,
    held: Held | None,
) -> Inspected:
    described = describe_samples(one)
    if perplexity_N is not None:
        described["perplexity"] = perplexity_N
    languages = [language_of(sample["text"]) for sample in one.samples]
    duplicates = find_duplicates(one)
    group = {sample: number for number, own in enumerate(duplicates) for sample in own}
    near = [p for p in near if p.one not in group or group[p.one] != group.get(p.other)]
    return Inspected(
        name=name,
        set=one,
        described=described,
        numbers=_numbers(one, perplexity_N),
        languages=dict(Counter(languages).most_common()),
        characters=characters_of([sample["text"] for sample in one.samples]),
        unusual=find_unusual(described, languages, duplicates, near, held),
        duplicates=duplicates,
        near=near,
        seen=seen,
    )


def _numbers(one: CalibrationSet, perplexity_N: np.ndarray | None) -> dict[str, float | None]:
    numbers = describe_tokens(one.tokens_NT, one.lengths_N, vocabulary_of(one.card))
    for width, value in enumerate(diversities(one.tokens_NT, one.lengths_N), 1):
        numbers[f"diversity {width}"] = value
    if perplexity_N is not None:
        # Of all tokens: a sample counts by those that have a context.
        weight_N = np.maximum(one.ends_N - 1, 0)
        is_told_N = np.isfinite(perplexity_N) & (weight_N > 0)
        if is_told_N.any():
            nll = np.average(np.log(perplexity_N[is_told_N]), weights=weight_N[is_told_N])
            numbers["dense_perplexity"] = float(np.exp(nll))
    return numbers
