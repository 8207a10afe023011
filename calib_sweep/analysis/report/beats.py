"""Sentences on which method does better, and on what: these datasets, some of them, or a new one.

Every claim is a row of claims.csv that has a winner; what has none is said to be open, with its
interval, or to be equal where a test of equivalence says so.
"""

from collections.abc import Iterator, Mapping, Sequence

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.claimed import (
    BEATS,
    DOES_BETTER,
    Claim,
    Tables,
    claims_of,
    in_order,
)

MAX_PAIRS = 3  # of methods: more are told in order, not one by one
Found = Mapping[str, Mapping[tuple[frozenset[str], str], Sequence[Claim]]]  # kind -> pair, metric


def sentences(
    tables: Tables, model: str, words: Mapping[str, str], known: Metrics = OURS
) -> Iterator[str]:
    """Say which method does better, pair by pair, or all in order where there are many."""
    found = _found(tables, model, words, known)
    pairs = list(dict.fromkeys(pair for pair, _ in found["methods"]))
    if not pairs:
        return
    if len(pairs) <= MAX_PAIRS:
        for pair in pairs:
            yield _of_pair(pair, found, words, datasets_of(tables["comparisons"], model, pair))
        return
    for metric, word in words.items():
        own = [c for (_, of), [c] in found["methods"].items() if of == metric]
        tested = [claim for claim in own if claim.is_made or claim.is_open]
        if tested:
            met = {d for c in tested for d in datasets_of(tables["comparisons"], model, c.pair)}
            yield f"In {word}, {_where(sorted(met))}: {in_order(tested, BEATS)}."


def of_datasets(
    tables: Tables, model: str, words: Mapping[str, str], known: Metrics = OURS
) -> Iterator[str]:
    """Say for each method which calibration datasets do better than which."""
    own = [c for c in claims_of(tables, "datasets", model, known) if c.is_made or c.is_open]
    for metric, word in words.items():
        of_metric = [claim for claim in own if claim.metric == metric]
        for method in dict.fromkeys(claim.method for claim in of_metric):
            alike = [claim for claim in of_metric if claim.method == method]
            yield f"{word.capitalize()} of {method}: {in_order(alike, DOES_BETTER)}."


def _found(tables: Tables, model: str, words: Mapping[str, str], known: Metrics) -> Found:
    found: dict[str, dict[tuple[frozenset[str], str], list[Claim]]] = {}
    for kind in ("methods", "methods_on", "new_dataset", "equivalence"):
        own = found.setdefault(kind, {})
        for claim in claims_of(tables, kind, model, known):
            if claim.metric in words:
                own.setdefault((claim.pair, claim.metric), []).append(claim)
    return found


def datasets_of(comparisons: Frame, model: str, pair: frozenset[str]) -> list[str]:
    """Return the datasets on which both methods of a pair were seen."""
    own = comparisons[(comparisons["model"] == model) & (comparisons["kind"] == "method")]
    own = own[own["a"].isin(pair) & own["b"].isin(pair) & (own["dataset"] != "")]
    return list(dict.fromkeys(own["dataset"]))


def _where(datasets: Sequence[str]) -> str:
    return (
        f"on these {len(datasets)} datasets on average"
        if len(datasets) > 1
        else (f"on {datasets[0]}" if datasets else "on all draws")
    )


def _of_pair(
    pair: frozenset[str], found: Found, words: Mapping[str, str], datasets: Sequence[str]
) -> str:
    """Say all that is known of two methods, in all metrics."""
    own = {m: found["methods"][pair, m][0] for m in words if (pair, m) in found["methods"]}
    told: list[str] = []
    for winner in dict.fromkeys(c.first for c in own.values() if c.is_made):
        made = {m: c for m, c in own.items() if c.is_made and c.first == winner}
        told.append(_beats(made, found, words, datasets))
    for metric, claim in own.items():
        if not claim.is_made:
            equal = found["equivalence"].get((pair, metric), [])
            told.append(_open(claim, equal, words[metric]))
        told += _on_some(claim, found["methods_on"].get((pair, metric), []), words[metric])
    return " ".join(told)


def _beats(
    made: Mapping[str, Claim], found: Found, words: Mapping[str, str], datasets: Sequence[str]
) -> str:
    first = next(iter(made.values()))
    sizes = _sizes(list(made.values()), words)
    text = f"{first.first} beats {first.second} {_where(datasets)}: {sizes}"
    if len(datasets) < 2:
        return f"{text}."
    new = [c for m in made for c in found["new_dataset"].get((first.pair, m), [])]
    shown = [c for c in new if c.is_made and c.first == first.first]
    missing = [c for c in new if c not in shown and c.is_open]
    parts = [_sizes(shown, words)] if shown else []
    parts += [f"not shown in {words[c.metric]} ({c.within})" for c in missing]
    return f"{text}; for a new dataset: {formatting.listed(parts)}." if parts else f"{text}."


def _sizes(claims: Sequence[Claim], words: Mapping[str, str]) -> str:
    """Say sizes with intervals: 'x0.47 in perplexity (95 % 0.41..0.53) and 10.8 points in ...'."""
    told = []
    for claim in claims:
        size, ends = claim.amount
        level = "" if told else "95 % "
        told.append(f"{size} in {words[claim.metric]} ({level}{ends})")
    return formatting.listed(told)


def _open(claim: Claim, equal: Sequence[Claim], word: str) -> str:
    """Say that nothing is claimed of a pair in one metric, and why."""
    two = f"{claim.first} and {claim.second}"
    if any(one.is_made for one in equal):
        return f"In {word} {two} are equal within the limits asked for ({claim.within})."
    if claim.is_open and claim.lo * claim.hi > 0:
        return (
            f"In {word} {two} cannot be told apart, corrected for all that was compared (by "
            f"itself {claim.within})."
        )
    if claim.is_open:
        return f"In {word} {two} cannot be told apart ({claim.within})."
    if claim.reason.startswith("equal"):
        return f"In {word} {two} are {claim.reason}."
    return f"In {word} nothing can be said of {two}: {claim.reason or 'no interval'}."


def _on_some(claim: Claim, each: Sequence[Claim], word: str) -> Iterator[str]:
    """Name the datasets on which a method is ahead where it is not on average."""
    ahead: dict[str, list[Claim]] = {}
    for one in each:
        if one.is_made:
            ahead.setdefault(one.first, []).append(one)
    if claim.is_made:
        ahead.pop(claim.first, None)
    told = []
    for first, own in ahead.items():
        (second,) = own[0].pair - {first}
        told.append(f"{first} beats {second} on {formatting.listed([c.dataset for c in own])}")
    if told:
        yield f"In {word} {'; '.join(told)}."
