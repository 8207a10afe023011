"""Marks of answers: which tokens have a character of one."""

import numpy as np
import pytest
from helpers.words import BOS, ids_of, make_tokenizer

from calib_sweep.dataset.documents.marked import (
    MarkedText,
    _marked,
    encode_marked,
    mark,
    without_marks,
)
from calib_sweep.errors import ConfigError

TOKENIZER = make_tokenizer()


def test_a_token_with_any_character_of_an_answer_is_an_answer():
    text = "w0 w1 w2 w3 w4"  # a word and its space take three characters
    document = MarkedText(text, ((4, 7), (12, 14)))
    (row,) = encode_marked(TOKENIZER, [document], special=False)
    assert row.tolist() == [10, mark(11), mark(12), 13, mark(14)]
    (row,) = encode_marked(TOKENIZER, [document], special=True)
    assert row.tolist() == [BOS, 10, mark(11), mark(12), 13, mark(14)]


def test_no_answer_marks_nothing_and_no_text_is_no_token():
    rows = encode_marked(TOKENIZER, [MarkedText("w0 w1"), MarkedText("")], special=False)
    assert [row.tolist() for row in rows] == [ids_of(0, 2), []]
    assert encode_marked(TOKENIZER, [], special=False) == []
    (row,) = encode_marked(TOKENIZER, [MarkedText("w0 w1", ((3, 3),))], special=False)
    assert row.tolist() == ids_of(0, 2)  # an empty answer


def test_a_token_of_which_only_the_end_is_told_belongs_to_what_is_before_it():
    places = [(0, 2), (4, 4), (4, 6), (8, 8)]  # two tokens of spaces, at 2 to 4 and 6 to 8
    assert _marked([5, 6, 7, 8], places, [(4, 8)]).tolist() == [5, 6, mark(7), mark(8)]


def test_marks_come_off():
    tokens = np.array([[3, 0, 7], [1, 2, 9]])
    is_answer = np.array([[True, True, False], [False, True, False]])
    found, told = without_marks(np.where(is_answer, mark(tokens), tokens))
    assert (found == tokens).all() and (told == is_answer).all() and told.dtype == bool


def test_a_tokenizer_that_tells_no_places_is_refused():
    class Slow:
        is_fast, name_or_path = False, "slow"

    with pytest.raises(ConfigError, match=r"slow is a slow one.*tokenizer\.json"):
        encode_marked(Slow(), [MarkedText("w0")], special=False)
