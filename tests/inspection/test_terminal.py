"""The view of a set in a terminal."""

import dataclasses
import io
from pathlib import Path

from helpers.words import text_of
from rich.console import Console

from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.inspection.terminal import inspect_set


def test_the_page_shows_everything(tokenizer, settings):
    texts = [text_of(20 * i, 20) for i in range(60)]
    texts[5] = " ".join(["w1"] * 20)
    chosen = settings(num_samples=30)
    provenance = {"source": "somewhere[/]", "files": [f"f{i}" for i in range(9)], "license": None}
    sets = {
        f"seed {seed}": draw_from_documents(texts, tokenizer, chosen, seed, provenance, "words")
        for seed in range(2)
    }
    strange = next(name for name, one in sets.items() if "w1 w1" in str(one.samples))
    one = dataclasses.replace(sets.pop(strange), folder=Path("results/calibration/abc"))
    page = io.StringIO()
    Console(file=page, width=160).print(inspect_set(one, sets))
    shown = page.getvalue()
    for phrase in (
        one.hash,
        "results/calibration/abc",
        "somewhere[/]",
        "and 4 more",
        "30 samples of 8 tokens",
        "disjoint",
    ):
        assert phrase in shown
    assert "unique_share" in shown and "w1 w1 w1" in shown and "anomal" in shown
    assert "shared documents" in shown and next(iter(sets)) in shown
    assert "no exact duplicates" in shown
