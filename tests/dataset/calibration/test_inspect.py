"""Descriptors by hand, outliers, duplicates, overlap, and the page that shows them."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from helpers.words import PAD, ids_of, text_of
from rich.console import Console

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.descriptors import (
    describe_samples,
    find_duplicates,
    find_outliers,
    robust_z,
    shared_documents,
    shared_windows,
)
from calib_sweep.dataset.calibration.inspect import expected_shared_documents, inspect_set
from calib_sweep.dataset.calibration.sampling import draw_from_documents


def make_set(rows, texts=None, names=None, lengths=None):
    names = names or [str(i) for i in range(len(rows))]
    texts = texts or ["w"] * len(rows)
    return CalibrationSet(
        tokens_NT=np.array(rows),
        lengths_N=None if lengths is None else np.array(lengths),
        samples=[
            {"document": n, "offset": 0, "text": t} for n, t in zip(names, texts, strict=True)
        ],
        card={},
    )


def test_descriptors_by_hand():
    described = describe_samples(
        make_set(
            [[7, 7, 8, 9], [7, 8, PAD, PAD]],
            texts=["one\ntwo\n\none \nthree", "a1 b2 !"],
            lengths=[4, 2],
        )
    )
    assert described["length"].tolist() == [4, 2]
    assert described["unique_share"].tolist() == [0.75, 1.0]
    assert described["repeated_lines"].tolist() == [0.25, 0.0]
    assert described["non_alphabetic"].tolist() == [0.0, 0.6]
    assert (described["compression"] > 0).all()


def test_repetitive_text_compresses_and_an_empty_text_is_harmless():
    described = describe_samples(make_set([[1], [1], [1]], ["word " * 200, "a quick fox", ""]))
    repetitive, short, empty = described["compression"]
    assert repetitive < 0.1 < short and empty == 1.0
    assert described["repeated_lines"][2] == described["non_alphabetic"][2] == 0


def test_robust_z_by_hand():
    # Median 3, absolute deviations 2 1 0 1 97, their median 1.
    z = robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert np.allclose(z, 0.6745 * np.array([-2, -1, 0, 1, 97]))


def test_robust_z_where_most_values_are_equal():
    z = robust_z(np.array([0.0] * 9 + [1.0]))
    assert np.allclose(z, [0] * 9 + [1 / (1.253314 * 0.1)])
    assert robust_z(np.full(5, 0.3)).tolist() == [0] * 5


def test_outliers_are_listed_worst_first():
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    found = find_outliers({"length": values, "unique_share": -10 * values, "flat": np.ones(5)})
    assert [(sample, name) for sample, name, _, _ in found] == [
        (4, "length"),
        (4, "unique_share"),
    ]
    assert found[0][2:] == (100.0, pytest.approx(0.6745 * 97))


def test_exact_duplicates_are_grouped():
    rows = [[1, 2], [3, 4], [1, 2], [5, 6], [3, 4], [1, 2]]
    assert find_duplicates(make_set(rows)) == [[0, 2, 5], [1, 4]]


def test_shared_documents_count_all_that_a_sample_touches():
    one = make_set([[1], [2]], names=["a", "b"])
    other = make_set([[1], [2]], names=["c", "b"])
    assert shared_documents(one, other) == 1
    other.samples[0]["documents"] = ["c", "a"]
    assert shared_documents(one, other) == 2


def test_shared_windows_by_hand():
    one = make_set([ids_of(0, 60)])  # 11 windows of 50
    other = make_set([ids_of(5, 60)])  # begins 5 later: 6 of them are there too
    assert shared_windows(one, other) == pytest.approx(6 / 11)
    assert shared_windows(one, one) == 1.0
    assert shared_windows(one, make_set([ids_of(500, 60)])) == 0.0
    assert shared_windows(make_set([ids_of(0, 49)]), one) == 0.0


def test_windows_do_not_reach_into_padding_or_the_next_sample():
    half = ids_of(0, 30)
    one = make_set([[*ids_of(0, 50), *[PAD] * 10]], lengths=[50])
    padded = make_set([[*ids_of(0, 49), *[PAD] * 11]], lengths=[49])
    assert shared_windows(one, padded) == 0.0
    assert shared_windows(padded, padded) == 0.0
    assert shared_windows(make_set([half, ids_of(30, 30)]), make_set([ids_of(0, 60)])) == 0.0


def test_chance_overlap_is_the_square_over_the_pool(tokenizer, settings):
    texts = [text_of(8 * i, 8) for i in range(100)] + ["w1"] * 100
    chosen = settings(design="independent", num_samples=20)
    card = draw_from_documents(texts, tokenizer, chosen, 0, {}, "words").card
    expected = expected_shared_documents(card)
    assert expected is not None and 3 < expected < 6  # 20 * 20 / 100, from the part walked
    card = draw_from_documents(texts, tokenizer, settings(), 0, {}, "words").card
    assert expected_shared_documents(card) is None


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
