"""The time that is left: by hand, and its error in simulated sweeps."""

import math

import pytest

from calib_sweep.seeding import stream
from calib_sweep.sweep.eta import UNTIMED_SD, Kind, expected, time_left

WANDA, GPTQ = Kind("small", "wanda"), Kind("small", "gptq")
LARGE_WANDA, LARGE_GPTQ = Kind("large", "wanda"), Kind("large", "gptq")


def test_nothing_is_told_before_the_first_cell_is_done():
    assert time_left([WANDA] * 3, [], {}) is None
    assert time_left([], [], {WANDA: [2.0]}).seconds == 0


def test_a_kind_takes_the_mean_of_its_cells():
    left = time_left([WANDA] * 3 + [GPTQ], [], {WANDA: [2.0, 4.0], GPTQ: [10.0]})
    assert left.seconds == pytest.approx(3 * 3 + 10)
    assert left.num_workers == 1 and left.untimed == ()


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        (LARGE_WANDA, 35.0),  # what is done of that model
        (GPTQ, 3.0),
        (Kind("other", "wanda"), 3.0),  # the same method: of the small model
        (Kind("other", "awq"), math.sqrt(3.0 * 35.0)),  # all
        (Kind("small", "wanda", "sparsity=0.6"), 3.0),
    ],
)
def test_a_kind_that_none_has_timed_takes_what_the_nearest_ones_do(kind, seconds):
    done = {WANDA: [2.0, 4.0], LARGE_GPTQ: [30.0, 40.0]}
    found = expected(kind, done, {})
    assert found.seconds == pytest.approx(seconds) and not found.is_timed


def test_costs_tell_how_much_more_an_untimed_kind_takes():
    """Wanda took 3 s where it costs 6: twice as fast as told. The large one costs 100."""
    found = expected(LARGE_WANDA, {WANDA: [2.0, 4.0]}, {WANDA: 6.0, LARGE_WANDA: 100.0})
    assert found.seconds == pytest.approx(50)


def test_a_method_on_a_larger_model_takes_as_much_more_as_others_do():
    """GPTQ took 9 s on the small model, on which Wanda took 3; on the large one that took 30."""
    done = {WANDA: [3.0], GPTQ: [9.0], LARGE_WANDA: [30.0]}
    assert expected(LARGE_GPTQ, done, {}).seconds == pytest.approx(90)
    costs = {WANDA: 1.0, GPTQ: 2.0, LARGE_WANDA: 8.0, LARGE_GPTQ: 32.0}  # told to be 2 times more
    assert expected(LARGE_GPTQ, done, costs).seconds == pytest.approx(9 * 16 * 10 / 8)


def test_kinds_of_which_one_has_no_cost_are_taken_to_cost_the_same():
    found = expected(LARGE_WANDA, {WANDA: [2.0, 4.0]}, {LARGE_WANDA: 100.0})
    assert found.seconds == pytest.approx(3)


def test_cells_go_to_the_worker_that_is_free_first():
    """10 and 30 s are left of two; four cells of 25 s: 35, 55, 60, 80."""
    done = {WANDA: [25.0], GPTQ: [40.0]}
    left = time_left([WANDA] * 4, [(GPTQ, 30.0), (GPTQ, 10.0)], done)
    assert left.seconds == pytest.approx(80) and left.num_workers == 2


def test_a_cell_that_takes_longer_than_it_should_may_end_any_moment():
    assert time_left([], [(WANDA, 100.0)], {WANDA: [25.0]}).seconds == 0


def test_how_sure_it_is_follows_from_the_spread_of_cells():
    """SD of a cell: two kinds of two cells, 1 / 5 apart from their mean: sqrt(4 x 0.2^2 / 2)."""
    done = {WANDA: [8.0, 12.0], GPTQ: [80.0, 120.0]}
    sd = math.sqrt(4 * 0.2**2 / 2)
    left = time_left([WANDA] * 5, [], done)
    variance = 10**2 * (5 * sd**2 + 25 * sd**2 / 2)
    twice = 2 * math.sqrt(variance) / 50
    assert left.high == pytest.approx(50 * (1 + twice)) and left.low == pytest.approx(
        50 / (1 + twice)
    )


def test_what_none_has_timed_is_said_and_widens_the_range():
    sharp = time_left([WANDA] * 100, [], {WANDA: [10.0] * 100})
    assert sharp.words() == "about 16 min 40 s left"
    left = time_left([GPTQ] * 100, [(GPTQ, 0.0)] * 2, {WANDA: [10.0] * 100})
    assert left.untimed == (GPTQ,) and left.seconds == pytest.approx(510)
    assert left.high == pytest.approx(510 * (1 + 2 * UNTIMED_SD))  # no two cells ever differed
    assert left.words() == "4 min 15 s to 17 min 0 s left (2 workers, gptq not timed yet)"


def simulate(num, workers, seconds_of, noise=0.1):
    """Cells of a grid in order, on several workers: when each began and ended."""
    draws = stream("tests/eta", num, workers).standard_normal(num)
    free, done = [0.0] * workers, []
    for number in range(num):
        kind, seconds = seconds_of(number)
        start = min(free)
        free[free.index(start)] = end = start + seconds * math.exp(noise * draws[number])
        done.append((kind, start, end))
    return done, max(free)


def told_at(share, cells, end_s):
    """What is told when so much of the whole time is over, beside what is left and a plain rate."""
    now = share * end_s
    done, running, waiting = {}, [], []
    for kind, start, end in cells:
        if end <= now:
            done.setdefault(kind, []).append(end - start)
        elif start <= now:
            running.append((kind, now - start))
        else:
            waiting.append(kind)
    num_done = sum(map(len, done.values()))
    plain = now / num_done * (len(cells) - num_done)
    return time_left(waiting, running, done), end_s - now, plain


def in_turns(number):
    return (WANDA, 30.0) if number % 2 else (GPTQ, 90.0)


def slow_last(number):
    """As a plan orders it: one method after the other; of the slow one a tenth is early."""
    return (GPTQ, 90.0) if number % 10 == 0 or number > 60 else (WANDA, 30.0)


@pytest.mark.parametrize("grid", [in_turns, slow_last])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.8])
def test_simulated_sweeps_end_when_it_was_told(grid, workers, share):
    cells, end_s = simulate(120, workers, grid)
    left, true, plain = told_at(share, cells, end_s)
    assert left.seconds == pytest.approx(true, rel=0.1)
    assert left.low <= true <= left.high
    if grid is slow_last and share < 0.8:
        assert abs(left.seconds - true) < abs(plain - true) / 2  # cells over time would be wrong


def test_the_range_covers_most_sweeps_from_a_few_cells():
    """Eight cells of each kind are done; the SD is learned from them."""
    covered = 0
    for number in range(200):
        draws = stream("tests/eta/cover", number).standard_normal((2, 40))
        seconds = [[30 * math.exp(0.2 * z) for z in row] for row in draws]
        done = {WANDA: seconds[0][:8], GPTQ: seconds[1][:8]}
        left = time_left([WANDA] * 32 + [GPTQ] * 32, [], done)
        covered += left.low <= sum(seconds[0][8:]) + sum(seconds[1][8:]) <= left.high
    assert 0.90 <= covered / 200 <= 0.99
