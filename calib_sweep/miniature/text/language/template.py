"""Sentence templates: `{slot}` is filled, `[a|b|]` chooses a branch (or none), both nest.

`{x=noun}` fills from `noun` and remembers it as `x` for the rest of the sentence. A slot's value in
the scope is a string, a sequence to draw from (`Ranked`: early items more often), a `Phrase` of
templates, or a function of (draw, scope). Templates are compiled once.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from calib_sweep.miniature.text.language.draw import Draw


class Ranked(tuple):
    """Words to draw from, the frequent ones first."""

    __slots__ = ()


class Phrase(tuple):
    """Compiled templates; a slot with this value is one of them, filled."""

    __slots__ = ()

    def __new__(cls, templates: Iterable[str]) -> "Phrase":
        return super().__new__(cls, map(compiled, templates))


Value = str | tuple | list[str] | Callable
Scope = dict[str, Value]

_TOKEN = re.compile(r"[\[\]|]|\{[^}]*\}|[^\[\]|{]+")
_ARTICLES = tuple((f"{a} {v}", f"{a}n {v}") for a in (" a", "A") for v in "aeiou")
_ARTICLES += ((" a hon", " an hon"), (" a heir", " an heir"), (" an use", " a use"))
_ARTICLES += ((" an unani", " a unani"),)


@cache
def compiled(template: str) -> tuple:
    """The template as nested tuples: str, (remembered name, source) or ("", "", branches)."""
    tokens = _TOKEN.findall(template)
    parts, rest = _sequence(tokens, 0)
    assert rest == len(tokens), template
    return parts


def _sequence(tokens: list[str], index: int) -> tuple[tuple, int]:
    parts: list = []
    while index < len(tokens) and tokens[index] not in "|]":
        token = tokens[index]
        if token == "[":
            branch, index = _branches(tokens, index + 1)
            parts.append(branch)
            continue
        parts.append(_slot(token[1:-1]) if token[0] == "{" else token)
        index += 1
    return tuple(parts), index


def _branches(tokens: list[str], index: int) -> tuple[tuple, int]:
    branches = []
    while True:
        branch, index = _sequence(tokens, index)
        branches.append(branch)
        if tokens[index] == "]":
            return ("", "", tuple(branches)), index + 1
        index += 1


def _slot(text: str) -> tuple:
    name, _, source = text.partition("=")
    return (name, source) if source else ("", name)


def fill(template: str, scope: Mapping[str, Value], draw: Draw) -> str:
    """One sentence: first letter raised, `a` or `an` put right."""
    out: list[str] = []
    _render(compiled(template), dict(scope), draw, out)
    text = "".join(out).replace("  ", " ")
    for wrong, right in _ARTICLES:
        if wrong in text:
            text = text.replace(wrong, right)
    return text[:1].upper() + text[1:]


def _render(parts: tuple, scope: Scope, draw: Draw, out: list[str]) -> None:
    for part in parts:
        if type(part) is str:
            out.append(part)
        elif len(part) == 3:
            branches = part[2]
            _render(branches[int(draw.unit() * len(branches))], scope, draw, out)
        else:
            name, source = part
            value = scope[source]
            kind = type(value)
            if kind is Phrase and not name:
                _render(value[int(draw.unit() * len(value))], scope, draw, out)  # type: ignore[index, arg-type]
                continue
            text = value if kind is str else resolve(value, scope, draw)
            if name:
                scope[name] = text
            out.append(text)  # type: ignore[arg-type]


def resolve(value: Value, scope: Scope, draw: Draw) -> str:
    """A slot's value as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, Ranked):
        return draw.ranked(value)
    if isinstance(value, Phrase):
        out: list[str] = []
        _render(draw.pick(value), scope, draw, out)
        return "".join(out)
    if callable(value):
        return value(draw, scope)
    assert isinstance(value, tuple | list), value
    return draw.pick(value)
