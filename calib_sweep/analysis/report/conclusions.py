"""The conclusion of a sweep in sentences: what holds, what is the draw, what would tell.

A difference between two methods holds when its 95 % interval over calibration draws leaves out 0;
otherwise it is said to be not more than the draw, with the smallest difference that this many
draws would probably have shown. Read from the tables of the analysis; every number is theirs.
"""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.scores.groups import direction

Tables = Mapping[str, Frame]

MAX_PAIRS = 3  # of methods: more are counted, not told one by one, where space is short
MAX_LISTED = 12
MAX_ORDERED = 6
COMPARED = ("draw", "equal")  # verdicts of a difference that is known and does not hold
COMPONENTS = {
    "method": "between methods",
    "dataset": "between calibration datasets",
    "method:dataset": "in which method suits which dataset",
    "draw": "between draws, alike for all methods",
    "method:draw": "between draws, each method in its own way",
}


@dataclass(frozen=True)
class Pair:
    """Two methods in one metric, the one that does better on average first."""

    better: str
    worse: str
    gain: str  # the size of the mean difference with its unit
    interval: str
    won: float  # draws on which `better` is better; ties count half
    n: int
    detectable: str
    verdict: str  # "holds", "slightly", "draw" or why there is none
    p: float  # exact, corrected

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Pair":
        metric = row["metric"]
        is_a_better = direction(metric) * row["mean_diff"] >= 0
        names = (row["a"], row["b"]) if is_a_better else (row["b"], row["a"])
        ends = [row["lo"], row["hi"]]
        if row["mean_diff"] < 0:
            ends = [-row["hi"], -row["lo"]]
        # How much less of a perplexity the better one has: minus the difference of minus.
        shown = [-formatting.difference(metric, -v) for v in (abs(row["mean_diff"]), *ends)]
        digits = formatting.difference_decimals([(shown[2] - shown[1]) / 2])
        share = row["prob_better"] if is_a_better else 1 - row["prob_better"]
        verdict = "draw" if row["verdict"] == "not shown" else str(row["verdict"])
        if "better" in verdict:
            verdict = "slightly" if "slightly" in verdict else "holds"
        unit = f" {formatting.unit(metric)}".rstrip()
        mde = -formatting.difference(metric, -row["mde"])
        return cls(
            *names,
            f"{formatting.number(shown[0], digits)}{unit}",
            f"95 % {formatting.number(shown[1], digits)}..{formatting.number(shown[2], digits)}",
            share * row["n_pairs"],
            int(row["n_pairs"]),
            f"{formatting.number(mde, digits)}{unit}" if math.isfinite(mde) else "",
            verdict,
            row["p_holm"],
        )

    @property
    def holds(self) -> bool:
        return self.verdict in ("holds", "slightly")


def pairs_of(comparisons: Frame, model: str, metric: str) -> list[Pair]:
    """Return every pair of methods over all datasets, those that hold first."""
    own = (comparisons["model"] == model) & (comparisons["metric"] == metric)
    own &= (comparisons["kind"] == "method") & (comparisons["dataset"] == "")
    pairs = [Pair.of(row) for row in comparisons[own].to_dict("records")]
    return sorted(pairs, key=lambda pair: (not pair.holds, pair.better, pair.worse))


def short(tables: Tables, metrics: Mapping[str, str]) -> list[str]:
    """Say the conclusion in a few lines per model; `metrics`: the headline ones in words."""
    lines = []
    for model, prefix in _models(tables["comparisons"]):
        found = {m: pairs_of(tables["comparisons"], model, m) for m in metrics}
        if max(map(len, found.values()), default=0) <= MAX_PAIRS:
            lines += [prefix + line for line in _told_pair_by_pair(found, metrics)]
        else:
            lines += [
                f"{prefix}{_counted(pairs, metrics[metric])}"
                for metric, pairs in found.items()
                if pairs
            ]
        open_pairs = {
            metric: {frozenset((p.better, p.worse)) for p in pairs if p.verdict == "draw"}
            for metric, pairs in found.items()
        }
        lines += [
            prefix + line for line in seeds_needed(tables["power"], model, metrics, open_pairs)
        ]
    return lines


