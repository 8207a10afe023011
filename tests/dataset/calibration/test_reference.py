"""The published loaders, against a slow version that is written from the formulas."""

import random

import numpy as np
import pytest
from helpers.words import BOS, make_tokenizer, text_of

from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.errors import ConfigError


def draw(documents, tokenizer, calibration, seed=0):
    return draw_from_documents(documents, tokenizer, calibration, seed, {}, "words")


def c4_loader(texts, encode, num_samples, seq_len, seed):
    """Draw documents with replacement until one is longer than a sample, then a window of it."""
    draws = random.Random(seed)
    rows = []
    for _ in range(num_samples):
        while True:
            ids = encode(texts[draws.randint(0, len(texts) - 1)])
            if len(ids) > seq_len:
                break
        start = draws.randint(0, len(ids) - seq_len - 1)
        rows.append(ids[start : start + seq_len])
    return rows


def wikitext_loader(texts, encode, num_samples, seq_len, seed):
    """Random windows of all rows joined with a space."""
    ids = encode(" ".join(texts))
    draws = random.Random(seed)
    starts = [draws.randint(0, len(ids) - seq_len - 1) for _ in range(num_samples)]
    return [ids[start : start + seq_len] for start in starts]


@pytest.mark.parametrize("seed", [0, 1, 17])
@pytest.mark.parametrize("bos", ["none", "document"])
@pytest.mark.parametrize(("window", "loader"), [("slice", c4_loader), ("pack", wikitext_loader)])
def test_draws_are_those_of_the_published_loaders(
    documents, tokenizer, settings, seed, bos, window, loader
):
    def encode(text):
        return tokenizer.encode(text, add_special_tokens=bos == "document")

    texts = ["", *documents]
    chosen = settings(design="reference", window=window, bos=bos, num_samples=40, seq_len=12)
    expected = loader(texts, encode, 40, 12, seed)
    assert draw(texts, tokenizer, chosen, seed).tokens_NT.tolist() == expected


def test_global_seed_gives_the_same_numbers_as_the_papers_did(documents, tokenizer, settings):
    """The loaders call `random.seed(seed)`; a private generator must agree with that."""
    state = random.getstate()
    try:
        random.seed(3)
        expected = [random.randint(0, 59) for _ in range(5)]
    finally:
        random.setstate(state)
    chosen = settings(design="reference", num_samples=5, seq_len=1)
    texts = [text_of(50 * i, 3) for i in range(60)]  # always long enough: no draw is rejected
    draws = random.Random(3)
    positions = []
    for _ in range(5):
        positions.append(draws.randint(0, 59))
        draws.randint(0, 3 - 1 - 1)
    assert positions[0] == expected[0]
    found = [int(s["document"]) for s in draw(texts, tokenizer, chosen, 3).samples]
    assert found == positions


def test_a_document_of_exactly_the_sample_length_is_never_taken(tokenizer, settings):
    texts = [text_of(0, 8), text_of(100, 9)]
    chosen = settings(design="reference", num_samples=10)
    drawn = draw(texts, tokenizer, chosen)
    assert {sample["document"] for sample in drawn.samples} == {"1"}
    assert {sample["offset"] for sample in drawn.samples} == {0}  # the last start is never drawn


def test_no_document_long_enough_is_an_error_and_not_an_endless_loop(tokenizer, settings):
    texts = [text_of(10 * i, 8) for i in range(300)]
    with pytest.raises(ConfigError) as caught:
        draw(texts, tokenizer, settings(design="reference"))
    assert "calibration.seq_len=8: expected less than 8" in str(caught.value)
    assert "0 with more than 8 tokens of 300 documents (the longest has 8)" in str(caught.value)
    with pytest.raises(ConfigError, match=r"seq_len=8: expected less than 3. .* holds 3 tokens"):
        draw([text_of(0, 3)], tokenizer, settings(design="reference", window="pack"))


def test_one_long_document_among_very_many_is_found(tokenizer, settings):
    texts = ["w1 w2"] * 5000
    texts[4321] = text_of(0, 30)
    drawn = draw(texts, tokenizer, settings(design="reference", num_samples=2))
    assert {sample["document"] for sample in drawn.samples} == {"4321"}


def test_bos_of_every_sample_takes_a_place(documents, settings):
    tokenizer = make_tokenizer()
    with_bos = draw(documents, tokenizer, settings(design="reference", bos="sample", seq_len=9))
    without = draw(documents, tokenizer, settings(design="reference", seq_len=8))
    assert (with_bos.tokens_NT[:, 0] == BOS).all()
    assert np.array_equal(with_bos.tokens_NT[:, 1:], without.tokens_NT)
