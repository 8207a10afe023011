"""JSON that every reader takes: a number that is not finite is written as text.

    NaN -> "NaN"        inf -> "Infinity"        -inf -> "-Infinity"

JSON itself has no such numbers. The texts are those of protobuf's JSON mapping: JavaScript's
`Number`, R's `as.numeric` and Python's `float` turn them back. `numbers` does so here.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def dumps(value: object, **layout: Any) -> str:
    """Write plain containers as JSON. `layout`: indent, sort_keys, ... of `json.dumps`."""
    try:
        return json.dumps(value, allow_nan=False, **layout)
    except ValueError:
        return json.dumps(_with_texts(value), allow_nan=False, **layout)


def _with_texts(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return {key: _with_texts(item) for key, item in value.items()}
    return [_with_texts(item) for item in value] if isinstance(value, list | tuple) else value


def numbers(value: Any) -> Any:
    """Turn the texts that stand for numbers back, in containers of numbers as they were read."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value
