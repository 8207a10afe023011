"""The prose: lines end at 100, and every link, file and test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from helpers.repository import ROOT

DOCS = ROOT / "docs"
PAGES = [
    *(
        ROOT / name
        for name in (
            "README.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "CODE_OF_CONDUCT.md",
            "tests/README.md",
        )
    ),
    *sorted(DOCS.rglob("*.md")),
]
WIDTH = 100
LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path from the repository's root, as code: `calib_sweep/cell.py`, `tests/test_run.py::test_name`.
NAMED = re.compile(
    r"`((?:calib_sweep|conf|launchers|benchmarks|notebooks|tests|docs|examples|\.ci)"
    r"/[\w./-]*)(?:::(\w+))?`"
)
per_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def prose_of(page: Path) -> list[tuple[int, str]]:
    """The lines of a page with their numbers, without its blocks of code."""
    lines, in_fence = [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_fence = not in_fence
        elif not in_fence and not line.startswith("    "):
            lines.append((number, line))
    return lines


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown readers make them."""
    headings = [line.lstrip("# ") for _, line in prose_of(page) if line.startswith("#")]
    kept = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[\s-]+", "-", heading) for heading in kept}


@cache
def names_in(path: Path) -> set[str]:
    """What a file of Python defines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if hasattr(node, "name")}


@per_page
def test_lines_of_prose_end_at_100(page):
    wide = [
        f"{page.name}:{number}: {len(line)} characters"
        for number, line in prose_of(page)
        if len(line) > WIDTH and not line.startswith("|") and "://" not in line
    ]
    assert not wide


@per_page
def test_links_lead_somewhere(page):
    for _, line in prose_of(page):
        for link in LINK.findall(line):
            if "://" in link:
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), f"{page.name}: {link}"
            # The site holds docs/ alone; a file beside it is named as code.
            assert DOCS not in page.parents or DOCS in target.parents, f"{page.name}: {link}"
            assert not anchor or anchor in anchors_of(target), f"{page.name}: {link}"


@per_page
def test_files_and_tests_that_are_named_exist(page):
    for _, line in prose_of(page):
        for path, test in NAMED.findall(line):
            target = ROOT / path
            assert target.exists() or list(ROOT.glob(path)), f"{page.name}: {path}"
            if test:
                assert test in names_in(target), f"{page.name}: {path}::{test}"


def test_the_readme_is_short_and_begins_with_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    main_job, tests = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]
    assert len(text.splitlines()) <= 120
    assert main_job.rstrip().endswith(
        "python -m calib_sweep -m method=wanda,sparsegpt 'seed=range(5)'"
    )
    assert tests.rstrip().endswith("pytest -q")


def test_the_map_of_the_tests_names_every_room_and_helper():
    tests = ROOT / "tests"
    told = set(re.findall(r"`([\w./]+)`", (tests / "README.md").read_text()))
    rooms = {f"{path.parent.name}/" for path in tests.glob("*/test_*.py")}
    rooms |= {f"{path.name}/" for path in tests.iterdir() if any(path.glob("*/test_*.py"))}
    helpers = {path.name for path in (tests / "helpers").glob("*.py")}
    assert rooms | helpers <= told, sorted((rooms | helpers) - told)
