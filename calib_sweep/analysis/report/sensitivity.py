"""Sentences on how far a score moves: with another draw, another dataset, other test items.

The numbers are those of sensitivity.csv: SDs, each with its share of the variance of the three.
Which method moves further is told from claims.csv alone (kind "spread").
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.claimed import (
    MOVES_FURTHER,
    SPREAD,
    Claim,
    Tables,
    claims_of,
    in_order,
    margin_of,
)
from calib_sweep.analysis.tables.variance_components import LEFT_OUT

SENSITIVITY = "sensitivity"
MAX_TOLD = 3  # methods that are told one by one
ROUNDING = 1e-9  # of the log of a ratio of SDs
SOURCES = {
    "draw": "another draw",
    "dataset": "another dataset",
    "item": "other test items",
}
SDS = {"draw": "draw_sd", "dataset": "dataset_sd", "item": "item_se"}
ONE_DATASET = "How far another dataset would move a score is not known: there is one."
Row = Mapping[str, Any]


def sentences(
    tables: Tables, model: str, words: Mapping[str, str], known: Metrics = OURS
) -> Iterator[str]:
    """Say for each metric a line per method, then how the methods differ."""
    spreads = claims_of(tables, SPREAD, model, known)
    is_first = True
    for metric, word in words.items():
        rows = moved(tables.get(SENSITIVITY), model, metric)
        own = [claim for claim in spreads if claim.metric == metric]
        differing = [*_compared(own, word), *_unmoved(tables, model, metric, word, known)]
        if rows and is_first and all(row["num_datasets"] < 2 for row in rows):
            differing.append(ONE_DATASET)
        is_first = is_first and not rows
        yield from _how_far(rows, metric, word, known)
        if differing:
            yield " ".join(differing)


def moved(sensitivity: Frame | None, model: str, metric: str) -> list[Row]:
    """Return the rows of methods that read data and of which an SD is known."""
    if sensitivity is None or sensitivity.empty:
        return []
    own = sensitivity[(sensitivity["model"] == model) & (sensitivity["metric"] == metric)]
    own = own[(own["n"] > 1) & (own["draw_sd"].notna() | own["dataset_sd"].notna())]
    return own.to_dict("records")


def _how_far(rows: Sequence[Row], metric: str, word: str, known: Metrics) -> Iterator[str]:
    """Say how far each method moves, a line for each; of many methods from where to where."""
    name = formatting.capitalised(word)
    if len(rows) > MAX_TOLD:
        ranges = [_range(rows, metric, source, known) for source in SDS]
        yield f"{name} moves by (SD): {'; '.join(filter(None, ranges))}."
        return
    for row in rows:
        yield f"{name} of {row['method']} moves by (SD): {_of_one(row, metric, known)}."


def _of_one(row: Row, metric: str, known: Metrics) -> str:
    sources = [source for source in SDS if not math.isnan(float(row[SDS[source]]))]
    parts = []
    for source in sources:
        low, high = (float(row.get(f"{source}_{end}", math.nan)) for end in ("lo", "hi"))
        size, interval = size_and_interval(metric, float(row[SDS[source]]), low, high, known)
        within = f" ({'' if parts else '95 % '}{interval})" if interval else ""
        parts.append(f"{size} with {SOURCES[source]}{within}")
    text = formatting.listed(parts)
    shares = [float(row[f"{source}_share"]) for source in sources]
    if len(shares) > 1 and not any(map(math.isnan, shares)):
        percent = formatting.listed([f"{100 * share:.0f}" for share in shares])
        text += f" ({percent} % of the variance)"
    return f"{text}, without its diverged draws" if LEFT_OUT in str(row["note"]) else text


def size_and_interval(
    metric: str, sd: float, low: float, high: float, known: Metrics = OURS
) -> tuple[str, str]:
    """Return an SD with its unit, and its interval or nothing."""
    shown = [formatting.spread(metric, value, known) for value in (sd, low, high)]
    digits = formatting.difference_decimals([shown[0]])
    size = f"{formatting.number(shown[0], digits)} {formatting.unit(metric, known)}".rstrip()
    if sd == 0:
        return f"0 {formatting.unit(metric, known)}".rstrip(), ""
    if math.isnan(low) or math.isnan(high):
        return size, ""
    return size, "..".join(formatting.number(end, digits) for end in shown[1:])


def _range(rows: Sequence[Row], metric: str, source: str, known: Metrics) -> str:
    """Say from where to where one source moves many methods."""
    own = [row for row in rows if not math.isnan(float(row[SDS[source]]))]
    if not own:
        return ""
    own.sort(key=lambda row: float(row[SDS[source]]))
    ends = [own[0], own[-1]] if len(own) > 1 else own
    told = []
    for row in ends:
        size, _ = size_and_interval(metric, float(row[SDS[source]]), math.nan, math.nan, known)
        told.append(f"{size} ({row['method']})")
    return f"with {SOURCES[source]} {' to '.join(told)}"


def _compared(claims: Sequence[Claim], word: str) -> Iterator[str]:
    """Say how the methods differ in how far the draw moves them."""
    tested = [claim for claim in claims if claim.is_made or claim.is_open]
    if len(tested) > MAX_TOLD:
        yield f"With the draw, in {word}: {in_order(tested, MOVES_FURTHER)}."
        return
    for claim in tested:
        ratio, ends = _ratio(claim)
        if claim.is_made:
            yield (
                f"With the draw {claim.first} moves {ratio} times as far as {claim.second} in "
                f"{word} (95 % {ends})."
            )
        elif abs(claim.hi - claim.lo) < ROUNDING:
            yield (
                f"How far the draw moves {claim.first} and {claim.second} in {word} cannot be told "
                "apart: their SDs are equal."
            )
        else:
            is_shown_alone = claim.lo * claim.hi > 0
            corrected = ", corrected for all that was compared" if is_shown_alone else ""
            alone = "by itself the " if is_shown_alone else ""
            yield (
                f"How far the draw moves {claim.first} and {claim.second} in {word} cannot be told "
                f"apart{corrected} ({alone}ratio of SDs 95 % {ends})."
            )


def _unmoved(tables: Tables, model: str, metric: str, word: str, known: Metrics) -> Iterator[str]:
    """Name the methods that are shown not to mind the draw, with the largest SD that is left."""
    for claim in claims_of(tables, "equivalence", model, known):
        if claim.metric == metric and claim.method and claim.is_made:
            most, _ = size_and_interval(metric, claim.hi, math.nan, math.nan, known)
            yield (
                f"{claim.method} does not mind the draw in {word}: its SD is at most {most}, "
                f"within the {margin_of(tables, claim)} asked for."
            )


def _ratio(claim: Claim) -> tuple[str, str]:
    shown = [math.exp(min(value, 100.0)) for value in (claim.estimate, claim.lo, claim.hi)]
    digits = 1 if shown[0] >= 2 else 2
    text, *ends = (formatting.number(value, digits) for value in shown)
    return text, f"{ends[0]}..{ends[1]}"
