"""What a sample holds: windows written down by hand, and their properties."""

import logging

import numpy as np
import pytest
from helpers.words import BOS, EOS, FIRST, PAD, ids_of, make_tokenizer, text_of

from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.errors import ConfigError

BOTH = ("disjoint", "independent")


def draw(documents, tokenizer, calibration, seed=0, name="words"):
    return draw_from_documents(documents, tokenizer, calibration, seed, {"source": "test"}, name)


@pytest.mark.parametrize("design", BOTH)
def test_slice_is_a_run_of_one_document(documents, tokenizer, settings, design):
    drawn = draw(documents, tokenizer, settings(design=design, num_samples=12))
    assert drawn.tokens_NT.shape == (12, 8) and drawn.tokens_NT.dtype == np.int64
    assert drawn.lengths_N is None
    assert (np.diff(drawn.tokens_NT, axis=1) == 1).all()
    for row, sample in zip(drawn.tokens_NT, drawn.samples, strict=True):
        words = documents[int(sample["document"])].split()
        start = sample["offset"]
        assert [f"w{token - FIRST}" for token in row] == words[start : start + 8]
        assert sample["text"] == " ".join(words[start : start + 8])
    assert len({sample["document"] for sample in drawn.samples}) == 12


def test_document_of_exactly_the_sample_length_is_eligible_and_taken_whole(tokenizer, settings):
    texts = [text_of(0, 8), text_of(100, 7)]
    drawn = draw(texts, tokenizer, settings(num_samples=1))
    assert drawn.tokens_NT.tolist() == [ids_of(0, 8)]
    assert drawn.card["pool"]["eligible"] == 1


def test_every_start_is_drawn_the_last_one_too(tokenizer, settings):
    texts = [text_of(20 * i, 10) for i in range(100)]  # three possible starts each
    drawn = draw(texts, tokenizer, settings(num_samples=100))
    counts = np.bincount([sample["offset"] for sample in drawn.samples])
    assert len(counts) == 3 and counts.min() > 15


def test_pack_joins_with_eos_and_cuts(tokenizer, settings):
    texts = [text_of(0, 5), text_of(100, 6)]
    drawn = draw(texts, tokenizer, settings(num_samples=3, seq_len=4, window="pack"))
    first, second = ids_of(0, 5), ids_of(100, 6)
    if drawn.samples[0]["document"] == "1":
        first, second = second, first
    stream = [*first, EOS, *second]
    assert drawn.tokens_NT.tolist() == [stream[0:4], stream[4:8], stream[8:12]]
    assert drawn.samples[1]["documents"] == (["0", "1"] if first == ids_of(0, 5) else ["1", "0"])
    assert drawn.samples[1]["offset"] == 4
    assert drawn.samples[2]["offset"] == 8 - len(first) - 1


def test_pack_skips_empty_documents(tokenizer, settings):
    drawn = draw(["", text_of(0, 8), ""], tokenizer, settings(num_samples=1, window="pack"))
    assert drawn.tokens_NT.tolist() == [ids_of(0, 8)]


def test_a_blank_document_is_none_also_where_the_tokenizer_begins_it(tokenizer, settings):
    texts = ["", " \n", text_of(0, 7), "", "\t"]
    chosen = settings(num_samples=1, seq_len=8, window="pack", bos="document")
    drawn = draw(texts, tokenizer, chosen)
    assert drawn.tokens_NT.tolist() == [[BOS, *ids_of(0, 7)]]
    assert drawn.card["pool"]["walked"] == 1
    with pytest.raises(ConfigError, match="holds 8 tokens"):
        draw(texts, tokenizer, settings(num_samples=1, seq_len=9, window="pack", bos="document"))


def test_pack_adds_no_second_eos_to_one_of_the_tokenizer(settings):
    ends_documents = make_tokenizer(document="$A </s>")
    chosen = settings(num_samples=1, seq_len=8, window="pack", bos="document")
    drawn = draw([text_of(0, 3), text_of(0, 3)], ends_documents, chosen)
    assert drawn.tokens_NT.tolist() == [[*ids_of(0, 3), EOS, *ids_of(0, 3), EOS]]


