"""Is the loss real? Sentences and a chapter on compressed models against the dense one.

Who is worse, or better, than dense is told of rows of claims.csv that have a winner; losses.csv
says of which draws and items that is true.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.columns import DATASET, METHOD, MODEL, N
from calib_sweep.analysis.report.document import Block
from calib_sweep.analysis.report.layout import chapter, each_metric
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import Column
from calib_sweep.analysis.scores.table import DENSE

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


@dataclass(frozen=True)
class Found:
    """What is known of a method against dense in one metric; the numbers are method - dense."""

    method: str
    kind: str  # of SAID, or why nothing can be said
    population: str
    word: str  # for the metric
    size: str
    ends: str  # of its interval
    estimate: float


def write(tables: Mapping[str, Frame], material: Material, words: Mapping[str, str]) -> list[Block]:
    """Make the chapter, from losses.csv; nothing without a dense model."""
    known = tables["losses"].dropna(subset="estimate").reset_index(drop=True)
    known = known.assign(of_draws=known["estimate"].where(known["draws_lo"].notna()))
    return chapter("Is the loss real?", [READING], [], each_metric(known, COLUMNS, material, words))


def sentences(
    tables: Mapping[str, Frame], model: str, words: Mapping[str, str], known: Metrics = OURS
) -> list[str]:
    """Say of one model who is worse than dense, by how much, and of which draws and items."""
    told: dict[tuple[str, str], dict[str, list[Found]]] = {}
    for one in _found(tables, model, words, known):
        told.setdefault((one.kind, one.population), {}).setdefault(one.method, []).append(one)
    return [_sentence(kind, population, own) for (kind, population), own in told.items()]


def _found(
    tables: Mapping[str, Frame], model: str, words: Mapping[str, str], known: Metrics
) -> Iterator[Found]:
    claims, losses = tables["claims"], tables.get("losses")
    if losses is None or losses.empty:
        return
    own = claims[(claims["kind"] == "loss") & (claims["model"] == model)]
    populations = {
        (row["method"], row["metric"]): about(str(row["population"]), row["num_datasets"])
        for row in losses[losses["model"] == model].to_dict("records")
    }
    order = list(words)
    rows = [row for row in own.to_dict("records") if row["metric"] in words]
    for row in sorted(rows, key=lambda row: order.index(row["metric"])):
        metric, method, won = str(row["metric"]), str(row["method"]), row["winner"] or ""
        value, low, high = (float(row[key]) for key in ("estimate", "lo", "hi"))
        # Without any spread p is that of signs, and the interval says nothing of it.
        is_open = TOO_MANY if low * high > 0 and low < high else OPEN
        kind = row["reason"] or (LOST if won == DENSE else GAINED if won else is_open)
        size, ends = formatting.amount(metric, value, low, high, known)
        population = populations.get((method, metric), "")
        yield Found(method, kind, population, words[metric], size, ends, value)


def about(population: str, num_datasets: float) -> str:
    """Say of which draws and items a row of losses.csv is true."""
    datasets = f"these {num_datasets:.0f} datasets" if num_datasets > 1 else "this dataset"
    return {
        "draws and items": f"for other draws of {datasets} and other items",
        "draws": f"for other draws of {datasets}, on these items",
        "datasets and items": "for a new dataset and other items",
        "datasets": "for a new dataset, on these items",
        "items": "for other items, without calibration data",
        "items of one draw": "for other items, with this one calibration set",
    }.get(population, "")


def _sentence(kind: str, population: str, own: Mapping[str, Sequence[Found]]) -> str:
    """Say what is alike of several methods; `own`: by method, in each metric that it holds for."""
    if kind not in SAID:
        words = formatting.listed(list(dict.fromkeys(f.word for of in own.values() for f in of)))
        names = formatting.listed(list(own))
        return f"In {words} nothing can be said of {names} against dense: {kind}."
    verb = SAID[kind].format(be="are" if len(own) > 1 else "is")
    return f"{_named(own)} {verb} {population}".rstrip() + "."


def _named(own: Mapping[str, Sequence[Found]]) -> str:
    """Name methods with their sizes; of many those that differ least and most."""
    ordered = sorted(own, key=lambda method: abs(own[method][0].estimate))
    texts = {method: _with_sizes(method, own[method]) for method in ordered}
    if len(own) <= MAX_NAMED:
        return formatting.listed(list(texts.values()))
    return f"{len(own)} methods, from {texts[ordered[0]]} to {texts[ordered[-1]]},"


def _with_sizes(method: str, found: Sequence[Found]) -> str:
    """Return 'wanda (x1.35 in perplexity, 95 % 1.32..1.38; -1.2 points in accuracy, ...)'."""
    return f"{method} ({'; '.join(f'{f.size} in {f.word}, 95 % {f.ends}' for f in found)})"