def _models(comparisons: Frame) -> list[tuple[str, str]]:
    models = list(dict.fromkeys(comparisons["model"]))
    return [(model, f"{model}: " if len(models) > 1 else "") for model in models]


def _told_pair_by_pair(
    found: Mapping[str, Sequence[Pair]], metrics: Mapping[str, str]
) -> Iterator[str]:
    """Say a line for each pair, on all metrics."""
    told: dict[tuple[str, ...], list[tuple[str, Pair]]] = {}
    for metric, pairs in found.items():
        for pair in pairs:
            told.setdefault(tuple(sorted((pair.better, pair.worse))), []).append(
                (metrics[metric], pair)
            )
    for own in told.values():
        one = own[0][1]
        alike = {(p.better, p.verdict, p.won, p.n) for _, p in own}
        if len(own) > 1 and alike == {(one.better, "holds", float(one.n), one.n)}:
            sizes = [f"{p.gain} in {word} ({p.interval})" for word, p in own]
            yield (
                f"{one.better} beats {one.worse} on every draw (paired, {one.n} of {one.n}): "
                f"{formatting.listed(sizes)}."
            )
        else:
            yield " ".join(sentence(pair, word) for word, pair in own)


def sentence(pair: Pair, word: str) -> str:
    """Say one difference, and whether it is more than the draw."""
    two = f"{pair.better} and {pair.worse}"
    if pair.verdict == "draw":
        least = f"; {pair.detectable} would probably have shown" if pair.detectable else ""
        return (
            f"In {word} the difference between {two}, {pair.gain}, is not more than the "
            f"calibration draw ({pair.interval}{least})."
        )
    if pair.verdict == "equal":
        return f"In {word} {two} are equal on every draw."
    if not pair.holds:
        return f"In {word} nothing can be said of {two}: {pair.verdict}."
    often = "on every draw" if pair.won == pair.n else "on most draws"
    often = often if pair.verdict == "holds" else "on average, though not on many draws"
    won = f"{pair.won:g} of {pair.n}"
    return (
        f"{pair.better} beats {pair.worse} in {word} {often} (paired, {won}), by {pair.gain} "
        f"({pair.interval})."
    )


def _counted(pairs: Sequence[Pair], word: str) -> str:
    """Say how many of many pairs hold, and which do not."""
    holding = [pair for pair in pairs if pair.holds]
    unknown = [pair.verdict for pair in pairs if not pair.holds and pair.verdict not in COMPARED]
    text = f"In {word} {len(holding)} of {len(pairs)} differences between methods hold (95 %)"
    if unknown:
        text += f"; of {len(unknown)} nothing can be said ({', '.join(sorted(set(unknown)))})"
    order = sorted(
        {name for pair in pairs for name in (pair.better, pair.worse)},
        key=lambda name: -sum(pair.better == name for pair in pairs),
    )
    is_known = not unknown and len(pairs) == math.comb(len(order), 2)
    if len(order) <= MAX_ORDERED and is_known:
        text += f"; on average {', '.join(order)}, best first"
    open_pairs = [pair for pair in pairs if pair.verdict == "draw"]
    if not open_pairs:
        return f"{text}."
    named = [f"{p.better} and {p.worse} ({p.gain})" for p in open_pairs[:MAX_PAIRS]]
    more = len(open_pairs) - len(named)
    named += [f"{more} more"] if more else []
    return f"{text}; not more than the calibration draw: {formatting.listed(named)}."