def test_independent_pack_of_one_document_is_rotated(tokenizer, settings):
    chosen = settings(design="independent", window="pack", num_samples=5)
    sets = [draw([text_of(0, 50)], tokenizer, chosen, seed) for seed in range(3)]
    for drawn in sets:
        start = drawn.samples[0]["offset"]
        rotated = [*ids_of(start, 50 - start), EOS, *ids_of(0, start)]
        assert drawn.tokens_NT.ravel().tolist() == rotated[:40]
    assert len({drawn.hash for drawn in sets}) == 3


@pytest.mark.parametrize("design", BOTH)
def test_whole_documents_are_truncated_padded_and_measured(tokenizer, settings, design):
    texts = [text_of(0, 3), "", "   ", text_of(100, 20)]
    drawn = draw(texts, tokenizer, settings(num_samples=2, window="document", design=design))
    rows = dict(zip((s["document"] for s in drawn.samples), drawn.tokens_NT.tolist(), strict=True))
    assert rows == {"0": [*ids_of(0, 3), *[PAD] * 5], "3": ids_of(100, 8)}
    lengths = {"0": 3, "3": 8}
    assert drawn.lengths_N is not None
    assert drawn.lengths_N.tolist() == [lengths[s["document"]] for s in drawn.samples]
    short = next(s for s in drawn.samples if s["document"] == "0")
    assert short["text"] == "w0 w1 w2"


def test_documents_are_padded_with_eos_where_there_is_no_pad_token(settings):
    drawn = draw(
        [text_of(0, 3)], make_tokenizer(pad=False), settings(num_samples=1, window="document")
    )
    assert drawn.tokens_NT.tolist() == [[*ids_of(0, 3), *[EOS] * 5]]


def test_bos_none_has_no_special_token(documents, tokenizer, settings):
    drawn = draw(documents, tokenizer, settings(num_samples=20))
    assert drawn.tokens_NT.min() >= FIRST


def test_bos_document_stays_only_in_a_slice_that_starts_there(tokenizer, settings):
    texts = [text_of(20 * i, 9) for i in range(40)]  # with BOS 10 tokens, three starts
    drawn = draw(texts, tokenizer, settings(num_samples=40, bos="document"))
    starts = np.array([sample["offset"] for sample in drawn.samples])
    assert ((drawn.tokens_NT == BOS).sum(axis=1) == (starts == 0)).all()
    assert (drawn.tokens_NT[starts == 0, 0] == BOS).all() and (starts == 0).any()


@pytest.mark.parametrize("window", ["slice", "pack", "document"])
def test_bos_sample_begins_every_sample_and_takes_a_place(documents, tokenizer, settings, window):
    chosen = settings(num_samples=10, bos="sample", window=window, seq_len=6)
    drawn = draw(documents, tokenizer, chosen)
    assert drawn.tokens_NT.shape == (10, 6)
    assert (drawn.tokens_NT[:, 0] == BOS).all()
    assert (drawn.tokens_NT[:, 1:] != BOS).all()
    without = draw(documents, tokenizer, settings(num_samples=10, window=window, seq_len=5))
    assert (drawn.tokens_NT[:, 1:] == without.tokens_NT).all()


def test_bos_document_counts_towards_a_whole_document(tokenizer, settings):
    chosen = settings(num_samples=1, window="document", bos="document", seq_len=4)
    drawn = draw([text_of(0, 9)], tokenizer, chosen)
    assert drawn.tokens_NT.tolist() == [[BOS, *ids_of(0, 3)]]


def test_missing_special_tokens_are_named(documents, settings):
    with pytest.raises(ConfigError, match=r"calibration\.bos='sample': .*BOS token"):
        draw(documents, make_tokenizer(bos=False), settings(bos="sample"))
    with pytest.raises(ConfigError, match=r"calibration\.window='pack': .*EOS token"):
        draw(documents, make_tokenizer(eos=False), settings(window="pack"))
    with pytest.raises(ConfigError, match=r"calibration\.window='document': .*EOS token"):
        draw(documents, make_tokenizer(eos=False, pad=False), settings(window="document"))


def test_long_documents_raise_no_tokenizer_warning(settings, caplog, monkeypatch, recwarn):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    fresh = make_tokenizer()  # the warning is given once per tokenizer
    draw([text_of(0, 3000)], fresh, settings(num_samples=1))
    logged = [record for record in caplog.records if record.name.startswith("transformers")]
    warned = [one for one in recwarn if one.category is not ResourceWarning]  # garbage of others
    assert not logged and not warned
    fresh(text_of(0, 3000))
    assert "longer than" in caplog.text  # else this test would prove nothing
