"""The table at the end of a sweep: every method beside the dense model, perplexity and accuracy.

The two halves stand side by side where the terminal is wide enough, else one below the other.
Numbers are never wrapped or cut; names are, on a terminal too narrow for them.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from calib_sweep.analysis import formatting
from calib_sweep.analysis.metrics import NONE_DECLARED, OURS, Declared, Metrics
from calib_sweep.analysis.report import stopping
from calib_sweep.analysis.report.findings import findings
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.scores.groups import Group, group_rows
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.refusals import known_metrics
from calib_sweep.analysis.scores.table import Row, read_cells, to_rows
from calib_sweep.analysis.tables import controls
from calib_sweep.errors import printable
from calib_sweep.places import CONCLUSION, REPORT

NUMBER_HEADINGS = ("mean", "SD", "min..max", "n", "vs dense")
NAME_GAP, NUMBER_GAP, HALF_GAP = "  ", "  ", "   "
MIN_NAME_WIDTH = 6
MAX_SENTENCES = 16
INDENT = "  "  # of a sentence from its second line on
MAX_FAILURES = 20


def terminal_summary(
    folder_or_rows: str | Path | Sequence[Row],
    *,
    title: str,
    seconds: float | None = None,
    declared: Declared = NONE_DECLARED,
    material: Material | None = None,
) -> "Summary":
    """Make what a person sees at the end of a sweep, for `rich.console.Console.print`.

    `declared` of metrics: as the report had it. `material`: what the folder holds, where that has
    been read.
    """
    known = OURS
    if material is not None:
        assert isinstance(folder_or_rows, str | Path), folder_or_rows
        page = Path(folder_or_rows) / REPORT / "index.html"
        rows, known = material.rows, material.known
    elif isinstance(folder_or_rows, str | Path):
        folder = Path(folder_or_rows)
        cells, page = read_cells(folder, declared), folder / REPORT / "index.html"
        rows, known = to_rows(cells), known_metrics(cells, declared)
    else:
        rows, page = list(folder_or_rows), None
    return Summary(tuple(rows), _title(rows, title, seconds), page, known)


def _written(page: Path | None) -> list[str]:
    """Read the sentences of the report; none where it is not written, or they are damaged.

    Making them anew would take scipy and pandas, whose import takes longer than all the rest.
    """
    try:
        said = [] if page is None else json.loads((page.parent / CONCLUSION).read_bytes())
    except (OSError, ValueError):
        return []
    is_list = isinstance(said, list) and all(isinstance(sentence, str) for sentence in said)
    return said if is_list else []


def _apart(said: list[str], page: Path | None) -> tuple[list[str], list[str]]:
    """Split off why there are no more seeds: told whole, whatever else there is to say."""
    told = None if page is None else stopping.read(page.parent.parent)
    if told is None or (reason := stopping.reason(told)) not in said:
        return said, []
    return said[: said.index(reason)], said[said.index(reason) :]


def _title(rows: Sequence[Row], title: str, seconds: float | None) -> str:
    count = controls.count_cells(rows)
    cells = "1 cell" if count.total == 1 else f"{count.total} cells"
    parts = [cells, f"{count.done} done", f"{count.failed} failed"]
    parts += [f"{count.unfinished} unfinished"] if count.unfinished else []
    parts += [formatting.duration(seconds)] if seconds is not None else []
    return f"{title}: {', '.join(parts)}"


@dataclass(frozen=True)
class Summary:
    """A rich renderable that fits itself to the width it is given."""

    rows: tuple[Row, ...]
    title: str
    page: Path | None  # where the report is
    known: Metrics = OURS  # of the scores

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(printable(self.title), style="bold")
        metrics = sorted({str(row["metric"]) for row in self.rows if row["status"] == "done"})
        headlines = self.known.headlines(metrics)
        own = (row for row in self.rows if row["metric"] in headlines)
        groups = group_rows(own, self.known)
        headings = {m: formatting.heading(m, metrics, self.known) for m in headlines}
        yield from table_lines(groups, headings, options.max_width)
        yield from self._sentences(groups, options.max_width)
        yield from self._failures()
        if self.page is not None and self.page.exists():
            yield Text(printable(f"report: {_near(self.page)}"), overflow="fold")

    def _sentences(self, groups: Sequence[Group], width: int) -> Iterator[Text]:
        said, last = _apart(_written(self.page), self.page)
        for sentence in said[:MAX_SENTENCES]:
            yield from _wrapped(printable(sentence), width)
        if len(said) > MAX_SENTENCES:
            yield Text(f"{len(said) - MAX_SENTENCES} more sentences are in the report.")
        for sentence in last:
            yield from _wrapped(printable(sentence), width)
        yield from (Text(sentence) for sentence in findings(self.rows, groups))

    def _failures(self) -> Iterator[Text]:
        failed = controls.failures(self.rows)
        for cell, why in failed[:MAX_FAILURES]:
            status = "unfinished" if why.startswith("no record") else "failed"
            line = Text.assemble((f"{status}: ", "bold red"), f"{cell}: {why}")
            line.no_wrap, line.overflow = True, "ignore"  # whole, wherever it is read
            yield line
        if len(failed) > MAX_FAILURES:
            yield Text(f"{len(failed) - MAX_FAILURES} more are listed in the report.")


def _wrapped(sentence: str, width: int) -> Iterator[Text]:
    """Wrap a sentence, with numbers and units on one line; all but the first line indented."""
    text = formatting.unbroken(sentence)
    lines = textwrap.wrap(text, width, subsequent_indent=INDENT, break_on_hyphens=False)
    for line in lines:
        yield Text(line.replace(formatting.NO_BREAK, " "), no_wrap=True, overflow="fold")


def _near(path: Path) -> str:
    """Return `path` as one would type it from here."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@dataclass(frozen=True)
