"""Text that others wrote, on its way to a terminal."""

import logging

import pytest

from calib_sweep.console import PlainFormatter
from calib_sweep.errors import ConfigError, UnavailableError, collected, printable


def test_control_characters_are_written_out():
    assert printable("a\x1b[31mred\x07") == "a\\x1b[31mred\\x07"
    assert (
        printable("over\rwritten\x9b2J\u202egnp\ud800") == "over\\rwritten\\x9b2J\\u202egnp\\ud800"
    )


def test_ordinary_text_stays_as_it_is():
    text = "two lines\n\tand 维基 \N{FAMILY}\N{ZERO WIDTH JOINER}"
    assert printable(text) == text


def test_the_log_sends_a_terminal_no_commands_of_others():
    line = logging.LogRecord(
        "calib_sweep", logging.INFO, "", 0, "%s failed", ("\x1b]0;x\x07",), None
    )
    assert PlainFormatter("%(message)s").format(line) == "\\x1b]0;x\\x07 failed"


@pytest.mark.parametrize("kinds", [(UnavailableError,), (UnavailableError, ConfigError)])
def test_what_is_merely_not_here_stays_so_unless_something_else_is_wrong(kinds):
    def refuse(kind, text):
        raise kind(text)

    with pytest.raises(ConfigError) as caught, collected() as problems:
        for number, kind in enumerate(kinds):
            problems.of(refuse, kind, f"problem {number}")
    assert type(caught.value) is kinds[-1]
    assert len(caught.value.problems) == len(kinds)


def test_problems_found_without_a_call_are_told_once_with_the_others():
    with pytest.raises(ConfigError) as caught, collected() as problems:
        problems.add("one", "two")
        problems.add("one")
    assert caught.value.problems == ("one", "two")
