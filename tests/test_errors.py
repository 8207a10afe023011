"""Text that others wrote, on its way to a terminal."""

import logging

from calib_sweep.console import PlainFormatter
from calib_sweep.errors import printable


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
