"""Is the loss real? Sentences and a chapter on compressed models against the dense one.

Who is worse, or better, than dense is told of rows of claims.csv that have a winner; losses.csv
says of which draws and items that is true.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite
from typing import Any

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.report.columns import DATASET, METHOD, MODEL, N
from calib_sweep.analysis.report.document import Block
from calib_sweep.analysis.report.layout import chapter, each_metric
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import Column
from calib_sweep.analysis.scores.groups import is_logged
from calib_sweep.analysis.scores.table import DENSE

MAX_LOG = 100.0
MAX_NAMED = 6  # methods told one by one; of more, the ends of the range
LOST, GAINED, OPEN, TOO_MANY = "lost", "gained", "open", "open among many"
SAID = {
    LOST: "{be} worse than dense",
    GAINED: "{be} better than dense",
    OPEN: "cannot be told from dense",
    TOO_MANY: "cannot be told from dense, corrected for all that was compared,",
}
READING = (
    "Compressed and dense models answered the same items, so they are compared item by item. The "
    "interval is for other draws of the same datasets and other items of the same kind together: "
    "both could have fallen otherwise. That of the draws alone is narrower: it says what these "
    "very items show. Of a single calibration set, or of a method that reads none, accuracy is "
    "tested by the items that only one of the two models has right (McNemar)."
)
COLUMNS = [
    MODEL,
    METHOD,
    DATASET,
    Column("of", ("population",), "name", "what could have been otherwise"),
    Column(
        "method - dense (95 %)",
        ("estimate", "lo", "hi"),
        "difference",
        "mean over draws, datasets counting equally; not corrected for the number of rows",
    ),
    Column("p", ("p",), "p", "of the test that belongs to the interval, not corrected"),
    Column(
        "draws alone (95 %)",
        ("of_draws", "draws_lo", "draws_hi"),
        "difference",
        "for other draws, on these very items",
    ),
    Column("SE of items", ("items_se",), "spread", "what other items would move the difference"),
    N,
    Column("items", ("num_items",), "count", "test items or windows that both models answered"),
    Column(
        "groups", ("num_groups",), "count", "of items that share a passage or a subject; or items"
    ),
]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """What is known of a method against dense in one metric; `population` after losses.csv."""

    method: str
    metric: str
    estimate: float
    lo: float
    hi: float
    kind: str  # of SAID, or why nothing can be said
    population: str

    @property
    def text(self) -> str:
        """Return the method with method - dense: 'wanda (-1.2 points, 95 % -1.5..-0.9)'."""
        size, ends = _amount(self.metric, self.estimate, self.lo, self.hi)
        return f"{self.method} ({size}, 95\u00a0% {ends})"


def write(tables: Mapping[str, Frame], material: Material, words: Mapping[str, str]) -> list[Block]:
    """Make the chapter, from losses.csv; nothing without a dense model."""
    known = tables["losses"].dropna(subset="estimate").reset_index(drop=True)
    known = known.assign(of_draws=known["estimate"].where(known["draws_lo"].notna()))
    return chapter("Is the loss real?", [READING], [], each_metric(known, COLUMNS, material, words))


def sentences(tables: Mapping[str, Frame], model: str, words: Mapping[str, str]) -> list[str]:
    """Say of one model who is worse than dense, by how much, and of which draws and items."""
    found = list(_found(tables, model))
    told: list[str] = []
    for metric, word in words.items():
        own = [one for one in found if one.metric == metric]
        for kind, population in dict.fromkeys((one.kind, one.population) for one in own):
            alike = [one for one in own if (one.kind, one.population) == (kind, population)]
            told.append(_sentence(kind, alike, word, population))
    return told


def _found(tables: Mapping[str, Frame], model: str) -> Iterator[Found]:
    claims, losses = tables["claims"], tables["losses"]
    own = claims[(claims["kind"] == "loss") & (claims["model"] == model)]
    about = {
        (row["method"], row["metric"]): _about(row)
        for row in losses[losses["model"] == model].to_dict("records")
    }
    for row in own.to_dict("records"):
        won = row["winner"] or ""
        value, low, high = (float(row[key]) for key in ("estimate", "lo", "hi"))
        is_open = OPEN if not low * high > 0 else TOO_MANY
        kind = row["reason"] or (LOST if won == DENSE else GAINED if won else is_open)
        population = about.get((row["method"], row["metric"]), "")
        yield Found(str(row["method"]), str(row["metric"]), value, low, high, kind, population)


def _about(row: Row) -> str:
    """Say of which draws and items a row of losses.csv is true."""
    num = row["num_datasets"]
    datasets = f"these {num:.0f} datasets" if num > 1 else "this dataset"
    return {
        "draws and items": f"for other draws of {datasets} and other items",
        "draws": f"for other draws of {datasets}, on these items",
        "datasets and items": "for a new dataset and other items",
        "datasets": "for a new dataset, on these items",
        "items": "for other items, without calibration data",
        "items of one draw": "for other items, with this one calibration set",
    }.get(str(row["population"]), "")


def _sentence(kind: str, own: Sequence[Found], word: str, population: str) -> str:
    """Say what is alike of several methods in one metric."""
    known = [one for one in own if isfinite(one.lo) and isfinite(one.hi)]
    if kind not in SAID or not known:
        names = formatting.listed([one.method for one in own])
        return f"In {word} nothing can be said of {names} against dense: {kind}."
    verb = SAID[kind].format(be="are" if len(known) > 1 else "is")
    return f"In {word} {_named(known)} {verb} {population}".rstrip() + "."


def _named(own: Sequence[Found]) -> str:
    """Name methods with their sizes; of many the least and the most."""
    ordered = sorted(own, key=lambda one: abs(one.estimate))
    if len(own) <= MAX_NAMED:
        return formatting.listed([one.text for one in ordered])
    return f"{len(own)} methods, from {ordered[0].text} to {ordered[-1].text},"


def _amount(metric: str, *numbers: float) -> tuple[str, str]:
    """Return a difference with its unit, and its interval; of logarithms as ratios."""
    is_ratio = is_logged(metric)
    shown = [
        min(exp(min(v, MAX_LOG)), inf) if is_ratio else formatting.scale(metric) * v
        for v in numbers
    ]
    digits = formatting.difference_decimals([(shown[2] - shown[1]) / 2])
    text, *ends = (formatting.number(v, digits, signed=not is_ratio) for v in shown)
    size = f"x{text}" if is_ratio else f"{text}\u00a0{formatting.unit(metric)}".rstrip()
    return size, "..".join(ends)
