"""A document of headings, lists, tables and images, and its Markdown; `page` has its HTML."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2

    @property
    def anchor(self) -> str:
        """Return what a link within the page names; equal texts have equal anchors."""
        return re.sub(r"[^a-z0-9]+", "-", self.text.lower()).strip("-")


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Callout:
    """A box for a reader in a hurry: a title, and sentences below it."""

    title: str
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """The first `num_names` columns are words, the others numbers.

    `meanings`: what a column's heading says in full, by heading. `best`: (row, column) of values
    to mark.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_names: int
    caption: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)
    best: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Image:
    path: str  # relative to the document; an SVG of the same name is shown in HTML
    alt: str


@dataclass(frozen=True)
class Figures:
    """Images that belong together, side by side where there is room, and what they show."""

    images: Sequence[Image]
    caption: str


@dataclass(frozen=True)
class Passage:
    """A text of somebody else's, kept as it is: lines, spaces and all."""

    title: str
    text: str


@dataclass(frozen=True)
class SideBySide:
    """Rows of passages to be read beside each other, under a heading for each column."""

    header: Sequence[str]
    rows: Sequence[Sequence[Passage | None]]


@dataclass(frozen=True)
class Fold:
    """Blocks that a page shows on request only."""

    title: str
    blocks: Sequence["Block"]


Block = Heading | Paragraph | Bullets | Callout | Table | Image | Figures | SideBySide | Fold


def to_markdown(blocks: Sequence[Block]) -> str:
    """Return the document as GitHub-flavoured Markdown."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    writers: dict[type, Callable[..., str]] = {
        Heading: lambda b: f"{'#' * b.level} {_plain(b.text)}",
        Paragraph: lambda b: _plain(b.text),
        Bullets: lambda b: _bullets(b.items),
        Callout: lambda b: f"**{_plain(b.title)}**\n\n{_bullets(b.items)}",
        Table: _markdown_table,
        Image: lambda b: f"![{_plain(b.alt)}]({b.path})",
        Figures: lambda b: "\n\n".join([*map(_markdown, b.images), _plain(b.caption)]),
        SideBySide: _markdown_passages,
        Fold: lambda b: "\n\n".join([f"**{_plain(b.title)}**", *map(_markdown, b.blocks)]),
    }
    return writers[type(block)](block)


def _markdown_passages(block: SideBySide) -> str:
    """Write passages one below the other, as quotations in code fences."""
    parts = []
    for row in block.rows:
        for heading, passage in zip(block.header, row, strict=True):
            if passage is not None:
                fence = "`" * max(3, 1 + _longest_fence(passage.text))
                title = f"**{_plain(heading)}**, {_plain(passage.title)}"
                parts += [title, f"{fence}text\n{passage.text}\n{fence}"]
    return "\n\n".join(parts)


def _longest_fence(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _bullets(items: Sequence[str]) -> str:
    return "\n".join(f"- {_plain(item)}" for item in items)


def _plain(text: str) -> str:
    """Return text on one line, whose stars, brackets and the like stay what they are."""
    return "".join(f"\\{c}" if c in "\\`*<[|" else c for c in " ".join(text.split()))


def _markdown_table(table: Table) -> str:
    rule = ["---"] * table.num_names + ["---:"] * (len(table.header) - table.num_names)
    lines = [[_plain(cell) for cell in table.header], rule]
    for r, row in enumerate(table.rows):
        marks = ["**" if (r, c) in table.best else "" for c in range(len(row))]
        cells = zip(row, marks, strict=True)
        lines.append([f"{mark}{_plain(cell)}{mark}" for cell, mark in cells])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_plain(table.caption)}\n\n{text}" if table.caption else text
