"""What the settings of text that the model writes have to be, each alone and together."""

from collections.abc import Mapping, Sequence
from typing import Any

from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.generating.first_words import LISTS
from calib_sweep.errors import collected, require
from calib_sweep.values import is_int, is_number


def check_settings(own: Mapping[str, Any]) -> None:
    """Raise `ConfigError` with everything that is wrong with the settings of `Generated`."""
    with collected() as problems:
        for key, (accepts, expected, example) in ALONE.items():
            remedy = f"Example: dataset.{key}={example}."
            problems.of(require, accepts(own[key]), f"dataset.{key}", own[key], expected, remedy)
    _check_temperatures(own["t_init"], own["t_final"], own["t_tokens"], own["prefix"] is not None)
    with collected() as problems:
        problems.of(_check_pair, own, "prefix", "prefix_tokens", 2)
        problems.of(_check_pair, own, "keep_below", "pool_size", 192)
        problems.of(
            require,
            own["prefix"] is None or own["first_tokens"] is None,
            "dataset.first_tokens",
            own["first_tokens"],
            "null with dataset.prefix, from which texts go on",
            "Type dataset.first_tokens=null.",
        )


def _check_temperatures(t_init: float, t_final: float, t_tokens: int, has_prefix: bool) -> None:
    with collected() as problems:
        problems.of(
            require,
            t_tokens > 0 or t_init == t_final,
            "dataset.t_tokens",
            t_tokens,
            f"an integer >= 1, as t_init={t_init} and t_final={t_final} differ",
            "Example: dataset.t_tokens=10.",
        )
        problems.of(
            require,
            t_tokens == 0 or t_init != t_final,
            "dataset.t_tokens",
            t_tokens,
            f"0, as t_init and t_final are both {t_final}",
            "Type dataset.t_tokens=0, or another dataset.t_init.",
        )
        problems.of(
            require,
            max(t_init, t_final) > 0 or has_prefix,
            "dataset.t_final",
            t_final,
            "a number above 0 without dataset.prefix, as the likeliest text is the same for every "
            "sample and seed",
            "Example: dataset.t_init=1.0 dataset.t_final=1.0.",
        )


def _check_pair(own: Mapping[str, Any], what: str, number: str, example: int) -> None:
    """A setting that has an effect only with another one is refused alone."""
    is_asked = own[what] is not None
    require(
        is_asked == (own[number] is not None),
        f"dataset.{number}",
        own[number],
        f"a number with dataset.{what}" if is_asked else f"null without dataset.{what}",
        f"Example: dataset.{number}={example if is_asked else 'null'}.",
    )


def _is_at_least(value: object, least: float) -> bool:
    return is_number(value) and least <= value < float("inf")


def _is_share(value: object) -> bool:
    return is_number(value) and 0 < value <= 1


def _are_words(value: object) -> bool:
    if value is None or isinstance(value, str):
        return value is None or value in LISTS
    if not isinstance(value, Sequence) or not value:
        return False
    return all(isinstance(word, str) and word.strip() != "" for word in value)


def _is_count(value: object) -> bool:
    return value is None or is_int(value, 1)


# Setting: (is it acceptable?, what is, what to type)
ALONE = {
    "t_init": (lambda v: _is_at_least(v, 0), "a number >= 0", 1.0),
    "t_final": (lambda v: _is_at_least(v, 0), "a number >= 0", 1.0),
    "t_tokens": (lambda v: is_int(v, 0), "an integer >= 0", 10),
    "top_k": (_is_count, "an integer >= 1, or null for all tokens", 50),
    "top_p": (
        lambda v: v is None or _is_share(v),
        "a number above 0 and at most 1, or null for all tokens",
        0.95,
    ),
    "repetition_penalty": (
        lambda v: _is_at_least(v, 0) and v > 0,
        "a number above 0, where 1 is no penalty",
        1.2,
    ),
    "first_tokens": (
        _are_words,
        f"a list of words, or {' or '.join(LISTS)}, or null for any",
        "english",
    ),
    "prefix": (
        lambda v: v is None or isinstance(v, Dataset),
        "a dataset, chosen by dataset=continued dataset@dataset.prefix=NAME, or null",
        "null",
    ),
    "prefix_tokens": (_is_count, "an integer >= 1, or null", 2),
    "keep_below": (
        lambda v: v is None or (_is_share(v) and v < 1),
        "a number above 0 and below 1, or null",
        0.8,
    ),
    "pool_size": (_is_count, "an integer >= 1, or null", 192),
    "rows": (_is_count, "an integer >= 1, or null to decide by device", 32),
}
