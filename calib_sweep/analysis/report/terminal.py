"""The table at the end of a sweep: every method beside the dense model, perplexity and accuracy.

The two halves stand side by side where the terminal is wide enough, else one below the other.
Numbers are never wrapped or cut; names are, on a terminal too narrow for them.
"""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from calib_sweep.analysis import formatting
from calib_sweep.analysis.metrics import NONE_DECLARED, Declared
from calib_sweep.analysis.report import stopping
from calib_sweep.analysis.report.told import Block, Told
from calib_sweep.analysis.scores.refusals import known_metrics
from calib_sweep.analysis.scores.table import Row, read_cells, to_rows
from calib_sweep.errors import printable
from calib_sweep.places import CONCLUSION, REPORT

NAME_GAP, HALF_GAP = "  ", "   "
MIN_NAME_WIDTH = 6
MAX_SENTENCES = 16
INDENT = "  "  # of a sentence from its second line on


def terminal_summary(
    folder_or_rows: str | Path | Sequence[Row],
    *,
    title: str,
    seconds: float | None = None,
    declared: Declared = NONE_DECLARED,
    told: Told | None = None,
) -> "Summary":
    """Make what a person sees at the end of a sweep, for `rich.console.Console.print`.

    `declared` of metrics: as the report had it. `told`: of what the folder holds, where that is
    known.
    """
    page = None
    if isinstance(folder_or_rows, str | Path):
        folder = Path(folder_or_rows)
        page = folder / REPORT / "index.html"
        if told is None:
            cells = read_cells(folder, declared)
            told = Told.of(to_rows(cells), known_metrics(cells, declared))
    elif told is None:
        told = Told.of(list(folder_or_rows))
    parts = [told.count, *([] if seconds is None else [formatting.duration(seconds)])]
    return Summary(told, f"{title}: {', '.join(parts)}", page)


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


@dataclass(frozen=True)
class Summary:
    """A rich renderable that fits itself to the width it is given."""

    told: Told
    title: str
    page: Path | None  # where the report is

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(printable(self.title), style="bold")
        yield from _table_lines(self.told, options.max_width)
        yield from self._sentences(options.max_width)
        yield from self._failures()
        if self.page is not None and self.page.exists():
            yield Text(printable(f"report: {_near(self.page)}"), overflow="fold")

    def _sentences(self, width: int) -> Iterator[Text]:
        said, last = _apart(_written(self.page), self.page)
        for sentence in said[:MAX_SENTENCES]:
            yield from _wrapped(printable(sentence), width)
        if len(said) > MAX_SENTENCES:
            yield Text(f"{len(said) - MAX_SENTENCES} more sentences are in the report.")
        for sentence in last:
            yield from _wrapped(printable(sentence), width)
        yield from (Text(sentence) for sentence in self.told.findings)

    def _failures(self) -> Iterator[Text]:
        for status, which in self.told.failures:
            line = Text.assemble((f"{status}: ", "bold red"), which)
            line.no_wrap, line.overflow = True, "ignore"  # whole, wherever it is read
            yield line
        if (num := self.told.num_failures - len(self.told.failures)) > 0:
            yield Text(f"{num} more are listed in the report.")


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


def _table_lines(told: Told, width: int) -> list[Text]:
    """Make the table as lines: its halves side by side if `width` allows, else stacked."""
    if not told.halves:
        return []
    names, halves = told.names, told.halves
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