def long(tables: Tables, model: str, metric: str, word: str) -> list[str]:
    """Say the conclusion on one model and metric, for the page."""
    pairs = pairs_of(tables["comparisons"], model, metric)
    sentences = [sentence(pair, word) for pair in pairs[:MAX_LISTED]]
    if len(pairs) > MAX_LISTED:
        rest = pairs[MAX_LISTED:]
        holding = sum(pair.holds for pair in rest)
        sentences.append(f"Of {len(rest)} more pairs {holding} hold; the table below has them all.")
    if len(pairs) > 1:
        sentences.append(_by_chance(pairs, word))
    sentences += components_sentence(tables["variance_components"], model, metric, word)
    return [*sentences, *seeds_needed(tables["power"], model, {metric: word})]


def _by_chance(pairs: Sequence[Pair], word: str) -> str:
    holding = [pair for pair in pairs if pair.holds]
    text = (
        f"{len(pairs)} pairs were looked at in {word}: if no two methods differed, "
        f"{0.05 * len(pairs):.2g} would seem to."
    )
    if min(2.0 ** (1 - pair.n) for pair in pairs) * len(pairs) > 0.05:
        return f"{text} The sign-flip test, corrected for that, cannot reach 5 % with so few draws."
    sure = sum(pair.p < 0.05 for pair in holding)
    return (
        f"{text} Of the {len(holding)} that hold, {sure} also pass the sign-flip test at 5 % after "
        "Holm's correction for all pairs."
    )


def components_sentence(components: Frame, model: str, metric: str, word: str) -> Iterator[str]:
    """Say where the variance lies, and how far a draw alone moves the score."""
    own = components[(components["model"] == model) & (components["metric"] == metric)]
    across = own[own["method"].str.startswith("*") & own["share"].notna()]
    for method, rows in across.groupby("method", sort=False):
        shares = dict(zip(rows["component"], rows["share"], strict=True))
        parts = [f"{100 * share:.0f} % {COMPONENTS[name]}" for name, share in shares.items()]
        of = str(method).removeprefix("*").strip()
        with_size = f" ({of})" if of else ""
        guessed = [COMPONENTS[name] for name in rows["component"][rows["sd_lo"].isna()]]
        few = f"; of what lies {formatting.listed(guessed)} there are too few to be sure"
        yield (
            f"Of the variance of {word}{with_size} lie {formatting.listed(parts)}"
            f"{few if guessed else ''}."
        )
    draws = own[(own["component"] == "draw") & ~own["method"].str.startswith("*")]
    sds = [100 * sd if formatting.unit(metric) else sd for sd in draws["sd"].dropna()]
    if sds:
        digits, unit = formatting.difference_decimals(sds), f" {formatting.unit(metric)}".rstrip()
        ends = [formatting.number(end, digits) for end in (min(sds), max(sds))]
        between = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        yield (
            f"Another calibration draw from the same dataset alone moves {word} by an SD of "
            f"{between}{unit}."
        )


def seeds_needed(
    power: Frame,
    model: str,
    metrics: Mapping[str, str],
    only: Mapping[str, Container[frozenset[str]]] | None = None,
) -> Iterator[str]:
    """Say how many seeds tell the smallest difference planned for, of `only` these pairs."""
    for metric, word in metrics.items():
        own = power[(power["model"] == model) & (power["metric"] == metric)]
        own = own[(own["goal"] == "difference") & (own["kind"] == "method")]
        own = own[own["seeds"].notna()]
        own = own[own["target"] == own["target"].min()]
        if only is not None:
            names = zip(own["method"], own["against"], strict=True)
            own = own[[frozenset(pair) in only[metric] for pair in names]]
        if own.empty:
            continue
        target = formatting.difference(metric, float(own["target"].iloc[0]))
        low, high = own["seeds"].min(), own["seeds"].max()
        ends = [
            f"{seeds:.0f}" if math.isfinite(seeds) else "10000 or more" for seeds in (low, high)
        ]
        between = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        fewest, most = int(own["n"].min()), int(own["n"].max())
        now = str(most) if fewest == most else f"{fewest} to {most}"
        several = "" if ends[0] == ends[1] else ", depending on pair and dataset"
        yield (
            f"To tell a difference of {target:.2g} {formatting.unit(metric)} in {word} takes "
            f"{between} seeds{several}; there are {now}."
        )
