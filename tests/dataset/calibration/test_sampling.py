"""Which documents belong to which seed: what holds whatever the numbers are."""

import random
import subprocess
import sys

import numpy as np
import pytest
from helpers.repository import ROOT
from helpers.words import FIRST, make_tokenizer, text_of

from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.tokenizing import tokenizer_hash
from calib_sweep.errors import ConfigError

WINDOWS = ("slice", "pack", "document")


def draw(documents, tokenizer, calibration, seed=0, name="words"):
    return draw_from_documents(documents, tokenizer, calibration, seed, {"source": "test"}, name)


def words_of(drawn) -> list[int]:
    return drawn.tokens_NT[drawn.tokens_NT >= FIRST].tolist()


@pytest.mark.parametrize("window", WINDOWS)
def test_disjoint_sets_share_no_token(documents, tokenizer, settings, window):
    chosen = settings(window=window, num_samples=5)
    sets = [draw(documents, tokenizer, chosen, seed) for seed in range(6)]
    words = [word for drawn in sets for word in words_of(drawn)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("window", ("slice", "document"))
def test_disjoint_sets_are_runs_of_one_order(documents, tokenizer, settings, window):
    small = [draw(documents, tokenizer, settings(window=window), seed) for seed in range(3)]
    large = draw(documents, tokenizer, settings(window=window, num_samples=12), 0)
    runs = [sample["document"] for drawn in small for sample in drawn.samples]
    assert runs == [sample["document"] for sample in large.samples]


@pytest.mark.parametrize("window", WINDOWS)
def test_independent_sets_begin_alike_whatever_their_size(documents, tokenizer, settings, window):
    chosen = {"design": "independent", "window": window}
    small = draw(documents, tokenizer, settings(**chosen, num_samples=3), 7)
    large = draw(documents, tokenizer, settings(**chosen, num_samples=20), 7)
    assert (large.tokens_NT[:3] == small.tokens_NT).all()
    assert large.samples[:3] == small.samples


@pytest.mark.parametrize("window", WINDOWS)
def test_independent_sets_repeat_nothing_inside(documents, tokenizer, settings, window):
    drawn = draw(
        documents, tokenizer, settings(design="independent", window=window, num_samples=30), 3
    )
    assert len(words_of(drawn)) == len(set(words_of(drawn)))


def test_a_document_is_sliced_elsewhere_for_another_seed(tokenizer, settings):
    texts = [text_of(0, 200)]
    chosen = settings(design="independent", num_samples=1)
    starts = {draw(texts, tokenizer, chosen, seed).samples[0]["offset"] for seed in range(20)}
    assert len(starts) > 15


def test_independent_seeds_overlap_by_chance(tokenizer, settings):
    texts = [text_of(8 * i, 8) for i in range(100)]
    chosen = settings(design="independent", num_samples=20)
    sets = [{s["document"] for s in draw(texts, tokenizer, chosen, k).samples} for k in range(20)]
    shared = [len(sets[k] & sets[k + 1]) for k in range(19)]
    assert 2 < np.mean(shared) < 6  # 20 * 20 / 100 expected


@pytest.mark.parametrize("design", ("disjoint", "independent", "reference"))
@pytest.mark.parametrize("window", ("slice", "pack"))
def test_a_draw_depends_on_nothing_but_its_arguments(
    documents, tokenizer, settings, design, window
):
    chosen = settings(design=design, window=window)
    forwards = [draw(documents, tokenizer, chosen, seed).hash for seed in range(4)]
    np.random.seed(5)  # noqa: NPY002  (a global seed is what must not matter)
    random.seed(5)
    tokenizer("w1 w2 w3", truncation=True, max_length=2)  # leaves its settings in the tokenizer
    backwards = [draw(documents, tokenizer, chosen, seed).hash for seed in reversed(range(4))]
    assert forwards == backwards[::-1] and len(set(forwards)) == 4


def test_another_process_draws_the_same_hash(documents, tokenizer, settings):
    expected = [draw(documents, tokenizer, settings(), seed).hash for seed in (0, 3)]
    program = """
import random, sys
import numpy as np
sys.path[:0] = sys.argv[1:]
from helpers.words import make_tokenizer, text_of
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.calibration.sampling import draw_from_documents
np.random.seed(99)
random.seed(99)
texts, first = [], 0
for number in range(60):
    length = 1 + (number * 7) % 60
    texts.append(text_of(first, length))
    first += length
chosen = Calibration(num_samples=4, seq_len=8, design="disjoint", window="slice", bos="none")
for seed in (3, 0):
    print(draw_from_documents(texts, make_tokenizer(), chosen, seed, {}, "words").hash)
"""
    folders = [str(ROOT / "tests"), str(ROOT)]
    ran = subprocess.run(
        [sys.executable, "-c", program, *folders],
        env={"PYTHONHASHSEED": "42", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == expected[::-1]


@pytest.mark.parametrize("design", ("disjoint", "independent"))
def test_names_of_datasets_are_different_draws(documents, tokenizer, settings, design):
    chosen = settings(design=design)
    drawn = [draw(documents, tokenizer, chosen, name=name) for name in ("one", "other")]
    one, other = ({sample["document"] for sample in one.samples} for one in drawn)
    assert one != other


def test_only_as_many_documents_as_needed_are_read(tokenizer, settings):
    read: list[int] = []

    def read_some(positions):
        read.extend(positions)
        return [text_of(int(i) % 300 * 10, 10) for i in positions]

    pool = Documents(num_documents=1_000_000, read=read_some, id=str)
    drawn = draw(pool, tokenizer, settings(num_samples=16))
    assert drawn.card["pool"] == {
        "documents": 1_000_000,
        "walked": 16,
        "eligible": 16,
        "shared_by_chance": 0.0,
    }
    assert len(read) <= 2 * 16
    assert len(read) == len(set(read))
    read.clear()
    draw(pool, tokenizer, settings(num_samples=16), 3)
    assert len(read) <= 2 * 64


def test_a_seed_beyond_the_pool_names_pool_and_largest_seed(tokenizer, settings):
    texts = [text_of(10 * i, 10) for i in range(11)] + [text_of(0, 3)] * 9
    assert draw(texts, tokenizer, settings(), 1).card["seed"] == 1
    with pytest.raises(ConfigError) as caught:
        draw(texts, tokenizer, settings(), 2)
    text = str(caught.value)
    assert "seed=2: expected at most 1 (2 disjoint sets of 4 samples)" in text
    assert "'words' holds 11 with at least 8 tokens of 20 documents (the longest has 10)" in text
    assert "calibration.window=pack" in text and "calibration.design=independent" in text


def test_too_many_samples_for_any_seed(tokenizer, settings):
    texts = [text_of(10 * i, 10) for i in range(11)]
    for design in ("disjoint", "independent"):
        with pytest.raises(ConfigError, match=r"num_samples=12: expected at most 11"):
            draw(texts, tokenizer, settings(num_samples=12, design=design))
    with pytest.raises(ConfigError, match=r"120 tokens, enough for 15 windows of 8"):
        draw(texts, tokenizer, settings(num_samples=16, window="pack"))
    with pytest.raises(ConfigError, match=r"at most 11\. .* holds 11 with text of 12 documents"):
        draw([*texts, " "], tokenizer, settings(num_samples=12, window="document"))


@pytest.mark.parametrize(("bos", "limit"), [("none", 10), ("sample", 11)])
def test_no_document_is_long_enough(tokenizer, settings, bos, limit):
    texts = [text_of(10 * i, 10) for i in range(5)]
    with pytest.raises(
        ConfigError, match=rf"seq_len=99: expected at most {limit}\. .*holds 0 with"
    ):
        draw(texts, tokenizer, settings(seq_len=99, num_samples=1, bos=bos))
    assert draw(texts, tokenizer, settings(seq_len=limit, num_samples=1, bos=bos))


def test_an_empty_dataset_and_a_bad_seed_are_refused(documents, tokenizer, settings):
    with pytest.raises(ConfigError, match="dataset=words: expected documents, but it has none"):
        draw([], tokenizer, settings())
    with pytest.raises(ConfigError, match="seed=-1"):
        draw(documents, tokenizer, settings(), -1)


def test_another_tokenizer_is_another_set_and_the_card_says_so(documents, settings):
    one, other = make_tokenizer(), make_tokenizer(num_words=3999)
    cards = [draw(documents, which, settings()).card for which in (one, other)]
    assert cards[0]["tokenizer"]["hash"] != cards[1]["tokenizer"]["hash"]
    assert cards[0]["tokenizer"]["vocabulary"] == 4010


def test_the_tokenizer_hash_ignores_what_others_did_to_it():
    tokenizer = make_tokenizer()
    before = tokenizer_hash(tokenizer)
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=7)
    assert tokenizer_hash(tokenizer) == before
