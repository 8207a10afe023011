import numpy as np
import pytest
from helpers.scored import Corpus, corpus, train_tokenizer

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.windows import (
    FIRST_DOCUMENTS,
    Windows,
    cut,
    has_context,
    is_new,
    windows_of,
)

BOS = 0


def windows(dataset, tokenizer, **changes):
    settings = {"seq_len": 16, "stride": None, "bos": "stream", "max_windows": None} | changes
    return windows_of(dataset, tokenizer, **settings)


def test_windows_follow_each_other_and_the_remainder_is_discarded():
    assert cut([1, 2, 3, 4, 5, 6, 7], 3, None).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cut([1, 2, 3, 4, 5, 6], 3, None).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert cut([1, 2], 3, None).shape == (0, 3)


def test_a_bos_of_every_window_takes_one_place_of_it():
    assert cut([1, 2, 3, 4, 5], 3, 9).tolist() == [[9, 1, 2], [9, 3, 4]]


def test_scored_tokens_are_all_but_the_first_of_each_window():
    cells = Windows.whole("x@3", np.array([[1, 2, 3], [4, 5, 6]]))
    assert cells.targets().tolist() == [2, 3, 5, 6]
    assert cells.num_positions == 4


def test_padding_is_not_scored():
    tokens_NT = np.arange(12).reshape(3, 4)
    windows = Windows("x@4", tokens_NT, has_context(tokens_NT, np.array([4, 2, 1])))
    assert windows.targets().tolist() == [1, 2, 3, 5]
    assert windows.num_scored_N.tolist() == [3, 1, 0]


def test_values_of_scored_tokens_are_parted_by_window():
    tokens_NT = np.arange(12).reshape(3, 4)
    scored_NT = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 1]], dtype=bool)
    windows = Windows("x@4", tokens_NT, scored_NT)
    parted = [part.tolist() for part in windows.by_window(windows.targets())]
    assert parted == [[1, 3], [], [10, 11]]
    assert [len(part) for part in windows.by_window(windows.targets()[:3])] == [2, 0, 1]


def test_windows_overlap_by_what_a_stride_leaves():
    assert cut([1, 2, 3, 4, 5, 6], 3, None, 1).tolist() == [
        [1, 2, 3],
        [2, 3, 4],
        [3, 4, 5],
        [4, 5, 6],
    ]
    assert cut([1, 2, 3, 4, 5, 6], 3, None, 2).tolist() == [[1, 2, 3], [3, 4, 5]]
    assert cut([1, 2, 3, 4], 3, 9, 1).tolist() == [[9, 1, 2], [9, 2, 3], [9, 3, 4]]


@pytest.mark.parametrize("stride", [1, 5, 15])
@pytest.mark.parametrize("bos", ["stream", "window", "none"])
def test_a_stride_scores_every_token_once_with_the_text_before_it(tokenizer, stride, bos):
    """Against a loop over the text: token t stands in the first window that reaches it."""
    if (bos, stride) == ("window", 15):
        stride = 14
    found = windows(corpus(), tokenizer, bos=bos, stride=stride, max_windows=6)
    assert found.label == f"stories@16+{stride}"
    text = windows(corpus(), tokenizer, bos="none" if bos == "window" else bos, seq_len=400)
    text = text.tokens_NT[0]
    num_own = 15 if bos == "window" else 16
    scored = []
    for n, (own, marks) in enumerate(zip(found.tokens_NT, found.scored_NT, strict=True)):
        start = n * stride
        assert own[16 - num_own :].tolist() == text[start : start + num_own].tolist()
        scored += [start + place - (16 - num_own) for place in np.flatnonzero(marks)]
    first = 0 if bos == "window" else 1  # without a BOS the first token has no context
    assert scored == list(range(first, num_own + 5 * stride))


def test_without_a_stride_every_window_scores_all_that_has_context(tokenizer):
    found = windows(corpus(), tokenizer)
    assert found.label == "stories@16"
    assert (found.scored_NT == has_context(found.tokens_NT)).all()


