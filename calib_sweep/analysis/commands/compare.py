"""The verb `compare`: why do my numbers differ from yours?

Of the cells that two sweeps have in common it says whether they score the same, bit by bit or how
far apart, and what else differs between them: see `differing`. What differs in every cell whose
scores differ comes first: the cause is among it, if it was recorded at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from calib_sweep.analysis.metrics import HEADLINES
from calib_sweep.analysis.report.write import require_records
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.contained import CONTAINED
from calib_sweep.analysis.scores.differing import (
    HASH,
    SUBJECTS,
    Difference,
    Pair,
    differences,
    equal_sets,
    suspects,
)
from calib_sweep.analysis.scores.means import as_number
from calib_sweep.analysis.scores.shared_cells import Shared, named, shared_cells
from calib_sweep.analysis.scores.table import AXES, read_cells
from calib_sweep.arguments import folders_and_settings
from calib_sweep.console import output
from calib_sweep.errors import ConfigError, collected
from calib_sweep.wording import counted

MAX_CAUSES = 6
MAX_NAMED = 5  # cells, of those that one sweep has
MAX_SCORES = 12  # lines of scores that differ
MAX_TEXT = 48  # characters of a value
DIGITS = 6  # of a score that is shown beside another
HEADINGS = {
    "settings": "Settings that can move a score",
    "set": "Calibration sets",
    "inputs": "What was read, by its hash",
    "evaluation": "Versions of the evaluation",
    "code": "This program",
    "software": "Libraries",
    "machine": "Machine",
    "how it ran": "Settings that move no score",
}


@dataclass(frozen=True)
class Apart:
    """One score of the shared cells: in how many it differs, and where it does most."""

    metric: str
    num: int
    of: int
    cell: str
    first: float
    second: float

    @property
    def size(self) -> float:
        return abs(self.first - self.second)


def main(arguments: Sequence[str]) -> int:
    """Print what differs between the two sweeps named."""
    folders, typed = folders_and_settings("compare", arguments)
    if len(folders) != 2 or typed:
        given = " ".join(arguments) or "nothing"
        raise ConfigError(
            f"compare {given}: expected the folders of two sweeps, and nothing else. "
            "Example: python -m calib_sweep compare results/mine results/theirs."
        )
    with collected() as problems:
        for folder in folders:
            problems.of(require_records, folder, verb="compare")
    names, cells = [str(folder) for folder in folders], [read_cells(folder) for folder in folders]
    output("\n".join(lines(names[0], names[1], cells[0], cells[1])))
    return 0


def lines(
    first_name: str, second_name: str, first: Sequence[ReadCell], second: Sequence[ReadCell]
) -> Iterator[str]:
    """Yield what there is to say of two sweeps, line by line."""
    shared = shared_cells(first, second)
    yield f"A = {first_name}"
    yield f"B = {second_name}"
    yield ""
    if not shared.pairs:
        yield "No cell of A is a cell of B: model, method, dataset, seed and replicate have to be"
        yield "the same. So no score can be compared."
        yield from _block("The two sweeps", _axes(first, second))
        return
    apart, unlike, alike = scores_apart(shared)
    yield from _verdict(unlike, alike)
    yield from _block("Cells", _cells(shared, first, second))
    yield from _block("Scores that differ", _scores(apart))
    yield from _block("Scores that only one has", _scored_once(shared))
    found = differences(shared)
    for subject in SUBJECTS:
        own = [one for one in found if one.subject == subject]
        told = _of_sets(shared, own) if subject == "set" else _facts(own, len(shared.pairs))
        yield from _block(HEADINGS[subject], told)


def _block(heading: str, told: Sequence[str]) -> Iterator[str]:
    if told:
        yield from ("", heading, *(f"  {line}" for line in told))


def scores_apart(shared: Shared) -> tuple[list[Apart], list[Pair], list[Pair]]:
    """Return every score that differs somewhere, the pairs of cells where one does, the others."""
    found: dict[str, list[tuple[str, float, float]]] = {}
    unlike: list[Pair] = []
    alike: list[Pair] = []
    for first, second in shared.pairs:
        cell, own = named(first), {}
        for metric in {**first["scores"], **second["scores"]}:
            if metric in first["scores"] and metric in second["scores"]:
                a, b = (as_number(one["scores"][metric]) for one in (first, second))
                own[metric] = (cell, a, b)
                found.setdefault(metric, []).append(own[metric])
        is_unlike = any(_differ(a, b) for _, a, b in own.values())
        (unlike if is_unlike else alike).append((first, second))
    apart = []
    for metric, scored in found.items():
        own = [one for one in scored if _differ(*one[1:])]
        if own:
            worst = max(own, key=lambda one: _distance(*one[1:]))
            apart.append(Apart(metric, len(own), len(scored), *worst))
    return sorted(apart, key=lambda one: (one.metric not in HEADLINES, one.metric)), unlike, alike


def _differ(a: float, b: float) -> bool:
    return a != b and not (a != a and b != b)  # NaN is itself


def _distance(a: float, b: float) -> float:
    away = abs(a - b)
    return away if away == away else float("inf")


def _verdict(unlike: Sequence[Pair], alike: Sequence[Pair]) -> Iterator[str]:
    """Say first what one wants to know."""
    cells = f"the {counted(len(unlike) + len(alike), 'cell')} that both have"
    if not unlike:
        yield f"All scores of {cells} are equal to the last bit."
        return
    yield f"Scores differ in {len(unlike)} of {cells}."
    common, only = suspects(unlike, alike)
    if only:
        yield f"In every one of these differ, and in no other cell: {_named(only)}."
    elif common:
        yield f"In every one of these differ: {_named(common)}."
    else:
        yield (
            "Nothing that is recorded differs in all of them. Another processor of the same name, "
            "or a library that is not listed, can move last digits. To measure that, run a cell "
            "with replicate=0,1."
        )


def _named(causes: Sequence[tuple[str, str]]) -> str:
    names = ["the calibration set" if name == HASH else name for _, name in causes]
    more = len(names) - MAX_CAUSES
    return ", ".join([*names[:MAX_CAUSES], *([f"{more} more (below)"] if more > 0 else [])])


def _cells(shared: Shared, first: Sequence[ReadCell], second: Sequence[ReadCell]) -> list[str]:
    told = [f"in both      {len(shared.pairs)}"]
    for name, only in (("A", shared.only_first), ("B", shared.only_second)):
        if only:
            more = f", and {len(only) - MAX_NAMED} more" if len(only) > MAX_NAMED else ""
            shown = "; ".join(named(record) for record in only[:MAX_NAMED])
            told.append(f"only in {name}    {len(only)}: {shown}{more}")
    for name, cells in (("A", first), ("B", second)):
        num = sum(record["status"] not in ("done", CONTAINED) for record in cells)
        told += [f"not done     {num} in {name}"] if num else []
    return told


def _scores(apart: Sequence[Apart]) -> list[str]:
    """Lay out each score with its largest difference, headline scores first."""
    rows: list[Sequence[str]] = [("score", "cells", "largest difference", "A", "B", "where")]
    for one in apart[:MAX_SCORES]:
        values = (f"{value:.{DIGITS}g}" for value in (one.size, one.first, one.second))
        rows.append((one.metric, f"{one.num} of {one.of}", *values, one.cell))
    more = len(apart) - MAX_SCORES
    return [*_table(rows), *([f"and {more} more scores"] if more > 0 else [])] if apart else []


def _scored_once(shared: Shared) -> list[str]:
    """Name the scores that no shared cell of the other sweep has."""
    first, second = (
        {metric for pair in shared.pairs for metric in pair[place]["scores"]} for place in (0, 1)
    )
    both = [("A", sorted(first - second)), ("B", sorted(second - first))]
    return [f"{name}  {', '.join(metrics)}" for name, metrics in both if metrics]


def _facts(found: Sequence[Difference], num_cells: int) -> list[str]:
    if not found:
        return []
    rows: list[Sequence[str]] = [("", "A", "B", "cells")]
    for one in found:
        values = (_cut(value) for value in (one.first, one.second))
        rows.append((one.name, *values, f"{one.num} of {num_cells}"))
    return _table(rows)


def _of_sets(shared: Shared, found: Sequence[Difference]) -> list[str]:
    """Say how many sets are the same, and what the cards of the others say."""
    num, same = equal_sets(shared)
    if not num:
        return []
    if same == num:
        told = [f"the same in all {num} cells that read one, by the hash of their tokens"]
    else:
        told = [f"the same in {same} of {num} cells that read one, by the hash of their tokens"]
    cards = [one for one in found if one.name != HASH]
    if same < num and not cards:
        told.append("what their cards say is the same: the text that was drawn from is not")
    return [*told, *_facts(cards, len(shared.pairs))]


def _axes(first: Sequence[ReadCell], second: Sequence[ReadCell]) -> list[str]:
    """Lay out what the axes of both sweeps are."""
    rows: list[Sequence[str]] = [("", "A", "B")]
    for axis in AXES:
        values = []
        for cells in (first, second):
            seen = {record["cell"].get(axis) for record in cells if record["status"] == "done"}
            known = sorted(seen - {None}, key=lambda one: (isinstance(one, str), one))
            values.append(_cut(", ".join(map(str, known)) or "-"))
        rows.append((axis, *values))
    return _table(rows)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}..."


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
