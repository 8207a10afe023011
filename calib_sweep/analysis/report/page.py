"""A document as one HTML page that needs no other file: style, script and figures are inside.

The page is whole without its script (page.js), which only lets tables be sorted and filtered, and
unfolds the meanings of columns before printing.
"""

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from calib_sweep.analysis import formatting
from calib_sweep.analysis.report.document import (
    Block,
    Bullets,
    Callout,
    Figures,
    Fold,
    Heading,
    Image,
    Paragraph,
    Passage,
    SideBySide,
    Table,
)

MIN_CHAPTERS = 3  # from which a table of contents helps


def to_html(blocks: Sequence[Block], title: str, images: Mapping[str, bytes]) -> str:
    """Write the document as one page; `images` are SVG, by the path of the PNG they replace."""
    here = Path(__file__).parent
    style, script = (here / f"page.{kind}" for kind in ("css", "js"))
    body = [_block(block, images) for block in blocks]
    place = next((i for i, b in enumerate(blocks) if isinstance(b, Heading) and b.level == 2), 0)
    body.insert(place, _contents(blocks))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_shown(title)}</title>\n"
        f"<style>\n{style.read_text()}</style>\n</head>\n<body>\n<main>\n"
        f"{chr(10).join(body)}\n</main>\n<script>\n{script.read_text()}</script>\n"
        f"</body>\n</html>\n"
    )


def _shown(text: str) -> str:
    return html.escape(formatting.unbroken(text))


def _contents(blocks: Sequence[Block]) -> str:
    chapters = [block for block in blocks if isinstance(block, Heading) and block.level == 2]
    if len(chapters) < MIN_CHAPTERS:
        return ""
    links = [f'<a href="#{c.anchor}">{_shown(c.text)}</a>' for c in chapters]
    return f'<nav aria-label="Contents">{" ".join(links)}</nav>'


def _block(block: Block, images: Mapping[str, bytes]) -> str:
    writers: dict[type, Callable[..., str]] = {
        Heading: _heading,
        Paragraph: lambda b: f"<p>{_shown(b.text)}</p>",
        Bullets: lambda b: _bullets(b.items),
        Callout: _callout,
        Table: _table,
        Image: lambda b: _image(b, images),
        Figures: lambda b: _figures(b, images),
        SideBySide: _beside,
        Fold: lambda b: _fold(b, images),
    }
    return writers[type(block)](block)


def _heading(block: Heading) -> str:
    name = f' id="{block.anchor}"' if block.level == 2 else ""
    return f"<h{block.level}{name}>{_shown(block.text)}</h{block.level}>"


def _bullets(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_shown(item)}</li>' for item in items)}</ul>"


def _callout(block: Callout) -> str:
    title = _shown(block.title)
    return f'<section class="callout"><strong>{title}</strong>{_bullets(block.items)}</section>'


def _fold(block: Fold, images: Mapping[str, bytes]) -> str:
    inside = "\n".join(_block(inner, images) for inner in block.blocks)
    return f"<details><summary>{_shown(block.title)}</summary>\n{inside}\n</details>"


def _figures(block: Figures, images: Mapping[str, bytes]) -> str:
    inside = "\n".join(_image(image, images) for image in block.images)
    caption = f"<figcaption>{_shown(block.caption)}</figcaption>"
    return f'<figure><div class="images">{inside}</div>{caption}</figure>'


def _beside(block: SideBySide) -> str:
    """Write rows of passages; what has no room beside the others is scrolled to, in all rows."""
    rows = []
    for row in block.rows:
        cells = [
            "<span></span>" if passage is None else _passage(heading, passage)
            for heading, passage in zip(block.header, row, strict=True)
        ]
        rows.append(f'<div class="row">{"".join(cells)}</div>')
    columns = f' style="--columns: {len(block.header)}"'
    label = _shown(", ".join(block.header))
    region = f'<div class="beside" role="region" tabindex="0" aria-label="{label}"{columns}>'
    return "\n".join([region, *rows, "</div>"])


def _passage(heading: str, passage: Passage) -> str:
    title = f"<h4>{_shown(heading)}<small>{_shown(passage.title)}</small></h4>"
    return f'<div>{title}<p class="passage">{html.escape(passage.text)}</p></div>'


def _image(image: Image, images: Mapping[str, bytes]) -> str:
    data = base64.b64encode(images[image.path]).decode()
    return f'<img alt="{_shown(image.alt)}" src="data:image/svg+xml;base64,{data}">'


def _table(table: Table) -> str:
    """Write a table that can be scrolled on its own where the page is narrow."""
    headings = [_column_head(table, c) for c in range(len(table.header))]
    rows = [
        "".join(_cell(table, cell, r, c) for c, cell in enumerate(row))
        for r, row in enumerate(table.rows)
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    label = _shown(table.caption or "Table")
    caption = f"<caption>{_shown(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="table"><div class="wide" role="region" tabindex="0" aria-label="{label}">'
        f"<table>{caption}\n<thead><tr>{''.join(headings)}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table></div>{_meanings(table)}</div>"
    )


def _column_head(table: Table, c: int) -> str:
    heading, kind = table.header[c], _kind(table, c)
    meaning = table.meanings.get(heading)
    title = f' title="{_shown(meaning)}"' if meaning else ""
    return f'<th scope="col"{kind}{title}>{_shown(heading)}</th>'


def _cell(table: Table, text: str, r: int, c: int) -> str:
    shown = _shown(text)
    shown = f"<b>{shown}</b>" if (r, c) in table.best else shown
    return f"<td{_kind(table, c)}>{shown}</td>"


def _kind(table: Table, c: int) -> str:
    return "" if c < table.num_names else ' class="number"'


def _meanings(table: Table) -> str:
    """Write beside the table what a pointer shows above it: a phone has no pointer."""
    told = [(name, table.meanings[name]) for name in table.header if name in table.meanings]
    if not told:
        return ""
    items = [f"<dt>{_shown(name)}</dt><dd>{_shown(text)}</dd>" for name, text in told]
    return (
        f'<details class="meanings"><summary>What the columns say</summary>'
        f"<dl>{''.join(items)}</dl></details>"
    )
