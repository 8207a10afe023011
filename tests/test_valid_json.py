"""What is written is JSON, also where a number is not finite, and is read back as it was."""

import json
import math

import pytest

from calib_sweep import valid_json

NUMBERS = {"a": math.nan, "b": {"c": math.inf, "d": [-math.inf, 0.1 + 0.2, 3, None, True]}}


def strictly(text):
    """Read JSON as jq, R and a browser do: without numbers that it does not have."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_number_that_is_not_finite_is_written_as_its_name():
    read = strictly(valid_json.dumps(NUMBERS, indent=1))
    assert read == {
        "a": "NaN",
        "b": {"c": "Infinity", "d": ["-Infinity", 0.1 + 0.2, 3, None, True]},
    }


def test_names_become_numbers_again():
    again = valid_json.numbers({"a": "NaN", "b": {"c": "Infinity", "d": -1.5, "e": None}, "f": "x"})
    assert math.isnan(again.pop("a"))
    assert again == {"b": {"c": math.inf, "d": -1.5, "e": None}, "f": "x"}


@pytest.mark.parametrize("value", [{"b": [1, 2.5, "NaN"], "a": {"x": None}}, [], "text", 0.1, {}])
def test_all_else_is_written_as_python_writes_it(value):
    for layout in ({}, {"indent": 1}, {"sort_keys": True, "separators": (",", ":")}):
        assert valid_json.dumps(value, **layout) == json.dumps(value, **layout)


def test_what_cannot_be_written_is_no_json_either():
    with pytest.raises(ValueError, match="not JSON compliant"):
        valid_json.dumps({"a": object()}, default=lambda _: math.nan)
