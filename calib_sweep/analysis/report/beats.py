"""Sentences on which method does better, and on what: these datasets, some of them, or a new one.

Every claim is a row of claims.csv that has a winner; what has none is said to be open, with its
interval, or to be equal where a test of equivalence says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calib_sweep.analysis import formatting
from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.claimed import (
    BEATS,
    DOES_BETTER,
    Claim,
    Tables,
    claims_of,
    in_order,
    margin_of,
)
from calib_sweep.analysis.tables.comparisons import UNPAIRED

MAX_TURNS = 6  # leads that change sides are told one by one
MAX_PAIRS = 3  # of methods: more are told in order, not one by one
TWO_SAMPLES = ", of draws that they do not share"
KINDS = ("methods", "methods_on", "new_dataset", "equivalence")


@dataclass(frozen=True)
class Pair:
    """All that is known of two methods: rows of claims.csv by kind and metric."""

    claims: Mapping[tuple[str, str], Sequence[Claim]]
    margins: Mapping[str, str]  # within which the two are equal, by metric
    datasets: Mapping[str, Sequence[str]]  # that are in the mean, by metric
    is_unpaired: bool
    lost: Mapping[str, float]  # diverged draws that were left out, by metric
    words: Mapping[str, str]

    def of(self, kind: str) -> dict[str, Claim]:
        """Return the rows of one kind by metric, in the order of the metrics."""
        return {m: self.claims[kind, m][0] for m in self.words if (kind, m) in self.claims}

    def where(self, metric: str) -> str:
        """Return on what they were compared."""
        return where(self.datasets.get(metric, ())) + (TWO_SAMPLES if self.is_unpaired else "")


def where(datasets: Sequence[str]) -> str:
    if len(datasets) > 1:
        return f"on these {len(datasets)} datasets on average"
    return f"on {datasets[0]}" if datasets else "on all draws"


def sentences(
    tables: Tables, model: str, words: Mapping[str, str], known: Metrics = OURS
) -> Iterator[str]:
    """Say which method does better, pair by pair, or all in order where there are many."""
    pairs = pairs_of(tables, model, words, known)
    if len(pairs) <= MAX_PAIRS:
        for pair in pairs:
            yield " ".join(_of_pair(pair))
        return
    for kind, place in (("methods", ""), ("new_dataset", "for a new dataset")):
        for metric, word in words.items():
            told = [(pair.of(kind)[metric], pair) for pair in pairs if metric in pair.of(kind)]
            tested = [(c, p) for c, p in told if c.is_made or (c.is_open and not c.reason)]
            if tested:
                on = place or _where_all([pair for _, pair in tested], metric)
                yield f"In {word}, {on}: {in_order([claim for claim, _ in tested], BEATS)}."
            if kind == "methods":
                yield from _lost([claim for claim, _ in told], word)
                yield from _turned(told, word)


def _where_all(pairs: Sequence[Pair], metric: str) -> str:
    """Return on what many pairs were compared; with cells missing, each on datasets of its own."""
    places = list(dict.fromkeys(pair.where(metric) for pair in pairs))
    if len(places) == 1:
        return places[0]
    some = ", some of draws that they do not share" if any(p.is_unpaired for p in pairs) else ""
    return f"each two on the datasets that both have{some}"


def _is_lost(claim: Claim) -> bool:
    """Tell whether the first is ahead only without its diverged draws."""
    return not claim.is_made and claim.is_open and "diverged" in claim.reason


def _lost(claims: Sequence[Claim], word: str) -> Iterator[str]:
    """Name those that are ahead of others only without their diverged draws."""
    behind: dict[str, list[str]] = {}
    for claim in filter(_is_lost, claims):
        behind.setdefault(claim.first, []).append(claim.second)
    for first, others in behind.items():
        yield (
            f"In {word} {first}, ahead of {formatting.listed(others)} without its diverged draws, "
            "is not called better."
        )


def _turned(told: Sequence[tuple[Claim, Pair]], word: str) -> Iterator[str]:
    """Name the pairs whose lead is claimed to change sides from one dataset to another."""
    turns: list[str] = []
    for claim, pair in told:
        ahead = _ahead_on_some(claim, pair)
        if ahead and (claim.is_made or len(ahead) > 1):
            turns += ahead
    rest = [f"{len(turns) - MAX_TURNS} more in tables/claims.csv"] if len(turns) > MAX_TURNS else []
    if turns:
        yield f"In {word}, on single datasets: {'; '.join([*turns[:MAX_TURNS], *rest])}."


def pairs_of(tables: Tables, model: str, words: Mapping[str, str], known: Metrics) -> list[Pair]:
    """Return the pairs of methods of one model, in the order of the table."""
    found: dict[frozenset[str], dict[tuple[str, str], list[Claim]]] = {}
    for kind in KINDS:
        for claim in claims_of(tables, kind, model, known):
            if claim.metric in words and claim.first:
                own = found.setdefault(claim.pair, {})
                own.setdefault((kind, claim.metric), []).append(claim)
    return [_pair(tables, model, pair, claims, words) for pair, claims in found.items()]


def _pair(
    tables: Tables,
    model: str,
    pair: frozenset[str],
    claims: Mapping[tuple[str, str], Sequence[Claim]],
    words: Mapping[str, str],
) -> Pair:
    compared = tables["comparisons"]
    own = compared[(compared["model"] == model) & (compared["kind"] == "method")]
    own = own[own["a"].isin(pair) & own["b"].isin(pair)]
    rows: list[dict[str, Any]] = own[own["dataset"] == ""].to_dict("records")
    lost = {row["metric"]: row.get("lost_a", 0) + row.get("lost_b", 0) for row in rows}
    margins = {
        metric: margin_of(tables, of[0])
        for (kind, metric), of in claims.items()
        if kind == KINDS[3]
    }
    datasets: dict[str, list[str]] = {}
    for row in own[own["dataset"] != ""].to_dict("records"):
        least = MIN_DRAWS if row.get("design") == UNPAIRED else 1
        if row.get("n_pairs", MIN_DRAWS) >= least:
            datasets.setdefault(row["metric"], []).append(row["dataset"])
    is_unpaired = any(row.get("design") == UNPAIRED for row in rows)
    return Pair(claims, margins, datasets, is_unpaired, lost, words)


def _of_pair(pair: Pair) -> Iterator[str]:
    """Say all that is known of two methods, in all metrics."""
    own, new = pair.of("methods"), pair.of("new_dataset")
    for winner in dict.fromkeys(c.first for c in own.values() if c.is_made):
        made = [c for c in own.values() if c.is_made and c.first == winner]
        for place in dict.fromkeys(pair.where(c.metric) for c in made):
            yield _beats([c for c in made if pair.where(c.metric) == place], pair)
    for metric, claim in own.items():
        is_tested = claim.is_made or claim.is_open
        another = new.get(metric)
        if not is_tested and another is not None and (another.is_made or another.is_open):
            yield _new_alone(another, pair)
        elif not claim.is_made:
            yield _open(claim, pair)
        yield from _on_some(claim, pair)


def _beats(made: Sequence[Claim], pair: Pair) -> str:
    where_made = pair.where(made[0].metric)
    text = f"{made[0].first} beats {made[0].second} {where_made}: {_sizes(made, pair)}"
    new = [pair.of("new_dataset")[c.metric] for c in made if c.metric in pair.of("new_dataset")]
    shown = [c for c in new if c.is_made and c.first == made[0].first]
    missing = [c for c in new if c not in shown and c.is_open]
    parts = [f"{c.span} in {pair.words[c.metric]}" for c in shown]
    parts += [f"not shown in {pair.words[c.metric]} ({c.span})" for c in missing]
    return f"{text}; for a new dataset 95 %: {formatting.listed(parts)}." if parts else f"{text}."


def _sizes(claims: Sequence[Claim], pair: Pair) -> str:
    """Say sizes with intervals: 'x0.47 in perplexity (95 % 0.41..0.53) and 10.8 points in ...'."""
    told = []
    for claim in claims:
        size, ends = claim.amount
        level = "" if told else "95 % "
        told.append(f"{size} in {pair.words[claim.metric]} ({level}{ends}{_left_out(claim, pair)})")
    return formatting.listed(told)


def _left_out(claim: Claim, pair: Pair) -> str:
    """Say how many diverged draws have no part in a difference."""
    num = pair.lost.get(claim.metric, 0)
    return f", without {num:.0f} diverged {'draw' if num == 1 else 'draws'}" if num > 0 else ""


def _new_alone(claim: Claim, pair: Pair) -> str:
    """Say what datasets show together where none has draws enough to show anything by itself."""
    size, ends = claim.amount
    word = pair.words[claim.metric]
    if claim.is_made:
        return (
            f"{claim.first} beats {claim.second} for a new dataset: {size} in {word} (95 % {ends})."
        )
    two = f"{claim.first} and {claim.second}"
    apart = f"In {word} {two} cannot be told apart for a new dataset"
    if claim.lo * claim.hi > 0:
        return f"{apart}, corrected for all that was compared (by itself {claim.within})."
    return f"{apart} ({claim.within})."


def _open(claim: Claim, pair: Pair) -> str:
    """Say that nothing is claimed of a pair in one metric, and why."""
    two, word = f"{claim.first} and {claim.second}", pair.words[claim.metric]
    equal = pair.of("equivalence").get(claim.metric)
    within = f"{claim.within}{_left_out(claim, pair)}"
    if equal is not None and equal.is_made:
        margin = f"{pair.margins[claim.metric]} {pair.where(claim.metric)}"
        return f"In {word} {two} are equal within {margin} ({within})."
    apart = f"In {word} {two} cannot be told apart {pair.where(claim.metric)}"
    if claim.reason.startswith("equal"):
        return f"In {word} {two} are {claim.reason}."
    if claim.is_open and claim.reason:
        neither = f"neither {claim.first} nor {claim.second} is called better"
        return f"In {word} {neither}: {claim.reason} ({within})."
    if claim.is_open and claim.lo == claim.hi:
        size, _ = claim.amount
        return f"{apart}: {size} without any spread, but of too few draws."
    if claim.is_open and claim.lo * claim.hi > 0:
        return f"{apart}, corrected for all that was compared (by itself {within})."
    if claim.is_open:
        return f"{apart} ({within})."
    return f"In {word} nothing can be said of {two}: {claim.reason or 'no interval'}."


def _on_some(claim: Claim, pair: Pair) -> Iterator[str]:
    """Name the datasets on which a method is ahead where it is not on average."""
    if told := _ahead_on_some(claim, pair):
        yield f"In {pair.words[claim.metric]} {'; '.join(told)}."


def _ahead_on_some(claim: Claim, pair: Pair) -> list[str]:
    """Return the same as parts of a sentence: 'a beats b on c4 and wiki'."""
    ahead: dict[str, list[Claim]] = {}
    for one in pair.claims.get(("methods_on", claim.metric), []):
        if one.is_made:
            ahead.setdefault(one.first, []).append(one)
    if claim.is_made:
        ahead.pop(claim.first, None)
    told = []
    for first, own in ahead.items():
        (second,) = own[0].pair - {first}
        told.append(f"{first} beats {second} on {formatting.listed([c.dataset for c in own])}")
    return told


def of_datasets(
    tables: Tables, model: str, words: Mapping[str, str], known: Metrics = OURS
) -> Iterator[str]:
    """Say for each method which calibration datasets do better than which."""
    found = claims_of(tables, "datasets", model, known)
    own = [c for c in found if c.is_made or (c.is_open and not c.reason)]
    for metric, word in words.items():
        of_metric = [claim for claim in own if claim.metric == metric]
        for method in dict.fromkeys(claim.method for claim in of_metric):
            alike = [claim for claim in of_metric if claim.method == method]
            yield f"{formatting.capitalised(word)} of {method}: {in_order(alike, DOES_BETTER)}."
