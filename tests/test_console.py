"""Where results go when nobody reads them any more."""

import os

import pytest
from rich.table import Table

from calib_sweep.console import output, write


@pytest.mark.parametrize("show", [write, output, lambda text: output(Table(text))])
def test_a_reader_that_leaves_ends_nothing(show, monkeypatch):
    """As with `calib-sweep ls ... | head -1`; a sweep that shows its table goes on to its end."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:  # noqa: PTH123 - a pipe
        monkeypatch.setattr("sys.stdout", stream)
        show("a line\n")
        show("another one\n" * 10_000)


def test_without_a_standard_output_nothing_is_shown(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    write("a line\n")
    output("a line")
