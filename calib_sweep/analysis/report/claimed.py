"""Rows of claims.csv as a sentence needs them: the one ahead first, and what is known of it.

Nothing here decides anything: a claim is made where the table has a `winner`, nowhere else.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics

Tables = Mapping[str, Frame]

CLAIMS = "claims"
SPREAD = "spread"
MAX_WINNERS = 12  # whose pairs are told one by one, where there are many


@dataclass(frozen=True)
class Verb:
    """What a winner does, and several do."""

    of_one: str
    of_many: str


BEATS = Verb("beats", "beat")
DOES_BETTER = Verb("does better than", "do better than")
MOVES_FURTHER = Verb("moves further than", "move further than")


@dataclass(frozen=True)
class Claim:
    """What is known of two in one metric. The numbers are of `first` against `second`.

    `first` is the one that does better; of kind "spread" the one that moves further.
    """

    kind: str
    metric: str
    method: str
    first: str
    second: str
    dataset: str
    estimate: float
    lo: float
    hi: float
    is_made: bool
    reason: str
    known: Metrics

    @classmethod
    def of(cls, row: Mapping[str, Any], known: Metrics = OURS) -> "Claim":
        """Read a row of claims.csv, the one that is ahead first (of spreads: that moves more)."""
        is_spread = row["kind"] == SPREAD
        sign = 1 if is_spread else known.of(row["metric"]).direction
        a, b, winner = str(row["a"]), str(row["b"]), _text(row["winner"])
        numbers = [float(row[key]) for key in ("estimate", "lo", "hi")]
        is_a_first = not a or not sign * numbers[0] < 0  # also where nothing is known
        if winner in (a, b):
            is_a_first = (winner == a) != is_spread  # the winner is the one that moves less
        if not is_a_first:
            a, b, numbers = b, a, [-numbers[0], -numbers[2], -numbers[1]]
        estimate, low, high = numbers
        return cls(
            kind=str(row["kind"]),
            metric=str(row["metric"]),
            method=_text(row["method"]),
            first=a,
            second=b,
            dataset=_text(row["dataset"]),
            estimate=estimate,
            lo=low,
            hi=high,
            is_made=bool(winner),
            reason=_text(row["reason"]),
            known=known,
        )

    @property
    def pair(self) -> frozenset[str]:
        return frozenset((self.first, self.second))

    @property
    def is_open(self) -> bool:
        """Tell whether it was tested, and nothing was found."""
        return not self.is_made and math.isfinite(self.lo) and math.isfinite(self.hi)

    @property
    def amount(self) -> tuple[str, str]:
        """Return the size of the difference with its unit, and its interval."""
        return formatting.amount(self.metric, self.estimate, self.lo, self.hi, self.known)

    @property
    def span(self) -> str:
        """Return its interval with the unit: 'x0.41..0.53', '7.5..14.1 points'."""
        _, ends = self.amount
        if self.known.of(self.metric).is_logged:
            return f"x{ends}"
        return f"{ends} {formatting.unit(self.metric, self.known)}".rstrip()

    @property
    def within(self) -> str:
        """Return its interval with level and unit, for a difference that is not told."""
        return f"95 % {self.span}"


def margin_of(tables: Tables, claim: Claim) -> str:
    """Return within what two methods, or the draws of one, were asked to be equal."""
    frame = tables["equivalence"]
    margins = frame["margin"][frame["metric"] == claim.metric]
    if margins.empty:
        return "the limits asked for"
    shown = formatting.spread(claim.metric, float(margins.iloc[0]), claim.known)
    return f"{shown:g} {formatting.unit(claim.metric, claim.known)}".rstrip()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def claims_of(tables: Tables, kind: str, model: str, known: Metrics = OURS) -> list[Claim]:
    """Return the rows of one kind and model."""
    frame = tables.get(CLAIMS)
    if frame is None or frame.empty:
        return []
    own = frame[(frame["kind"] == kind) & (frame["model"] == model)]
    return [Claim.of(row, known) for row in own.to_dict("records")]


def models_of(tables: Tables) -> list[str]:
    """Return the models of which there is anything to say, in the order of the summary."""
    frames = [tables[name] for name in ("summary", CLAIMS) if name in tables]
    return list(dict.fromkeys(model for frame in frames for model in frame["model"]))


def ordered(claims: Sequence[Claim]) -> list[str]:
    """Return all that were compared, those that are claimed to beat most of the others first."""
    names = dict.fromkeys(name for claim in claims for name in (claim.first, claim.second))
    won = {
        name: sum(c.is_made * ((c.first == name) - (c.second == name)) for c in claims)
        for name in names
    }
    return sorted(names, key=lambda name: -won[name])


def tiers(claims: Sequence[Claim]) -> list[list[str]]:
    """Group all that were compared: each of a group is claimed to beat each of every later one."""
    made = {(claim.first, claim.second) for claim in claims if claim.is_made}
    names = ordered(claims)
    groups: list[list[str]] = [[]]
    for place, name in enumerate(names):
        groups[-1].append(name)
        after = names[place + 1 :]
        if after and all((a, b) in made for a in names[: place + 1] for b in after):
            groups.append([])
    return groups


def who_beats_whom(claims: Iterable[Claim], verb: Verb) -> list[str]:
    """Name every pair that is claimed: 'a and b beat c'; those who beat the same ones together."""
    beaten: dict[str, list[str]] = {}
    for claim in claims:
        if claim.is_made:
            beaten.setdefault(claim.first, []).append(claim.second)
    winners: dict[frozenset[str], list[str]] = {}
    for name, others in beaten.items():
        winners.setdefault(frozenset(others), []).append(name)
    told = []
    for names in winners.values():
        does = verb.of_one if len(names) == 1 else verb.of_many
        told.append(f"{formatting.listed(names)} {does} {formatting.listed(beaten[names[0]])}")
    if len(told) > MAX_WINNERS:
        told = [*told[:MAX_WINNERS], "the others are in tables/claims.csv"]
    return told


def in_order(claims: Sequence[Claim], verb: Verb) -> str:
    """Say all that is claimed of many: groups in order, and who is ahead within a group."""
    groups = tiers(claims)
    inside = [c for c in claims if any(c.pair <= set(group) for group in groups)]
    told = who_beats_whom(inside, verb)
    parts = []
    if len(groups) > 1:
        text = "; then ".join(formatting.listed(group) for group in groups)
        parts.append(f"{text} (each {verb.of_one} all of the later groups)")
    parts += told
    if any(claim.is_open for claim in inside):
        parts.append(f"no {'other ' if parts else ''}two can be told apart")
    return "; ".join(parts)
