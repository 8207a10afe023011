"""Python values as the words that one would type: ("method.bits", 3) is method.bits=3."""

import os
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from hydra.core.override_parser.types import Override, Quote, QuotedString

from calib_sweep.errors import ConfigError
from calib_sweep.settings import SELECTOR

# Words that Hydra's grammar takes for text as they stand; all other text is quoted.
PLAIN = re.compile(r"(?!(true|false|null|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE | re.ASCII)


def word(key: str, value: object) -> str:
    """Return the word that gives `key` this value; `ConfigError` for what cannot be typed."""
    return f"{key}={Override._get_value_element_as_str(_typed(key, value))}"


def words(group: str, choice: str, settings: Mapping[str, object]) -> list[str]:
    """Return the words for a choice from a group with some of its keys set otherwise."""
    typed = [word(group, choice)]
    for key, value in settings.items():
        if f"{group}.{key}" == SELECTOR:
            typed += _of_selector(value)
        else:
            typed.append(word(f"{group}.{key}", value))
    return typed


def _of_selector(value: object) -> list[str]:
    """Return the words for a selector: a name, or a mapping of its name and what to set."""
    if not isinstance(value, Mapping):
        return [word(SELECTOR.replace(".", "/"), value)]
    settings = dict(value)
    if "name" not in settings:
        raise ConfigError(
            f"{SELECTOR}={value!r}: expected a name among its keys. "
            "Example: selector={'name': 'zipf', 'pool_size': 1024}."
        )
    return [word(SELECTOR.replace(".", "/"), settings.pop("name"))] + [
        word(f"{SELECTOR}.{key}", item) for key, item in settings.items()
    ]


def _typed(key: str, value: object) -> Any:
    """`value` in the types of Hydra's grammar; numbers of numpy become plain ones."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        return text if PLAIN.fullmatch(text) else QuotedString(text, Quote.double)
    if isinstance(value, list | tuple):
        return [_typed(key, item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _typed(f"{key}.{name}", item) for name, item in value.items()}
    raise ConfigError(
        f"{key}={value!r}: expected a value that can be typed: text, a number, True, False, None, "
        "or a list or mapping of these."
    )
