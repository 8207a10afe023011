"""Sentence templates: `{slot}` is filled, `[a|b|]` chooses a branch (or none), both nest.

`{x=noun}` fills from `noun` and remembers it as `x` for the rest of the sentence. A slot's value in
the scope is a string, a sequence to draw from, or a function of (draw, scope).
"""

import re
from collections.abc import Callable, Mapping
from functools import cache

from calib_sweep.miniature.text.draw import Draw

Value = str | tuple[str, ...] | list[str] | Callable
Scope = dict[str, Value]

_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])")
_TOKEN = re.compile(r"[\[\]|]|\{[^}]*\}|[^\[\]|{]+")


@cache
def compiled(template: str) -> tuple:
    """The template as nested tuples: str, ("slot", remembered name, source) or ("or", branches)."""
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
            return ("or", tuple(branches)), index + 1
        index += 1


def _slot(text: str) -> tuple:
    name, _, source = text.partition("=")
    return ("slot", name, source) if source else ("slot", "", name)


def fill(template: str, scope: Mapping[str, Value], draw: Draw) -> str:
    """One sentence: first letter raised, `a` or `an` put right."""
    local = dict(scope)
    out: list[str] = []
    _render(compiled(template), local, draw, out)
    text = _ARTICLE.sub(r"\1n ", "".join(out).replace("  ", " "))
    return text[:1].upper() + text[1:]


def _render(parts: tuple, scope: Scope, draw: Draw, out: list[str]) -> None:
    for part in parts:
        if type(part) is str:
            out.append(part)
        elif part[0] == "or":
            _render(draw.pick(part[1]), scope, draw, out)
        else:
            value = resolve(scope[part[2]], scope, draw)
            if part[1]:
                scope[part[1]] = value
            out.append(value)


def resolve(value: Value, scope: Scope, draw: Draw) -> str:
    """A slot's value as text."""
    if isinstance(value, str):
        return value
    if callable(value):
        return value(draw, scope)
    assert isinstance(value, tuple | list), value
    return draw.pick(value)
