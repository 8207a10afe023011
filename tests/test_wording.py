"""What is printed to be typed can be typed."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from calib_sweep.wording import counted, typed

VALUES = [0.5, 3, -1e-05, None, True, "wanda", "2:4", "null", "1e5", "true", ""]
VALUES += ["/home/me/my texts/a.txt", "/data/c4 (1)/x,y.txt", "it's", 'a "b"', " a ", "a=b", "~/x"]
VALUES += ["\u6a21.txt", "$HOME/*.txt", [1, "a b.txt"], ["en/part-0.json.gz"], {"a": 0.5, "b": [1]}]
VALUES += ["a\\", "a\\\\", "\\", 'a\\"b', 'a\\\\"', "a\\b", "a\\[b\\]", "C:\\my texts\\"]
VALUES += [".5", "-.5e3", "+.5_0", "5.", "1_0.5_0", "1.2.3", "-nan", "+inf", ".", "-", "_1", "v1.5"]
VALUES += ["a[b]", "{a}", "range(3)", "1,2", "a\nb", "\t", ["a\\", ".5"], {"a": "b\\"}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_to_be_typed_gives_the_value_back(value):
    (word,) = shlex.split(typed("some.key", value))
    override = OverridesParser.create().parse_override(word)
    assert (override.key_or_group, override.value()) == ("some.key", value)
    assert not override.is_sweep_override()


def test_what_needs_no_quotes_has_none():
    assert typed("method.pattern", "2:4") == "method.pattern=2:4"
    assert typed("a", ["b.txt"]) == "'a=[b.txt]'"


def test_one_thing_is_not_several():
    assert [counted(n, "cell") for n in (0, 1, 2, 1000)] == [
        "0 cells",
        "1 cell",
        "2 cells",
        "1,000 cells",
    ]
    assert counted(2, "copy", "copies") == "2 copies"
