"""Does the order of methods hold on other models? Sentences and a chapter of over_models.csv.

A claim is a row that has a `winner`: corrected for all rows of the table, a family of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.document import Block
from calib_sweep.analysis.report.layout import chapter, each_metric, figures_of
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import Column
from calib_sweep.analysis.tables.over_models import BETWEEN

ENOUGH = 3  # models: two have one degree of freedom, and t(1) leaves nearly anything open
MAX_NAMED = 4  # pairs told one by one
IN_ALL = "Of studies in which nothing differs over models, at most 5 % would make any such claim."
CAPTION = "The same difference on each model, their mean, and where one more model would lie."
READING = (
    "Models are taken as a sample: each counts once, and the interval is made of what differs "
    "between them, so that it speaks of models like these, not of these alone. 'one more model' is "
    "where the same comparison would lie on another one, found by as many draws. 'between models' "
    "is how much the difference itself changes with the model, as an SD, draws taken off."
)
COLUMNS = [
    Column("settings", ("settings",), "name", "of all these models"),
    Column("A", ("a",), "name", "the one that is ahead on average"),
    Column("B", ("b",), "name", "the other"),
    Column("claimed", ("claimed",), "name", "yes: A does better over models, corrected; no: open"),
    Column(
        "A - B (95 %)",
        ("estimate", "lo", "hi"),
        "difference",
        "the mean over models, of which each counts once; of perplexity the ratio A / B",
    ),
    Column(
        "one more model (95 %)",
        ("new_lo", "new_hi"),
        "ends",
        "where the same comparison on one more model like these would lie",
    ),
    Column("p, Holm", ("p_holm",), "p", "of the test of the mean, corrected for all pairs here"),
    Column(
        "between models (95 %)",
        ("tau", "tau_lo", "tau_hi"),
        "spread",
        "SD of the difference over models, without what the draws add",
    ),
    Column("A ahead", ("num_ahead",), "count", "models on which A has the better mean"),
    Column("models", ("num_models",), "count", "on which both were seen"),
]


def ahead_first(table: Frame, known: Metrics) -> Frame:
    """Return the rows with the method that is ahead as A, and its numbers."""
    sign = np.array([known.of(metric).direction for metric in table["metric"]], dtype=float)
    turned = sign * table["estimate"].to_numpy(float) < 0
    found = table.copy()
    for first, second in (("a", "b"), ("lo", "hi"), ("new_lo", "new_hi")):
        found[first] = np.where(turned, table[second], table[first])
        found[second] = np.where(turned, table[first], table[second])
    for name in ("estimate", "lo", "hi", "new_lo", "new_hi"):
        found[name] = np.where(turned, -1.0, 1.0) * found[name].to_numpy(float)
    others = table["num_models"] - table["num_ahead"]
    found["num_ahead"] = np.where(turned, others, table["num_ahead"])
    claimed = np.where(table["winner"] != "", "yes", "no")
    return found.assign(claimed=np.where(table["p_holm"].notna(), claimed, ""))


def sentences(table: Frame, words: Mapping[str, str], known: Metrics = OURS) -> Iterator[str]:
    """Say which methods do better over models; nothing where there is one."""
    if table.empty:
        return
    rows = ahead_first(table, known)
    for _, own in rows.groupby(["settings", "models"], sort=False):
        names = own["models"].iloc[0].split(BETWEEN)
        if len(names) < ENOUGH:
            yield _hardly(own, names, words, known)
            continue
        claimed = own[(own["winner"] != "") & own["metric"].isin(list(words))]
        told = [
            f"{a} beats {b} over {len(names)} models ({formatting.listed(names)}): {sizes}."
            for (a, b), of in claimed.groupby(["a", "b"], sort=False)
            if (sizes := formatting.listed([_size(row, words, known) for row in _rows(of)]))
        ]
        yield from told[:MAX_NAMED]
        if len(told) > MAX_NAMED:
            yield f"{len(told) - MAX_NAMED} more pairs differ over these models: see the table."
        tested = set(own["metric"][own["p_holm"].notna()]) - set(claimed["metric"])
        open_in = [m for m in words if m in tested and known.of(m).direction]
        if open_in:
            yield (
                f"No two methods can be told apart over {len(names)} models "
                f"({formatting.listed(names)}) in {formatting.listed([words[m] for m in open_in])}."
            )
    if (table["winner"] != "").any():
        yield IN_ALL


def _rows(table: Frame) -> list[dict[str, Any]]:
    return table.to_dict("records")


def _size(row: Mapping[str, Any], words: Mapping[str, str], known: Metrics) -> str:
    """Say how much better one is on average, and where it would lie on one more model."""
    metric = row["metric"]
    size, ends = formatting.amount(metric, row["estimate"], row["lo"], row["hi"], known)
    return f"{size} in {words[metric]} (95 % {ends}; on one more model {_new(row, known)})"


def _new(row: Mapping[str, Any], known: Metrics) -> str:
    metric = row["metric"]
    _, ends = formatting.amount(metric, row["estimate"], row["new_lo"], row["new_hi"], known)
    is_ratio = known.of(metric).is_logged
    return f"x{ends}" if is_ratio else f"{ends} {formatting.unit(metric, known)}".rstrip()


def _hardly(own: Frame, names: Sequence[str], words: Mapping[str, str], known: Metrics) -> str:
    """Say what two models leave open, by the pair of which they leave least open."""
    text = (
        f"Two models ({formatting.listed(names)}) can hardly say whether the order of methods "
        "holds on others"
    )
    known_rows = own[np.isfinite(own["new_lo"]) & own["metric"].isin(list(words))]
    for row in known_rows.to_dict("records"):
        if isfinite(row["new_hi"]):
            two = (
                f"{row['a']} - {row['b']}"
                if not known.of(row["metric"]).is_logged
                else (f"{row['a']} / {row['b']}")
            )
            return (
                f"{text}: {two} in {words[row['metric']]} would lie at {_new(row, known)} (95 %)."
            )
    return f"{text}."


def write(
    table: Frame, material: Material, words: Mapping[str, str], figures: Sequence[str] = ()
) -> list[Block]:
    """Make the chapter; nothing where there is one model."""
    if table.empty:
        return []
    several = (table["settings"] != "").any()
    columns = COLUMNS if several else COLUMNS[1:]
    drawn = figures_of("over_models", figures, CAPTION)
    shown = each_metric(ahead_first(table, material.known), columns, material, words)
    return chapter("Does the order of methods hold on other models", [READING], drawn, shown)
