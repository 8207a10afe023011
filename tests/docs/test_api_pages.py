"""Docstrings and comments as the API pages show them."""

import importlib.util

import griffe
import pytest
from helpers.repository import ROOT

PATH = ROOT / "docs" / "api" / "docstrings.py"
spec = importlib.util.spec_from_file_location("docstrings", PATH)
assert spec is not None and spec.loader is not None
docstrings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(docstrings)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Return it.", "Return it."),
        ("Return it.\n\n    >>> f(1)", "Return it.\n\n```python\n>>> f(1)\n```"),
        (">>> f(1)\n>>> f(2)", "```python\n>>> f(1)\n>>> f(2)\n```"),
        (
            "Model     has weights\nMethod    has none",
            "```python\nModel     has weights\nMethod    has none\n```",
        ),
        ("Of draws:\n    y = x", "Of draws:\n\n```python\ny = x\n```"),
        (
            "a: the first,\nand more of it\nb: the other",
            "- `a`: the first,\n  and more of it\n- `b`: the other",
        ),
        ("Note: no parameter.", "Note: no parameter."),
    ],
)
def test_what_is_laid_out_by_hand_becomes_blocks_and_lists(text, shown):
    assert docstrings.as_markdown(text, ["a", "b"]) == shown


def test_a_comment_behind_a_field_is_its_docstring(tmp_path):
    (tmp_path / "cell.py").write_text(
        "class Cell:\n    seed: int  # an integer >= 0\n    name: str\n"
    )
    extensions = griffe.load_extensions(docstrings.Docstrings())
    module = griffe.load("cell", search_paths=[tmp_path], extensions=extensions)
    assert module["Cell.seed"].docstring.value == "an integer >= 0"
    assert module["Cell.name"].docstring is None
