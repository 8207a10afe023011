"""docs/methods/quirks.md names a test for every quirk of the published code; all of them exist."""

import ast
import re
from functools import cache

import pytest
from helpers.repository import ROOT

TEXT = (ROOT / "docs" / "methods" / "quirks.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| quirk")
]


@cache
def functions(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")}


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_the_test_of_a_quirk_exists(row):
    _, here, test = row
    assert here.startswith(("kept", "ours", "setting", "both")), here
    path, name = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", test).groups()
    assert name in functions(ROOT / path), f"name another test in docs/methods/quirks.md: {test}"


def test_every_part_of_the_published_code_has_its_table():
    parts = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert {"Magnitude", "Wanda", "SparseGPT", "GPTQ and RTN", "SpQR"} <= set(parts)
    assert len(ROWS) > 60
