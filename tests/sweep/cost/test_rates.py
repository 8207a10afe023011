"""Rates fitted to finished cells: a known truth is found again, few cells scale the defaults."""

import pytest

from calib_sweep.seeding import stream
from calib_sweep.sweep.cost.amounts import Amounts
from calib_sweep.sweep.cost.rates import CPU, Rates, Timed, fitted

TRUE = Rates("a truth", Amounts(1 / 20e9, 1 / 40e9, 1 / 2e9, 20e-6, 10e-6), 0.1)
SIZES = [(1, 1, 1), (8, 1, 1), (1, 8, 1), (1, 1, 8), (8, 8, 1), (16, 4, 8)]


def amounts(products, moved, steps):
    return Amounts(products=products * 1e10, moved=moved * 1e9, steps=steps * 1e4)


def timed(rates, sizes, factor=1.0, method="wanda"):
    made = [amounts(*size) for size in sizes]
    return [
        Timed("compress", method, one, factor * rates.predict("compress", method, one))
        for one in made
    ]


def test_nothing_finished_leaves_the_defaults():
    assert fitted(CPU, [], 0) is CPU
    assert CPU.predict("compress", "wanda", Amounts()) == 0


def test_one_cell_on_a_machine_three_times_as_slow_scales_all_rates():
    rates = fitted(CPU, timed(CPU, [(2, 2, 2)], factor=3), 1)
    other = amounts(30, 1, 5)
    assert rates.predict("evaluate", "gptq", other) == pytest.approx(
        3 * CPU.predict("evaluate", "gptq", other), rel=0.02
    )


def test_cells_of_many_sizes_tell_each_rate():
    rates = fitted(CPU, timed(TRUE, SIZES * 3), 18)
    for size in [(32, 1, 1), (1, 32, 1), (1, 1, 32), (32, 32, 32)]:
        one = amounts(*size)
        assert rates.predict("compress", "new", one) == pytest.approx(
            TRUE.predict("compress", "new", one), rel=0.1
        )


def test_noise_of_a_fifth_leaves_predictions_within_a_fourth():
    draws = stream("tests/rates").standard_normal(len(SIZES) * 3)
    cells = timed(TRUE, SIZES * 3)
    noisy = [
        one._replace(seconds=one.seconds * 1.2**z) for one, z in zip(cells, draws, strict=True)
    ]
    rates, one = fitted(CPU, noisy, 18), amounts(40, 20, 20)
    assert rates.predict("compress", "new", one) == pytest.approx(
        TRUE.predict("compress", "new", one), rel=0.25
    )


def test_a_method_that_takes_longer_than_its_amounts_is_known_by_its_cells():
    """Of four cells that took twice as long, four fifths of log 2 go to the method."""
    slow = timed(CPU, SIZES[:4], factor=2, method="slow")
    rates = fitted(CPU, [*timed(CPU, SIZES * 5), *slow], 34)
    one = amounts(4, 4, 4)
    ratio = rates.predict("compress", "slow", one) / rates.predict("compress", "new", one)
    assert 1.5 < ratio < 1.85
    assert ("evaluate", "slow") not in rates.corrections


def test_parts_too_short_to_tell_are_left_out():
    short = [Timed("compress", "wanda", amounts(1, 1, 1), 0.001)]
    assert fitted(CPU, short, 1) is CPU
