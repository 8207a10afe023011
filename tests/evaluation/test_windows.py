import numpy as np
import pytest
from helpers.scored import Corpus, corpus, train_tokenizer

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.windows import (
    FIRST_DOCUMENTS,
    Windows,
    cut,
    has_context,
    windows_of,
)

BOS = 0


def windows(dataset, tokenizer, **changes):
    settings = {"seq_len": 16, "bos": "stream", "max_windows": None} | changes
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


def test_a_token_without_context_cannot_be_scored():
    with pytest.raises(AssertionError, match="no context"):
        Windows("x@2", np.zeros((1, 2), dtype=np.int64), np.ones((1, 2), dtype=bool))


@pytest.mark.parametrize(
    ("num_tokens", "num_scored"),
    [(2, 1), (8, 7), (9, 7), (10, 8), (16, 14), (24, 21), (1000, 21)],
)
def test_a_budget_of_tokens_leaves_out_the_first_of_a_window(num_tokens, num_scored):
    windows = Windows.whole("x@8", np.zeros((3, 8), dtype=np.int64))
    assert windows.num_scored_among(num_tokens) == num_scored


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
    assert Windows.whole("renamed", tokens.reshape(3, 4)).hash() == hashes[0]


def test_a_corpus_shorter_than_a_window_is_told_how_long_it_is(tokenizer):
    short = Corpus("note", ["the cat sees."])
    num_tokens = len(tokenizer("the cat sees.")["input_ids"])
    with pytest.raises(ConfigError, match=f"seq_len=64: .* at most {num_tokens}, .*'note'"):
        windows(short, tokenizer, seq_len=64)


def test_a_tokenizer_without_bos_cannot_head_windows_with_it():
    with pytest.raises(ConfigError, match=r"bos='window': .*no BOS token.*bos=none"):
        windows(corpus(), train_tokenizer(bos=False), bos="window")
