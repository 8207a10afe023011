"""The pages about sets: the same bytes whenever, whole in one file, nothing that is obeyed."""

import re

import pytest
from helpers.words import text_of

from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.inspection.figures import figures_of
from calib_sweep.inspection.inspected import inspect_sets
from calib_sweep.inspection.page import write_pages

NASTY = "<script>alert(1)</script> ```\n\u202e\x1b[31m w1 w2"


@pytest.fixture(scope="module")
def inspection(tokenizer, settings):
    texts = [text_of(20 * k, 20 + k % 3) for k in range(60)]
    chosen = settings(num_samples=12, window="document", seq_len=24)
    sets = {
        f"words seed {seed}": draw_from_documents(texts, tokenizer, chosen, seed, {}, "words")
        for seed in range(2)
    }
    sets["words seed 0"].samples[1]["text"] = NASTY
    seen = {"words seed 1": {"a@8": {"share": 0.5, "samples": 3, "items": 2}}}
    return inspect_sets(sets, seen=seen)


def test_pages_are_whole_and_the_same_whenever(inspection, tmp_path):
    one, two = (write_pages(inspection, tmp_path / name).parent for name in ("one", "two"))
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in (one, two)]
    assert files[0] == files[1]
    html = (one / "index.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert html.count("data:image/svg+xml") == len(list(one.glob("figures/*.svg"))) > 1
    for phrase in ("words seed 0", "words seed 1", "2 items of a@8 in it", "Samples side by side"):
        assert phrase in html
    markdown = (one / "inspection.md").read_text()
    for name in re.findall(r"!\[.*\]\((.*)\)", markdown):
        assert (one / name).is_file()


def test_samples_are_shown_and_not_obeyed(inspection, tmp_path):
    page = write_pages(inspection, tmp_path)
    html, markdown = page.read_text(), page.with_name("inspection.md").read_text()
    assert "<script>alert" not in html and "&lt;script&gt;alert(1)" in html
    for text in (html, markdown):
        assert "\u202e" not in text and "\x1b" not in text and "\\x1b[31m" in text
    assert "````text\n<script>" in markdown
    for one in inspection.sets:
        assert all(sample["text"] in html for sample in one.set.samples[2:6])


def test_descriptors_that_vary_have_a_figure(inspection):
    varying = {"length", "compression", "non_alphabetic", "token_frequency"}
    assert set(figures_of(inspection.sets)) == varying
