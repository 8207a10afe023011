"""An extension of griffe: docstrings that are laid out for a terminal, as Markdown.

examples, columns, indented lines     blocks of code
`name: what it is` of a parameter     an item of a list
a comment behind a field or method    its docstring, where it has none
"""

import re
import textwrap
from collections.abc import Collection
from typing import Any

import griffe

COLUMNS = re.compile(r"\S {3,}\S")
COMMENT = re.compile(r"\s# (.+)$")


def as_markdown(text: str, parameters: Collection[str] = ()) -> str:
    """Return a docstring with blocks and lists of Markdown for what is laid out by hand."""
    parts = re.split(r"\n\s*\n", text.strip("\n"))
    return "\n\n".join(_paragraph(part, parameters) for part in parts)


def _paragraph(text: str, parameters: Collection[str]) -> str:
    lines = text.splitlines()
    is_example = any(line.lstrip().startswith(">>>") for line in lines)
    has_columns = any(COLUMNS.search(line) for line in lines)
    if is_example or has_columns or lines[0].startswith("    "):
        return _block(lines)
    if any(line.partition(":")[0] in parameters for line in lines):
        return "\n".join(_item(line, parameters) for line in lines)
    indented = [number for number, line in enumerate(lines) if line.startswith("    ")]
    first = indented[0] if indented else len(lines)
    return "\n".join(lines[:first] + (["", _block(lines[first:])] if indented else []))


def _block(lines: list[str]) -> str:
    return "\n".join(["```python", textwrap.dedent("\n".join(lines)), "```"])


def _item(line: str, parameters: Collection[str]) -> str:
    name, colon, rest = line.partition(":")
    return f"- `{name}`{colon}{rest}" if name in parameters else f"  {line}"


def comment_behind(obj: griffe.Object) -> str | None:
    """Return the comment at the end of the last line of `obj`."""
    found = COMMENT.search(obj.lines[-1]) if obj.lines else None
    return found.group(1) if found else None


class Docstrings(griffe.Extension):
    """Rewrites every docstring once it is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        parameters: list[str] = []
        if isinstance(obj, griffe.Function):
            parameters = [parameter.name.lstrip("*") for parameter in obj.parameters]
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value, parameters)
        elif isinstance(obj, griffe.Function | griffe.Attribute):
            comment = comment_behind(obj)
            if comment is not None:
                obj.docstring = griffe.Docstring(comment, parent=obj)
