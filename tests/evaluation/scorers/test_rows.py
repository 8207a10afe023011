"""Requests packed into rows: every place sees just what stands before it in its own request."""

import numpy as np
import pytest

from calib_sweep.evaluation.requests import Request
from calib_sweep.evaluation.scorers.rows import filled, following, num_shared, pack
from calib_sweep.seeding import stream


def questions(num, *, longest=60):
    """Requests of questions with four choices; the third one's context ends in another token."""
    draw = stream("tests/rows", num, longest)
    requests, items = [], []
    for length in draw.integers(2, longest, num):
        context = draw.integers(0, 97, length).tolist()
        own = [context, context, [*context[:-1], 98], context]
        items.append(list(range(len(requests), len(requests) + 4)))
        requests += [Request(c, draw.integers(0, 97, draw.integers(1, 9)).tolist()) for c in own]
    return requests, items


def sees(rows, r, place):
    """The places of row r that `place` sees, in order."""
    places = np.arange(rows.tokens_RL.shape[1])
    return np.flatnonzero((places <= place) & (place <= rows.until_RL[r]))


def asked(rows):
    """Of each scored token: its row and place, which it is, and the request that it belongs to."""
    places = zip(rows.row_U[rows.at_P], rows.place_U[rows.at_P], strict=True)
    return list(zip(places, rows.target_P, rows.request_P, strict=True))


def test_a_question_stands_once_and_its_choices_branch_from_it():
    """Question 1 2 3; choices 4 5, 4 6 (one branch: their inputs are equal), 7, and 8 9 1."""
    choices = ([4, 5], [4, 6], [7], [8, 9, 1])
    (rows,) = pack([Request([1, 2, 3], choice) for choice in choices], [[0, 1, 2, 3]], 2048, 512)
    assert rows.tokens_RL.shape == (1, 16) and rows.num_used == 6 and not rows.is_plain_R[0]
    assert rows.tokens_RL[0, :6].tolist() == [1, 2, 3, 4, 8, 9]
    assert rows.positions_RL[0, :6].tolist() == [0, 1, 2, 3, 3, 4]
    # The question is seen to the end, ' 4' by itself, ' 8' by ' 9', and padding by itself.
    assert rows.until_RL[0].tolist() == [5, 5, 5, 3, 5, 5, *range(6, 16)]
    told = {(place, target, request) for (_, place), target, request in asked(rows)}
    first_three = {(2, 4, 0), (3, 5, 0), (2, 4, 1), (3, 6, 1), (2, 7, 2)}
    assert told == {*first_three, (2, 8, 3), (4, 9, 3), (5, 1, 3)}
    assert sorted(rows.place_U.tolist()) == [2, 3, 4, 5]  # the head is asked once at each


@pytest.mark.parametrize(("context_length", "row_length"), [(2048, 512), (17, 64), (40, 16)])
def test_a_scored_token_sees_its_own_request_in_order_and_nothing_else(context_length, row_length):
    requests, items = questions(40)
    told = {i: [] for i in range(len(requests))}
    for rows in pack(requests, items, context_length, row_length):
        for (r, place), target, index in asked(rows):
            own = sees(rows, r, place)
            assert rows.positions_RL[r, own].tolist() == list(range(len(own)))
            told[index].append((rows.tokens_RL[r, own].tolist(), target))
    for index, (context, continuation) in enumerate(requests):
        whole = (context + continuation)[-(context_length + 1) :]
        ends = range(len(whole) - len(continuation), len(whole))
        assert told[index] == [(whole[:end], whole[end]) for end in ends]


def test_longer_items_have_rows_of_their_own():
    requests = [Request([length] * length, [1, 2]) for length in (40, 10, 300, 12, 130, 9)]
    packed = pack(requests, [[i] for i in range(6)], 2048, 64)
    assert [rows.tokens_RL.shape for rows in packed] == [(1, 80), (1, 144), (1, 304)]
    assert [rows.is_plain_R.tolist() for rows in packed] == [[False], [True], [True]]


