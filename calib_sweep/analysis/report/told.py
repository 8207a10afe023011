"""What is told of a sweep at its end, as text alone: so it can be kept, and needs no records.

Widths are of a terminal, and not known here: columns are padded to their own width.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from rich.cells import cell_len

from calib_sweep.analysis import formatting
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.findings import findings
from calib_sweep.analysis.scores.groups import Group, group_rows
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.table import Row
from calib_sweep.analysis.tables import controls
from calib_sweep.errors import printable

NUMBER_HEADINGS = ("mean", "SD", "min..max", "n", "vs dense")
NUMBER_GAP = "  "
MAX_FAILURES = 20


@dataclass(frozen=True)
class Block:
    """Columns under one heading, padded to their widths; line 0 holds the columns' headings."""

    heading: str
    lines: list[str]

    @cached_property
    def width(self) -> int:
        return max([cell_len(self.heading), *(cell_len(line) for line in self.lines)])


@dataclass(frozen=True, kw_only=True)
class Told:
    """The parts of it, in the order in which they are shown."""

    count: str  # of cells
    names: list[list[str]]  # columns of the table: heading first; none: there is no table
    halves: list[Block]  # its numbers
    findings: list[str]
    failures: list[tuple[str, str]]  # status and cell with the reason, of the first ones
    num_failures: int

    @classmethod
    def of(cls, rows: Sequence[Row], known: Metrics = OURS) -> "Told":
        """Tell of the rows of a sweep."""
        metrics = sorted({str(row["metric"]) for row in rows if row["status"] == "done"})
        headlines = known.headlines(metrics)
        groups = group_rows((row for row in rows if row["metric"] in headlines), known)
        labels = list({group.label: group for group in groups}.values())
        headings = {m: formatting.heading(m, metrics, known) for m in headlines}
        halves = [
            _numbers_block(metric, labels, groups, heading)
            for metric, heading in headings.items()
            if any(group.metric == metric for group in groups)
        ]
        failed = controls.failures(rows)
        return cls(
            count=_count(rows),
            names=_name_columns(labels) if halves else [],
            halves=halves,
            findings=findings(rows, groups),
            failures=[_failure(cell, why) for cell, why in failed[:MAX_FAILURES]],
            num_failures=len(failed),
        )

    def to_plain(self) -> dict[str, object]:
        """Return it as plain containers."""
        return asdict(self)

    @classmethod
    def of_plain(cls, told: Any) -> "Told | None":
        """Take it from plain containers, of a file that is anybody's; None where it is no such."""
        try:
            found = cls(
                count=_text(told["count"]),
                names=[_texts(column) for column in told["names"]],
                halves=[Block(_text(h["heading"]), _texts(h["lines"])) for h in told["halves"]],
                findings=_texts(told["findings"]),
                failures=[(_text(status), _text(which)) for status, which in told["failures"]],
                num_failures=int(told["num_failures"]),
            )
        except (KeyError, TypeError, ValueError):
            return None
        lengths = {len(column) for column in (*found.names, *(half.lines for half in found.halves))}
        return found if len(lengths) <= 1 and bool(found.names) == bool(found.halves) else None


def _text(value: object) -> str:
    return printable(str(value))


def _texts(values: Iterable[object]) -> list[str]:
    return [_text(value) for value in values]


def _count(rows: Iterable[Row]) -> str:
    count = controls.count_cells(rows)
    cells = "1 cell" if count.total == 1 else f"{count.total} cells"
    parts = [cells, f"{count.done} done", f"{count.failed} failed"]
    parts += [f"{count.unfinished} unfinished"] if count.unfinished else []
    return ", ".join(parts)


def _failure(cell: str, why: str) -> tuple[str, str]:
    return "unfinished" if why.startswith("no record") else "failed", f"{cell}: {why}"


def _numbers_block(
    metric: str, labels: Sequence[Group], groups: Sequence[Group], heading: str
) -> Block:
    """Put mean, SD, min..max, n, vs dense of every row into a block, right-aligned."""
    own = {group.label: group for group in groups if group.metric == metric}
    kind = next(iter(own.values())).kind
    digits = formatting.decimals_of(kind, (group.spread.sd for group in own.values()))
    empty = ["-"] * len(NUMBER_HEADINGS)
    rows = [list(NUMBER_HEADINGS)] + [
        formatting.described(own[label.label], digits) if label.label in own else empty
        for label in labels
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        NUMBER_GAP.join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
    ]
    return Block(heading, lines)


def _name_columns(labels: Sequence[Group]) -> list[list[str]]:
    """Return model (if several), method, dataset, settings that differ: heading first."""
    columns = [["method"] + [group.method for group in labels]]
    columns.append(["dataset"] + [group.dataset or "-" for group in labels])
    if len({group.model for group in labels}) > 1:
        columns.insert(0, ["model"] + [group.model for group in labels])
    naming = Naming.of_groups(labels)
    for name, heading in naming.short.items():
        columns.append([heading, *(naming.setting(group, name) for group in labels)])
    return columns
