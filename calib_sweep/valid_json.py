"""JSON that every reader takes: a number that is not finite is written as text.

    NaN -> "NaN"        inf -> "Infinity"        -inf -> "-Infinity"

JSON itself has no such numbers. The texts are those of protobuf's JSON mapping: JavaScript's
`Number`, R's `as.numeric` and Python's `float` turn them back. `numbers` does so here.
"""

import json
import math
from collections.abc import Iterable
from typing import Any, TypeGuard, cast

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def dumps(value: object, **layout: Any) -> str:
    """Write plain containers as JSON. `layout`: indent, sort_keys, ... of `json.dumps`."""
    try:
        return json.dumps(value, allow_nan=False, **layout)
    except ValueError:
        return json.dumps(_with_texts(value), allow_nan=False, **layout)


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Tell whether a value that was read from JSON is an object of it."""
    return isinstance(value, dict)


def _with_texts(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if is_object(value):
        return {key: _with_texts(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(item) for item in cast("Iterable[object]", value)]
    return value


def numbers(value: Any) -> Any:
    """Turn the texts that stand for numbers back, in objects of numbers as they were read."""
    if is_object(value):
        return {key: numbers(item) for key, item in value.items()}
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value
