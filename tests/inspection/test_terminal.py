"""The view of sets in a terminal."""

import dataclasses
import io
from pathlib import Path

from helpers.words import text_of
from rich.console import Console

from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.inspection.inspected import inspect_sets
from calib_sweep.inspection.terminal import show
from calib_sweep.inspection.words import card_rows


def test_the_view_shows_everything(tokenizer, settings):
    texts = [text_of(20 * i, 20) for i in range(60)]
    texts[5] = " ".join(["w1"] * 20)
    chosen = settings(num_samples=30)
    provenance = {"source": "somewhere[/]", "files": [f"f{i}" for i in range(9)], "license": None}
    sets = {
        f"seed {seed}": draw_from_documents(texts, tokenizer, chosen, seed, provenance, "words")
        for seed in range(2)
    }
    strange = next(name for name, one in sets.items() if "w1 w1" in str(one.samples))
    folder = Path("results/calibration/abc")
    sets[strange] = dataclasses.replace(sets[strange], folder=folder)
    seen = {strange: {"a@8": {"share": 0.5, "samples": 3}, "b@8": {"share": 0.0, "samples": 0}}}
    page = io.StringIO()
    Console(file=page, width=160).print(show(inspect_sets(sets, seen=seen)))
    shown = page.getvalue()
    for phrase in (
        sets[strange].hash,
        "results/calibration/abc",
        "somewhere[/]",
        "and 4 more",
        "30 samples of 8 tokens",
        "disjoint",
        "few different tokens (unique_share 0.125",
        "w1 w1 w1",
        "languages: latin",
        "no exact duplicates",
        "shared documents",
        "text that is scored: 50 % of its 13-token runs and most of 3 samples stand in a@8",
        "diversity",
        *sets,
    ):
        assert phrase in shown, phrase
    assert "b@8" not in shown and "near duplicates, samples" not in shown


def test_a_card_says_who_chose_and_what_it_cost(tokenizer, settings):
    drawn = draw_from_documents([text_of(0, 40)], tokenizer, settings(num_samples=1), 0, {}, "w")
    selection = {"selector": {"kind": "Zipf", "name": "zipf"}, "pool_size": 8, "scores": [1.0]}
    card = drawn.card | {"selection": selection, "cost": {"seconds": 1.23456, "tokens_read": 9}}
    rows = card_rows(dataclasses.replace(drawn, card=card))
    assert rows["selection"] == "selector (kind Zipf, name zipf), pool_size 8"
    assert rows["cost"] == "seconds 1.235, tokens_read 9"
