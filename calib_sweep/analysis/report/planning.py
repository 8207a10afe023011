"""What to run next, and the chapter on how many seeds it takes; all numbers are of power.csv."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.claimed import CLAIMS, Tables
from calib_sweep.analysis.report.columns import METHOD, MODEL, N
from calib_sweep.analysis.report.document import Block, Fold, Paragraph
from calib_sweep.analysis.report.layout import chapter, each_metric
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import Column, format_table
from calib_sweep.analysis.tables.power import OPEN, OPEN_FOR_NEW, POOLED

Row = Mapping[str, Any]

NBSP = "\N{NO-BREAK SPACE}"
MIN_SEEDS = "Two methods can be tested from three seeds on: run three or more."
PLANNED = (
    "How many seeds of each dataset it takes to see a difference on these datasets, at the level "
    "that its claim is tested at. The SD of a few draws may be far from the true one: the power "
    "asked for (analysis.power) is reached on average over what they leave open. 'Now' is the "
    "difference that would probably have shown with the seeds there are."
)
SINGLE = "On one dataset, or the mean of one method"
WINNING = (
    "Whether one does better on more draws than not is counted, not measured, and takes more of "
    "them. No SD has a part in it: the numbers are those of any two."
)
SEEDS_NEEDED = (
    "of each dataset, to see it with the power asked for on average over what the SD seen leaves "
    "open, or to have that half-width so surely; range: for the ends of the SD's interval; many: "
    "above 10000"
)
LEVEL = Column("level", ("alpha",), "p", "of the test: of a claim, its share of the sweep's 5 %")
NOW = Column("now", ("now",), "size", "what the seeds there are show so surely")
NEEDED = Column("seeds needed", ("seeds", "seeds_lo", "seeds_hi"), "count", SEEDS_NEEDED)
POWER = [
    MODEL,
    METHOD,
    Column("against", ("against",), "name", "the other method; -: the interval of one mean"),
    Column("dataset", ("dataset",), "name", "-: all of these datasets together"),
    Column("target", ("target",), "size", "difference, or half-width of the interval"),
    LEVEL,
    NEEDED,
    N,
    NOW,
]
POWER_OF_DATASETS = [
    MODEL,
    Column("A", ("dataset",), "name", "the one dataset, by the mean over methods"),
    Column("B", ("against",), "name", "the other"),
    Column("target", ("target",), "size", "difference"),
    LEVEL,
    NEEDED,
    N,
    NOW,
]
SUPERIORITY = [
    MODEL,
    Column("of two", ("kind",), "name", "methods on the same draws, or datasets"),
    Column(
        "P(A better)",
        ("target",),
        "share",
        "how often A truly does better on one draw (analysis.better_from)",
    ),
    Column(
        "draws needed",
        ("seeds",),
        "count",
        "pairs, or draws of each dataset, from which on its interval leaves out 50 % with the "
        "power asked for; many: above 10000",
    ),
    Column("n", ("n",), "count", "the fewest that two of them have now"),
    Column("shown by n", ("now",), "share", "the P(A better) that so many would show; -: none"),
]


def next_step(
    tables: Tables, model: str, words: Mapping[str, str], known: Metrics = OURS
) -> list[str]:
    """Say which pair of methods is open, and how many seeds would settle it; `words`: of metrics.

    The pair is the one with the smallest difference among those that are not claimed; the
    difference to find is half of that, or the smallest of analysis.targets where half is less.
    """
    power, claims = tables.get("power"), tables.get(CLAIMS)
    if power is None or claims is None:
        return []
    own = power[power["model"] == model]
    on_these, on_new = (
        {row["metric"]: row for row in own[own["goal"] == goal].to_dict("records")}
        for goal in (OPEN, OPEN_FOR_NEW)
    )
    told = []
    for metric, word in words.items():
        if metric in on_these:
            told.append(_settled_by(on_these[metric], word, known))
        elif metric in on_new:
            told.append(_settled_by_datasets(on_new[metric], word, known))
    asked = claims[(claims["model"] == model) & (claims["kind"] == "methods")]
    few = (asked["reason"] == "too few draws").to_numpy(bool)
    return told or ([MIN_SEEDS] if few.size and few.all() else [])


def _settled_by(row: Row, word: str, known: Metrics) -> str:
    """Say how many seeds find the difference of the open pair, with the power and the level."""
    num, seeds, now = int(row["num_datasets"]), row["seeds"], int(row["n"])
    pair = f"{row['method']} and {row['against']}"
    where = f"on these {num} datasets" if num > 1 else "on this dataset"
    each = " of each dataset" if num > 1 else ""
    size = _size(row["metric"], row["target"], known)
    if seeds <= now:
        return (
            f"In {word} a true difference of {size} between {pair} {where} would have shown "
            f"{_how_sure(row)} with the {now} seeds{each} that there are ({_level(row)})."
        )
    needed = f"{seeds:.0f} seeds" if math.isfinite(seeds) else "more than 10000 seeds"
    return (
        f"In {word} the smallest open difference is that of {pair}: if it is truly {size} {where}, "
        f"it takes {needed}{each} to show it {_how_sure(row)} ({_level(row)}); there are {now}."
    )


def _settled_by_datasets(row: Row, word: str, known: Metrics) -> str:
    """Say how many datasets find the difference for one that was not seen."""
    num, now = row["seeds"], int(row["n"])
    pair = f"{row['method']} or {row['against']}"
    size = _size(row["metric"], row["target"], known)
    needed = f"{num:.0f} datasets" if math.isfinite(num) else "more than 10000 datasets"
    head = f"In {word} it is open whether {pair} does better on a new dataset"
    if num <= now:
        return f"{head}; a true difference of {size} would have shown {_how_sure(row)}."
    return (
        f"{head}: if they truly differ by {size} there, it takes {needed} with as many seeds each "
        f"to show it {_how_sure(row)} ({_level(row)}); there are {now}."
    )


def _how_sure(row: Row) -> str:
    return f"with {_percent(row['power'])} probability"


def _level(row: Row) -> str:
    return f"at the level of its claim, {_percent(row['alpha'])}"


def _size(metric: str, target: float, known: Metrics) -> str:
    """Return a difference as it is shown: the ratio of perplexities, else with its unit."""
    shown = formatting.difference(metric, target, known)
    if known.of(metric).is_logged:
        return f"x{shown:.3f}"
    return f"{shown:.2g}{NBSP}{formatting.unit(metric, known)}".rstrip()


def _percent(share: float) -> str:
    return f"{100 * share:.2g}{NBSP}%"


def write(power: Frame, material: Material, words: Mapping[str, str]) -> list[Block]:
    """Make the chapter, from power.csv."""
    return chapter("How many seeds it takes", [PLANNED], [], [*_shown(power, material, words)])


def _shown(power: Frame, material: Material, words: Mapping[str, str]) -> Iterator[Block]:
    yield from each_metric(on_all_datasets(power), POWER, material, words)
    own = power[power["goal"].isin(["difference", "half_width"]) & (power["dataset"] != POOLED)]
    own = own[own["kind"] != "dataset"].sort_values(["target", "goal"], kind="stable")
    yield from each_metric(own, POWER, material, words, folded=SINGLE)
    datasets = power[(power["goal"] == "difference") & (power["kind"] == "dataset")]
    title = "Between datasets"
    yield from each_metric(datasets, POWER_OF_DATASETS, material, words, folded=title)
    counted = power[power["goal"] == "superiority"]
    counted = counted[counted["metric"].isin(list(words or dict.fromkeys(counted["metric"])))]
    counted = counted.drop_duplicates(["model", "kind", "n"]).reset_index(drop=True)
    if not counted.empty:
        table = format_table(counted, SUPERIORITY, metric="")
        yield Fold("How often one does better", [Paragraph(WINNING), table])


def on_all_datasets(power: Frame) -> Frame:
    """Return what is planned for two methods on all datasets together."""
    own = power[(power["goal"] == "difference") & (power["kind"] == "method")]
    return own[own["dataset"] == POOLED].sort_values("target", kind="stable")
