"""docs/python.md: its code runs as printed, block after block, and prints what the page shows."""

import contextlib
import io
import re

import pytest
from helpers.repository import ROOT

from calib_sweep.errors import ConfigError

PAGE = ROOT / "docs" / "python.md"
BLOCKS = re.findall(r"```(python|text)\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.slow
def test_the_code_of_the_page_prints_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CALIB_SWEEP_CONF", raising=False)
    names: dict[str, object] = {}
    for (kind, code), (next_kind, shown) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
        if kind != "python":
            continue
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                exec(code, names)
        except ConfigError as error:
            said.write(f"ConfigError: {error}\n")
        if next_kind == "text":
            assert said.getvalue().endswith(shown)