class Block:
    """Columns under one heading, padded to their widths; line 0 holds the columns' headings."""

    heading: str
    lines: list[str]

    @cached_property
    def width(self) -> int:
        return max([cell_len(self.heading), *(cell_len(line) for line in self.lines)])


def table_lines(groups: Sequence[Group], headings: Mapping[str, str], width: int) -> list[Text]:
    """Make the table as lines: its halves side by side if `width` allows, else stacked.

    `headings`: of each score that is shown.
    """
    labels = list({group.label: group for group in groups}.values())
    halves = [
        _numbers_block(metric, labels, groups, heading)
        for metric, heading in headings.items()
        if any(group.metric == metric for group in groups)
    ]
    if not halves:
        return []
    names = _name_columns(labels)
    beside = sum(half.width for half in halves) + len(HALF_GAP) * len(halves)
    if _block_width(names) + beside <= width:
        return _joined([_name_block(names, None), *halves])
    lines = []
    for half in halves:
        room = width - half.width - len(HALF_GAP)
        lines += [*([Text()] if lines else []), *_joined([_name_block(names, room), half])]
    return lines


def _joined(blocks: Sequence[Block]) -> list[Text]:
    """Put blocks side by side: a line of headings, a line of column headings, the rows."""
    rows = zip(*([block.heading, *block.lines] for block in blocks), strict=True)
    texts = []
    for index, row in enumerate(rows):
        padded = [set_cell_size(part, block.width) for part, block in zip(row, blocks, strict=True)]
        style = "bold" if index < 2 else ""
        texts.append(
            Text(HALF_GAP.join(padded).rstrip(), style=style, no_wrap=True, overflow="ignore")
        )
    return texts


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


def _block_width(columns: Sequence[Sequence[str]]) -> int:
    return sum(max(map(cell_len, c)) for c in columns) + len(NAME_GAP) * (len(columns) - 1)


def _name_block(columns: Sequence[Sequence[str]], room: int | None) -> Block:
    """Put columns of names into a block, the widest ones cut until they fit into `room`."""
    widths = [max(map(cell_len, column)) for column in columns]
    if room is not None:
        room -= len(NAME_GAP) * (len(columns) - 1)
        while sum(widths) > room and max(widths) > MIN_NAME_WIDTH:
            widths[widths.index(max(widths))] -= 1
    rows = zip(*columns, strict=True)
    lines = [NAME_GAP.join(_fit(c, w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return Block("", lines)


def _fit(name: str, width: int) -> str:
    return set_cell_size(name if cell_len(name) <= width else f"{name[: width - 3]}...", width)