@pytest.mark.parametrize(
    ("contexts", "places"),
    [
        # Four choices with their question, and without it after one token that all begin with.
        ([[0, *range(10, 30)]] * 4 + [[0]] * 4, 21 + 4 + 4),
        # The choice is in the middle of the question (WinoGrande): what stands before it is shared.
        ([[1, 2, 3, 4, 50, 6, 7], [1, 2, 3, 4, 51, 6, 7]], 4 + 2 * (3 + 1)),
        # Nothing in common.
        ([[1, 2], [3, 4]], 2 * 3),
        # One context is the beginning of the other.
        ([[1, 2], [1, 2, 90]], 4),
    ],
)
def test_requests_of_an_item_stand_in_the_fewest_places(contexts, places):
    requests = [Request(context, [90 + i, 5]) for i, context in enumerate(contexts)]
    (rows,) = pack(requests, [range(len(requests))], 2048, 512)
    assert rows.num_used == places
    assert sorted(rows.request_P.tolist()) == sorted(2 * list(range(len(requests))))


@pytest.mark.parametrize(
    ("lists", "shared"),
    [(((1, 2, 3), (1, 2, 4)), 2), (((1, 2), (1, 2, 4)), 2), (((1,), (2,)), 0), (((7,), (7,)), 1)],
)
def test_the_longest_common_prefix(lists, shared):
    assert num_shared(*lists) == shared


def test_examples_in_front_of_every_question_stand_once_in_a_row():
    draw = stream("tests/rows/shots")
    shots = draw.integers(0, 97, 500).tolist()
    contexts = [shots + draw.integers(0, 97, 80).tolist() for _ in range(60)]
    requests = [Request(context, [90 + i]) for context in contexts for i in range(4)]
    packed = pack(requests, [range(4 * i, 4 * i + 4) for i in range(60)], 2048, 1024)
    places = sum(rows.tokens_RL.size for rows in packed)
    assert places < 60 * 580 / 4
    assert sum(rows.num_used for rows in packed) > 0.9 * places


def test_things_follow_each_other_as_long_as_a_row_has_room():
    assert following([6, 6, 6, 5, 5], [0, 4, 4, 0, 0], 10) == [0, 0, 0, 1, 1]


def test_a_thing_goes_into_the_fullest_row_that_has_room():
    assert filled([6, 5, 4, 3, 2, 1], 10) == [[0, 2], [1, 3, 4], [5]]
    assert filled([7, 6, 3, 2, 2], 10) == [[0, 2], [1, 3, 4]]


# Tokens of a question and of its choices, mean and spread: as the ten tasks have them.
KINDS = {
    "arc": (30, 12, 4, 6),
    "boolq": (140, 70, 2, 1),
    "hellaswag": (80, 25, 4, 30),
    "lambada": (85, 20, 1, 2),
    "openbookqa": (14, 6, 4, 4),
    "piqa": (12, 8, 2, 22),
    "rte": (75, 40, 2, 1),
    "storycloze": (45, 8, 2, 12),
    "winogrande": (15, 4, 2, 9),
}


@pytest.mark.parametrize("row_length", [256, 1024])
@pytest.mark.parametrize("kind", KINDS)
def test_little_of_the_rows_is_padding_and_no_token_stands_twice(kind, row_length):
    mean, spread, num_choices, length = KINDS[kind]
    draw = stream("tests/rows", kind)
    requests, items = [], []
    for tokens in np.maximum(3, draw.normal(mean, spread, 500)).astype(int):
        context = draw.integers(0, 97, tokens).tolist()
        items.append(list(range(len(requests), len(requests) + num_choices)))
        for size in draw.integers(1, 2 * length, num_choices, endpoint=True):
            requests.append(Request(context, draw.integers(0, 97, size).tolist()))
    packed = pack(requests, items, 2048, row_length)
    inputs = [r.context + r.continuation[:-1] for r in requests]
    fewest = 0
    for own in items:
        shared = len(requests[own[0]].context)
        fewest += shared + sum(len(tail) for tail in {tuple(inputs[i][shared:]) for i in own})
    used = sum(rows.num_used for rows in packed)
    assert 0.9 * fewest < used <= fewest
    assert used > 0.9 * sum(rows.tokens_RL.size for rows in packed)
    assert len({rows.tokens_RL.shape[1] for rows in packed}) <= 3
