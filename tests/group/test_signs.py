"""What follows from the signs of life of ranks."""

import pytest

from calib_sweep.group.signs import (
    DONE,
    LOST,
    OVER,
    PATIENCE,
    TOLD,
    WORKING,
    Ending,
    Heard,
    Sign,
    ending_of,
)

TIMEOUT_S = 10.0
OWN = Sign(beat=5, cell=2, calls=7)


def ending(*signs, ages=(), waits_s=None):
    """What rank 0 concludes at second 1,000 of ranks 1, 2, ... heard `ages` seconds ago."""
    ages = ages or [0.0] * len(signs)
    heard = {
        k: Heard(sign, 1000.0 - age)
        for k, (sign, age) in enumerate(zip(signs, ages, strict=True), 1)
    }
    since = None if waits_s is None else 1000.0 - waits_s
    return ending_of(OWN, heard, 1000.0, TIMEOUT_S, since)


def test_a_sign_is_written_and_read_as_it_is():
    sign = Sign(beat=3, cell=1, calls=4, state=DONE, why='ValueError: "ü" is none')
    assert Sign.from_text(sign.to_text()) == sign
    assert Sign.from_text(sign.to_text().encode()) == sign


def test_ranks_that_live_and_work_end_nothing():
    others = [Sign(cell=2, calls=6), Sign(cell=2, calls=8)]
    assert ending(*others, ages=(0, TIMEOUT_S), waits_s=PATIENCE * TIMEOUT_S) is None


def test_a_rank_that_is_silent_is_lost_after_the_timeout_unless_it_has_ended():
    lost = Ending("rank 2 gave no sign of life for 10 s", is_loss=True)
    assert ending(Sign(cell=2), Sign(cell=2, calls=9), ages=(0, 10.1)) == lost
    assert ending(Sign(cell=2, state=OVER, calls=9), ages=(99,)) is None


def test_to_be_told_to_end_is_no_loss_even_where_another_is_silent():
    told = Ending("rank 2 was told to end", is_loss=False)
    assert ending(Sign(cell=2), Sign(state=TOLD), ages=(99, 0)) == told


def test_what_another_rank_found_is_taken_over():
    found = Sign(state=LOST, why="rank 3 gave no sign of life for 10 s")
    assert ending(found) == Ending(found.why, is_loss=True)


@pytest.mark.parametrize(
    ("sign", "is_lost"),
    [
        (Sign(cell=2, calls=6, state=DONE, why="OSError: full"), True),  # we wait for its 7th
        (Sign(cell=2, calls=7, state=DONE, why="OSError: full"), False),  # we may be done, too
        (Sign(cell=1, calls=6, state=DONE, why="OSError: full"), False),  # it will begin ours
        (Sign(cell=1, calls=6, state=OVER, why="OSError: full"), True),  # it will not
        (Sign(cell=2, calls=6, state=WORKING), False),
    ],
)
def test_a_rank_that_ends_a_cell_before_an_exchange_others_have_come_to_is_lost(sign, is_lost):
    lost = Ending("rank 1 alone ended the cell: OSError: full", is_loss=True)
    assert ending(sign) == (lost if is_lost else None)


def test_a_rank_that_lives_but_lets_others_wait_is_lost_in_the_end():
    late, here = Sign(cell=2, calls=6), Sign(cell=2, calls=7)
    lost = Ending("rank 1 let the others wait for 300 s", is_loss=True)
    assert ending(late, here, waits_s=PATIENCE * TIMEOUT_S + 1) == lost
