"""The controls without text: random tokens of the vocabulary, one token repeated."""

import numpy as np
import pytest
from helpers.words import BOS, FIRST, NUM_WORDS, make_tokenizer

from calib_sweep.dataset.repeated_token import RepeatedToken
from calib_sweep.dataset.vocabulary import Vocabulary
from calib_sweep.errors import ConfigError
from calib_sweep.seeding import stream

VOCABULARY = Vocabulary(name="vocabulary")
REPEATED = RepeatedToken(name="repeated_token")
both = pytest.mark.parametrize("control", [VOCABULARY, REPEATED])


def test_random_tokens_are_uniform_and_ordinary(tokenizer, settings):
    drawn = VOCABULARY.draw(tokenizer, settings(num_samples=200, seq_len=200), 0)
    words = drawn.tokens_NT - FIRST
    assert words.min() >= -6 and not np.isin(drawn.tokens_NT, tokenizer.all_special_ids).any()
    halves = np.bincount((words >= NUM_WORDS // 2).ravel()) / words.size
    assert abs(halves[0] - 0.5) < 0.01
    assert len(np.unique(drawn.tokens_NT)) > 0.99 * NUM_WORDS


def test_one_token_fills_a_sample_and_another_one_the_next(tokenizer, settings):
    drawn = REPEATED.draw(tokenizer, settings(num_samples=400, seq_len=8), 3)
    assert (drawn.tokens_NT == drawn.tokens_NT[:, :1]).all()
    tokens_N = drawn.tokens_NT[:, 0]
    assert not np.isin(tokens_N, tokenizer.all_special_ids).any()
    upper = (tokens_N - FIRST >= NUM_WORDS // 2).mean()
    assert abs(upper - 0.5) < 0.1 and len(np.unique(tokens_N)) > 300  # uniform: 0.5 +- 0.025 SD


def test_the_token_of_a_sample_is_the_one_its_stream_draws(tokenizer, settings):
    ordinary = [i for i in range(len(tokenizer)) if i not in tokenizer.all_special_ids]
    drawn = REPEATED.draw(tokenizer, settings(num_samples=3), 5)
    for sample, row in enumerate(drawn.tokens_NT.tolist()):
        generator = stream("calibration/repeated_token", 5, sample)
        assert row == [ordinary[generator.integers(len(ordinary))]] * 8


@both
def test_controls_begin_alike_and_differ_by_seed(tokenizer, settings, control):
    small, large = (control.draw(tokenizer, settings(num_samples=n), 0) for n in (4, 9))
    assert np.array_equal(small.tokens_NT, large.tokens_NT[:4])
    assert len({control.draw(tokenizer, settings(), seed).hash for seed in range(4)}) == 4


@both
def test_a_label_moves_no_token(tokenizer, settings, control):
    other = type(control)(name="other").draw(tokenizer, settings(), 0)
    assert other.hash == control.draw(tokenizer, settings(), 0).hash
    assert other.card["dataset"] == "other"


@both
def test_samples_begin_with_bos_where_asked(tokenizer, settings, control):
    drawn = control.draw(tokenizer, settings(bos="sample"), 0)
    assert (drawn.tokens_NT[:, 0] == BOS).all() and drawn.tokens_NT.shape == (4, 8)
    assert not (drawn.tokens_NT[:, 1:] == BOS).any()
    with pytest.raises(ConfigError, match="BOS token"):
        control.draw(make_tokenizer(bos=False), settings(bos="sample"), 0)


@both
def test_nobody_published_a_loader_of_random_tokens(tokenizer, settings, control):
    with pytest.raises(ConfigError, match=r"calibration\.design='reference'"):
        control.draw(tokenizer, settings(design="reference"), 0)
