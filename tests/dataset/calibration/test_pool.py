"""The size of a pool and what two seeds share by chance: formulas against draws, and in words."""

import numpy as np
import pytest
from helpers.words import text_of

from calib_sweep.dataset.calibration.pool import describe_pool, describe_pools
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.documents.documents import in_memory
from calib_sweep.dataset.documents.keeping import kept_in
from calib_sweep.dataset.mixture import Mixture
from calib_sweep.dataset.text import TextFiles

TEXTS = [text_of(10 * i, 8 + i % 2) for i in range(40)] + ["w1"] * 20


def draw(tokenizer, calibration, seed=0, texts=TEXTS):
    documents = in_memory(texts).named(lambda: "corpus")
    return draw_from_documents(documents, tokenizer, calibration, seed, {}, "words")


@pytest.mark.parametrize(
    ("design", "window", "expected"),
    [
        ("disjoint", "slice", 0),
        ("independent", "slice", 10 / 40),
        ("independent", "document", 10 / 60),
        ("independent", "pack", 10 / 52),  # 20 * 8 + 20 * 9 + 20 + 59 = 419 tokens: 52 windows
        ("reference", "slice", 1 - (19 / 20) ** 10),  # the loaders want more than 8 tokens
        ("reference", "pack", 1 - (1 - 8 / 360) ** 10),  # joined by a space: 360 tokens
    ],
)
def test_what_seeds_share_is_what_the_formula_expects(
    tokenizer, settings, tmp_path, design, window, expected
):
    chosen = settings(design=design, window=window, num_samples=10 if design != "disjoint" else 4)
    with kept_in(tmp_path):
        sets = [draw(tokenizer, chosen, seed) for seed in range(10 if expected == 0 else 40)]
    told = [drawn.card["pool"]["shared_by_chance"] for drawn in sets]
    assert told == pytest.approx([expected] * len(sets), abs=0.005)
    shared = [_shared(sets[i], sets[j], window) for i in range(len(sets)) for j in range(i)]
    assert np.mean(shared) == pytest.approx(expected, abs=0.02)


def _shared(one, other, window):
    if window == "pack":  # separators stand in every set
        mine, theirs = (drawn.tokens_NT[drawn.tokens_NT > 11] for drawn in (one, other))
        return np.isin(mine, theirs).mean()
    theirs = {sample["document"] for sample in other.samples}
    return np.mean([sample["document"] in theirs for sample in one.samples])


def test_a_pool_that_is_known_in_part_is_extrapolated(tokenizer, settings):
    texts = [text_of(0, 8), "w1"] * 500
    card = draw(tokenizer, settings(num_samples=50, design="independent"), texts=texts).card
    pool = card["pool"]
    assert pool["walked"] < 200 and pool["eligible"] == 50
    held = 50 * 1000 / pool["walked"]
    assert 350 < held < 650
    assert pool["shared_by_chance"] == pytest.approx(50 / held)
    assert describe_pool(card) == (
        f"about {int(held)} samples in 1,000 documents, of which {pool['walked']} are known: two "
        f"seeds share about {50 / held:.2g} of their documents"
    )


def test_a_pool_that_is_known_is_told_as_it_is(tokenizer, settings, tmp_path):
    with kept_in(tmp_path):
        told = [
            describe_pool(draw(tokenizer, settings(**chosen)).card)
            for chosen in (
                {},
                {"design": "independent"},
                {"design": "independent", "window": "pack"},
            )
        ]
    assert told == [
        "40 samples in 60 documents: enough for 10 seeds that share nothing",
        "40 samples in 60 documents: two seeds share 0.1 of their documents",
        "52 samples in 60 documents: two seeds share 0.077 of their tokens",
    ]


def test_a_mixture_has_a_pool_for_each_part(tokenizer, settings, tmp_path):
    for name, count in (("a", 20), ("b", 30)):
        (tmp_path / f"{name}.txt").write_text(";".join(text_of(10 * i, 8) for i in range(count)))
    parts = {
        name: TextFiles(
            name=name,
            path=str(tmp_path / f"{name}.txt"),
            column="text",
            separator=";",
            join=" ",
            license=None,
        )
        for name in "ab"
    }
    mixture = Mixture(name="m", parts=parts, weights={"a": 1, "b": 3})
    with kept_in(tmp_path / "results"):
        card = mixture.draw(tokenizer, settings(num_samples=8), 0).card
    assert describe_pools(card) == {
        "a": "20 samples in 20 documents: enough for 10 seeds that share nothing",
        "b": "30 samples in 30 documents: enough for 5 seeds that share nothing",
    }


def test_where_nobody_told_there_are_no_words(tokenizer, settings):
    card = draw(tokenizer, settings()).card
    assert describe_pool({**card, "pool": None}) is None
    assert describe_pools({**card, "pool": {"documents": 3}}) == {}