def test_values_of_overlapping_windows_are_parted_by_stretch_of_text():
    tokens_NT = np.zeros((6, 4), dtype=np.int64)
    windows = Windows("x@4+1", tokens_NT, is_new(tokens_NT, 1))
    value_P = np.arange(windows.num_positions)  # 3 of the first window, 1 of each of 5 others
    assert [part.tolist() for part in windows.by_stretch(value_P)] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [part.tolist() for part in windows.by_stretch(value_P[:4])] == [[0, 1, 2], [3]]
    whole = Windows.whole("x@4", tokens_NT[:2])
    assert [part.tolist() for part in whole.by_stretch(value_P[:6])] == [[0, 1, 2], [3, 4, 5]]


def test_a_token_without_context_cannot_be_scored():
    with pytest.raises(AssertionError, match="no context"):
        Windows("x@2", np.zeros((1, 2), dtype=np.int64), np.ones((1, 2), dtype=bool))


def test_bos_stream_stands_at_the_head_of_the_text_alone(tokenizer):
    tokens = windows(corpus(), tokenizer, bos="stream").tokens_NT
    assert tokens[0, 0] == BOS
    assert not (tokens.reshape(-1)[1:] == BOS).any()


def test_bos_window_heads_every_window_and_loses_no_token(tokenizer):
    with_bos = windows(corpus(), tokenizer, bos="window").tokens_NT
    without = windows(corpus(), tokenizer, bos="none").tokens_NT
    assert (with_bos[:, 0] == BOS).all()
    assert not (without == BOS).any()
    stream = with_bos[:, 1:].reshape(-1)
    common = min(stream.size, without.size)
    assert (stream[:common] == without.reshape(-1)[:common]).all()


def test_documents_are_joined_by_the_corpus_own_text(tokenizer):
    texts = ["the cat sees a dog."] * 12
    joined = windows(Corpus("c", texts, join=" | "), tokenizer, bos="none").tokens_NT
    assert tokenizer.decode(joined.reshape(-1)).startswith("the cat sees a dog. | the cat")
    blank = windows(Corpus("c", texts), tokenizer, bos="none").tokens_NT
    assert tokenizer.decode(blank.reshape(-1)).startswith("the cat sees a dog.\n\nthe cat")


def test_max_windows_gives_the_first_windows_of_the_whole_corpus(tokenizer):
    dataset = corpus(num_documents=5 * FIRST_DOCUMENTS)
    every = windows(dataset, tokenizer).tokens_NT
    for max_windows in (1, 40, 200):  # of the first few, more, and many documents
        some = windows(dataset, tokenizer, max_windows=max_windows).tokens_NT
        assert (some == every[:max_windows]).all()


def test_max_windows_reads_no_more_documents_than_it_needs(tokenizer):
    read = set()

    class Watched(list):
        def __getitem__(self, index):
            read.add(index)
            return super().__getitem__(index)

    dataset = Corpus("watched", Watched(corpus(num_documents=100).texts))
    windows(dataset, tokenizer, max_windows=2)
    assert read == set(range(FIRST_DOCUMENTS))


def test_the_hash_sees_every_token_and_the_shape():
    tokens = np.arange(12)
    hashes = [
        Windows.whole("x", tokens.reshape(3, 4)).hash(),
        Windows.whole("x", tokens.reshape(4, 3)).hash(),
        Windows.whole("x", np.where(tokens == 7, 8, tokens).reshape(3, 4)).hash(),
    ]
    assert len(set(hashes)) == 3
    strided = Windows("x", tokens.reshape(3, 4), is_new(tokens.reshape(3, 4), 1))
    assert strided.hash() not in hashes
    assert Windows.whole("renamed", tokens.reshape(3, 4)).hash() == hashes[0]


def test_a_corpus_shorter_than_a_window_is_told_how_long_it_is(tokenizer):
    short = Corpus("note", ["the cat sees."])
    num_tokens = len(tokenizer("the cat sees.")["input_ids"])
    with pytest.raises(ConfigError, match=f"seq_len=64: .* at most {num_tokens}, .*'note'"):
        windows(short, tokenizer, seq_len=64)


def test_a_tokenizer_without_bos_cannot_head_windows_with_it():
    with pytest.raises(ConfigError, match=r"bos='window': .*no BOS token.*bos=none"):
        windows(corpus(), train_tokenizer(bos=False), bos="window")
