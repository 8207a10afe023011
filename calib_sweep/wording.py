"""Words for a person at a terminal: numbers of things, and what to type."""

import re
import shlex
from collections.abc import Iterable
from difflib import get_close_matches

# What Hydra and YAML read as text without quotes, on the command line.
PLAIN = re.compile(r"[A-Za-z0-9_./:+%@?|-]([A-Za-z0-9_./:+%@?| -]*[A-Za-z0-9_./:+%@?|-])?")
NO_TEXT = re.compile(
    r"(null|true|false|[+-]?(nan|inf|\.?[0-9][0-9_.]*(e[+-]?[0-9][0-9_]*)?))", re.I
)
# Within quotes a backslash is itself, but for those before a quote and at the end.
BEFORE_QUOTE = re.compile(r"(\\*)(\"|\Z)")


def counted(number: int, what: str, plural: str | None = None) -> str:
    """Return a number of things in words: `1 cell`, `2 cells`, `1,000 cells`."""
    return f"{number:,} {what if number == 1 else plural or what + 's'}"


def meant(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest of `known`, behind a space; nothing where none is near."""
    return "".join(f" Did you mean {near}?" for near in get_close_matches(word, list(known), n=1))


def typed(key: str, value: object) -> str:
    """Return KEY=VALUE as one word to type: quoted for Hydra, then for the shell, if need be."""
    return shlex.quote(f"{key}={_literal(value)}")


def _literal(value: object) -> str:
    """Write a value as Hydra reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_literal, value))}]"
    text = str(value)
    if not isinstance(value, str) or (PLAIN.fullmatch(text) and not NO_TEXT.fullmatch(text)):
        return text
    return '"' + BEFORE_QUOTE.sub(_escaped, text) + '"'


def _escaped(found: re.Match[str]) -> str:
    return found[1] * 2 + found[2].replace('"', '\\"')
