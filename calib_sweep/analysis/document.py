"""A document of headings, paragraphs, lists, tables and images, as Markdown or one HTML page."""

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0 }
table { display: block; overflow-x: auto; white-space: nowrap }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left }
.number { text-align: right }
img { max-width: 100% }
code { font-size: .9em }
"""


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """The first `num_names` columns are words, the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_names: int


@dataclass(frozen=True)
class Image:
    path: str  # relative to the document; an SVG of the same name is shown in HTML
    alt: str


Block = Heading | Paragraph | Bullets | Table | Image


def to_markdown(blocks: Sequence[Block]) -> str:
    """The document as GitHub-flavoured Markdown."""
    writers: dict[type, Callable[..., str]] = {
        Heading: lambda b: f"{'#' * b.level} {_plain(b.text)}",
        Paragraph: lambda b: _plain(b.text),
        Bullets: lambda b: "\n".join(f"- {_plain(item)}" for item in b.items),
        Table: _markdown_table,
        Image: lambda b: f"![{_plain(b.alt)}]({b.path})",
    }
    return "\n\n".join(writers[type(block)](block) for block in blocks) + "\n"


def _plain(text: str) -> str:
    """Text on one line, whose stars and the like stay what they are."""
    return "".join(f"\\{c}" if c in "\\`*<|" else c for c in " ".join(text.split()))


def _markdown_table(table: Table) -> str:
    rule = ["---"] * table.num_names + ["---:"] * (len(table.header) - table.num_names)
    lines = [[_plain(cell) for cell in table.header], rule]
    lines += [[_plain(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_html(blocks: Sequence[Block], title: str, images: Mapping[str, bytes]) -> str:
    """The document as one page that needs no other file; `images` are SVG by path."""
    writers: dict[type, Callable[..., str]] = {
        Heading: lambda b: f"<h{b.level}>{html.escape(b.text)}</h{b.level}>",
        Paragraph: lambda b: f"<p>{html.escape(b.text)}</p>",
        Bullets: lambda b: f"<ul>{''.join(f'<li>{html.escape(i)}</li>' for i in b.items)}</ul>",
        Table: _html_table,
        Image: lambda b: _html_image(b, images[b.path]),
    }
    body = "\n".join(writers[type(block)](block) for block in blocks)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n"
        f"<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html_table(table: Table) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        kinds = ["" if i < table.num_names else ' class="number"' for i in range(len(cells))]
        parts = zip(cells, kinds, strict=True)
        fields = [f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for cell, kind in parts]
        return f"<tr>{''.join(fields)}</tr>"

    head, rows = line(table.header, "th"), [line(row, "td") for row in table.rows]
    body = "\n".join(rows)
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _html_image(image: Image, svg: bytes) -> str:
    data = base64.b64encode(svg).decode()
    return f'<p><img alt="{html.escape(image.alt)}" src="data:image/svg+xml;base64,{data}"></p>'
