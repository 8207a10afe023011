"""Sets that the model writes: full, of their seed and sample alone, and of what was asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.fakes import tiny_model
from helpers.words import BOS, EOS, FIRST, PAD, make_tokenizer, text_of

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.documents.documents import in_memory
from calib_sweep.dataset.generated import Generated
from calib_sweep.dataset.generating.first_words import LISTS, first_tokens
from calib_sweep.dataset.generating.pool import below_quantile, num_below, smallest_pool
from calib_sweep.errors import ConfigError
from calib_sweep.model.likelihood import sample_perplexities, token_log_probs
from calib_sweep.model.writing import Page, Sampling, write
from calib_sweep.seeding import stream

NUM_WORDS = 50
ENDS = (EOS, *range(4, FIRST))
PLAIN = {
    "name": "generated",
    "t_init": 1.0,
    "t_final": 1.0,
    "t_tokens": 0,
    "top_k": None,
    "top_p": None,
    "repetition_penalty": 1.0,
    "first_tokens": None,
    "prefix": None,
    "prefix_tokens": None,
    "keep_below": None,
    "pool_size": None,
    "rows": None,
}


class Beginnings(TextDataset):
    """40 documents of 1 to 5 words, each of one word alone: w0 w0, w1 w1 w1 ..."""

    name = "beginnings"

    def documents(self):
        return in_memory([" ".join([f"w{i}"] * (1 + i % 5)) for i in range(40)])

    def provenance(self):
        return {"source": "tests"}

    def fingerprint(self):
        return "f1"


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(num_words=NUM_WORDS)


@pytest.fixture(scope="module")
def model(tokenizer):
    special = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    model = tiny_model("llama", vocab_size=len(tokenizer), **special)
    model.generation_config.eos_token_id = list(ENDS)  # a text has ten tokens or so
    return model


@pytest.fixture(scope="module")
def drawn(tokenizer, model, settings):
    def draw(seed=0, calibration=None, **changes):
        how = settings(num_samples=6, seq_len=24, bos="document")
        how = replace(how, **(calibration or {}))
        return Generated(**PLAIN | changes).draw(tokenizer, how, seed, model)

    return draw


def test_samples_are_full_and_texts_are_joined_as_they_were_written(drawn, model, tokenizer):
    found = drawn()
    assert found.tokens_NT.shape == (6, 24) and found.lengths_N is None
    assert (found.tokens_NT[:, 0] == BOS).all()
    ends = np.argwhere(np.isin(found.tokens_NT[:, :-1], ENDS))
    assert len(ends) >= 4
    assert all(found.tokens_NT[row, at + 1] == BOS for row, at in ends)
    page = Page(
        num_tokens=24,
        start=BOS,
        keeps_start="text",
        ends=ENDS,
        is_joined=True,
        vocabulary=len(tokenizer),
    )
    sampling = Sampling(
        t_init=1.0, t_final=1.0, t_tokens=0, top_k=None, top_p=None, repetition_penalty=1.0
    )
    numbers = [stream("calibration/generated", "generated", 0, i).random(24) for i in range(6)]
    assert write(model, page, sampling, np.stack(numbers)) == found.tokens_NT.tolist()
    assert found.samples[3]["document"] == "0:3"
    assert found.samples[3]["text"] == tokenizer.decode(found.tokens_NT[3])


def test_seeds_differ_and_a_seed_is_the_same_again(drawn):
    one, again, other = drawn(), drawn(), drawn(seed=1)
    assert one.hash == again.hash != other.hash
    rows = {tuple(row) for row in np.concatenate([one.tokens_NT, other.tokens_NT]).tolist()}
    assert len(rows) == 12
    assert drawn(name="other").hash != one.hash


def test_batches_and_numbers_of_samples_move_nothing(drawn):
    whole = drawn()
    for rows in (1, 4):
        assert np.array_equal(drawn(rows=rows).tokens_NT, whole.tokens_NT)
    few = drawn(calibration={"num_samples": 3})
    assert np.array_equal(few.tokens_NT, whole.tokens_NT[:3])


def test_nothing_global_is_drawn_and_the_model_stays_as_it_is(drawn, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    state, one = torch.get_rng_state(), drawn()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert drawn().hash == one.hash
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("bos", ["document", "sample", "none"])
def test_bos_stands_where_the_settings_say(drawn, bos):
    tokens_NT = drawn(calibration={"bos": bos}).tokens_NT
    expected = {"document": 6 + np.isin(tokens_NT[:, :-1], ENDS).sum(), "sample": 6, "none": 0}
    assert (tokens_NT == BOS).sum() == expected[bos]


def test_a_tokenizer_that_sets_no_bos_begins_after_the_token_between_documents(model, settings):
    bare = make_tokenizer(num_words=NUM_WORDS, bos=False)
    found = Generated(**PLAIN).draw(bare, settings(num_samples=3, seq_len=20), 0, model)
    assert (found.tokens_NT[:, 0] != EOS).all() and np.isin(found.tokens_NT, ENDS).any()
    none = make_tokenizer(num_words=NUM_WORDS, bos=False, eos=False)
    with pytest.raises(ConfigError, match="a BOS or an EOS token"):
        Generated(**PLAIN).check(none, settings(num_samples=3, seq_len=20), 0)


def test_a_document_is_one_text_padded(drawn):
    found = drawn(calibration={"window": "document"})
    assert (found.lengths_N < 24).any()
    for row, length in zip(found.tokens_NT, found.lengths_N, strict=True):
        assert (row[length:] == PAD).all() and not np.isin(row[1 : length - 1], ENDS).any()
        assert row[length - 1] in ENDS or length == 24
    joined = drawn()
    short = int(found.lengths_N.argmin())
    length = found.lengths_N[short]
    assert np.array_equal(found.tokens_NT[short, :length], joined.tokens_NT[short, :length])


def beginnings_of(row):
    """Where texts begin behind their BOS, if there is room for three tokens."""
    return [
        at + 1
        for at, token in enumerate(row[:-3])
        if token == BOS and (at == 0 or row[at - 1] in ENDS)
    ]


def test_texts_go_on_from_the_beginnings_of_documents(drawn):
    prefix = Beginnings()
    found = drawn(prefix=prefix, prefix_tokens=2, first_tokens=None)
    assert drawn(prefix=prefix, prefix_tokens=2).hash == found.hash
    firsts = []
    for row in found.tokens_NT.tolist():
        word = row[1]  # its document's only word
        firsts.append(word)
        # w(i) has 1 + i % 5 words, of which the texts take two, two and one in turn.
        num = 1 + (word - FIRST) % 5
        stretches = [min(2, num - at) for at in range(0, num, 2)]
        for number, at in enumerate(beginnings_of(row)):
            size = stretches[number % len(stretches)]
            assert row[at : at + size] == [word] * size
    assert len(set(firsts)) == 6
    other = drawn(seed=1, prefix=prefix, prefix_tokens=2).tokens_NT[:, 1]
    assert not set(firsts) & set(other.tolist())  # seeds share no document


def test_prefixes_run_out_of_documents_before_anything_is_written(tokenizer, settings):
    dataset = Generated(**PLAIN | {"prefix": Beginnings(), "prefix_tokens": 2})
    with pytest.raises(ConfigError, match=r"num_samples=41: expected at most 40"):
        dataset.check(tokenizer, settings(num_samples=41, seq_len=24), 0)
    dataset.check(tokenizer, settings(num_samples=20, seq_len=24), 1)


def test_samples_below_a_quantile_of_the_pool_are_kept_in_order(drawn, model):
    pool = drawn(calibration={"num_samples": 10})
    score_N = sample_perplexities(token_log_probs(model, pool.tokens_NT, None))
    expected = [i for i in range(10) if score_N[i] < np.sort(score_N)[6]][:4]  # 0.6 * 9 = 5.4
    found = drawn(calibration={"num_samples": 4}, keep_below=0.6, pool_size=10)
    assert np.array_equal(found.tokens_NT, pool.tokens_NT[expected])
    assert found.card["selection"]["chosen"] == expected
    np.testing.assert_allclose(found.card["selection"]["scores"], score_N, atol=1e-3)
    assert [one["document"] for one in found.samples] == [f"0:{i}" for i in expected]
    assert found.card["cost"]["tokens_written"] == 240
    other = drawn(seed=1, calibration={"num_samples": 4}, keep_below=0.6, pool_size=10)
    assert other.hash != found.hash


@pytest.mark.parametrize(
    ("quantile", "size"), [(0.8, 10), (0.8, 11), (0.5, 3), (0.1, 7), (0.99, 2)]
)
def test_so_many_different_numbers_lie_below_a_quantile(quantile, size):
    score_N = stream("tests/quantile", size).permutation(size).astype(float)
    below = [i for i in range(size) if score_N[i] < quantile * (size - 1)]
    assert below_quantile(score_N, quantile) == below
    assert num_below(quantile, size) == len(below)


@pytest.mark.parametrize("quantile", [0.01, 0.1, 0.3, 1 / 3, 0.5, 0.7, 0.8, 0.9, 0.99])
def test_the_smallest_pool_is_the_first_that_will_do(quantile):
    for count in (1, 2, 3, 7, 8, 9, 16, 128):
        first = next(n for n in range(count, 10**6) if num_below(quantile, n) >= count)
        assert smallest_pool(quantile, count) == first


def test_the_smallest_pool_of_a_tiny_quantile_is_not_searched_for():
    assert smallest_pool(2**-30, 128) == 127 * 2**30 + 2


def test_a_pool_too_small_is_refused_without_the_model(tokenizer, settings):
    dataset = Generated(**PLAIN | {"keep_below": 0.8, "pool_size": 10})
    dataset.check(tokenizer, settings(num_samples=8, seq_len=24), 0)
    with pytest.raises(ConfigError, match=r"pool_size=10: expected at least 12, as 8 of 10"):
        dataset.check(tokenizer, settings(num_samples=9, seq_len=24), 0)


def test_the_first_word_is_one_of_the_list(drawn, tokenizer):
    found = drawn(first_tokens=[f"w{i}" for i in range(3, 9)])
    tokens_NT = found.tokens_NT
    firsts = set(tokens_NT[:, 1]) | {
        tokens_NT[row, at + 2] for row, at in np.argwhere(np.isin(tokens_NT[:, :-2], ENDS))
    }
    assert len(firsts) > 1 and firsts <= set(range(FIRST + 3, FIRST + 9))
    with pytest.raises(ConfigError, match=r"dataset.first_tokens=\['xyz'\]: expected words"):
        first_tokens(tokenizer, ["xyz"])


def test_words_begin_with_a_capital_or_a_space_too():
    class Spelled:
        all_special_ids = (0,)
        words = ("the", "the", " the", "The", "THE", " them", "in", "In ")

        def __len__(self):
            return len(self.words)

        def batch_decode(self, ids):
            return [self.words[i] for (i,) in ids]

    assert first_tokens(Spelled(), ["the"]) == [1, 2, 3]
    assert first_tokens(Spelled(), "english") == [1, 2, 3, 6, 7]
    words = LISTS["english"].split()
    assert len(words) == len(set(words)) > 100


def test_all_that_hinders_a_draw_is_told_at_once(tokenizer, settings):
    dataset = Generated(**PLAIN | {"first_tokens": ["xyz"], "keep_below": 0.5, "pool_size": 3})
    with pytest.raises(ConfigError) as caught:
        dataset.check(tokenizer, settings(design="reference", num_samples=6, seq_len=8), -1)
    assert [text.split("=")[0].split(":")[0] for text in caught.value.problems] == [
        "seed",
        "calibration.design",
        "dataset.first_tokens",
        "dataset.pool_size",
    ]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"t_init": -1.0}, "t_init"),
        ({"t_final": "hot"}, "t_final"),
        ({"t_tokens": 2.5}, "t_tokens"),
        ({"t_tokens": 5}, "t_tokens"),
        ({"t_init": 0.5}, "t_tokens"),
        ({"t_init": 0.0, "t_final": 0.0}, "t_final"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 1.5}, "top_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"first_tokens": "german"}, "first_tokens"),
        ({"first_tokens": []}, "first_tokens"),
        ({"prefix": "wikipedia"}, "prefix"),
        ({"prefix": Beginnings()}, "prefix_tokens"),
        ({"prefix_tokens": 2}, "prefix_tokens"),
        ({"prefix": Beginnings(), "prefix_tokens": 2, "first_tokens": "english"}, "first_tokens"),
        ({"keep_below": 1.0, "pool_size": 9}, "keep_below"),
        ({"keep_below": 0.5}, "pool_size"),
        ({"pool_size": 9}, "pool_size"),
        ({"rows": 0}, "rows"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, key):
    with pytest.raises(ConfigError) as caught:
        Generated(**PLAIN | changes)
    (told,) = caught.value.problems
    assert told.startswith(f"dataset.{key}=") and "dataset." in told.partition(": ")[2]


def test_the_card_says_how_it_was_written(drawn):
    card = drawn(prefix=Beginnings(), prefix_tokens=2, t_final=0.5, t_init=2.0, t_tokens=4).card
    assert card["provenance"]["source"] == "written by the model"
    assert card["provenance"]["prefix"] == "beginnings" and card["provenance"]["t_tokens"] == 4
    assert card["cost"]["tokens_written"] == 6 * 24 and card["cost"]["seconds"] >= 0
    assert "selection" not in card


def test_long_documents_have_a_stretch_for_each_text(model, tokenizer, settings):
    class Long(Beginnings):
        def documents(self):
            return in_memory([text_of(0, 40)] * 3)

    dataset = Generated(**PLAIN | {"prefix": Long(), "prefix_tokens": 3})
    found = dataset.draw(tokenizer, settings(num_samples=2, seq_len=60, bos="document"), 0, model)
    row = found.tokens_NT[0].tolist()
    begins = beginnings_of(row)
    assert len(begins) >= 2
    for number, at in enumerate(begins):
        assert row[at : at + 3] == [FIRST + 3 * number + i for i in range(3)]
