import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats

from calib_sweep.analysis.inference.loss_limits import at_limit, draws_bound, mean_bound
from calib_sweep.analysis.inference.paired_items import NO_PART, Part, item_parts, together
from calib_sweep.seeding import stream

LIMIT = 0.01


@pytest.mark.parametrize(("n", "factor"), [(3, 7.656), (5, 4.203), (10, 2.911), (20, 2.396)])
def test_the_bound_of_draws_has_the_factors_of_the_tables(n, factor):
    """One-sided tolerance factors for 95 % of a normal population with 95 % confidence."""
    loss_S = normal(f"factors/{n}", n)
    bound = draws_bound(loss_S, NO_PART, 0.95, 0.95)
    assert bound == pytest.approx(loss_S.mean() + factor * loss_S.std(ddof=1), abs=1e-3)


def test_items_add_their_margin_to_that_of_the_draws_as_squares():
    loss_S, items = np.array([0.01, 0.02, 0.03]), Part(1e-4, 200.0)
    alone = draws_bound(loss_S, NO_PART, 0.95, 0.95)
    quantile = 0.02 + stats.norm.ppf(0.95) * 0.01
    margin = np.hypot(alone - quantile, stats.t.ppf(0.95, 200) * 0.01)
    assert draws_bound(loss_S, items, 0.95, 0.95) == pytest.approx(quantile + margin)


def test_two_draws_say_nothing_of_the_worst():
    assert np.isnan(draws_bound(np.array([0.1, 0.2]), NO_PART, 0.95, 0.95))


def test_the_bound_of_the_mean_is_a_one_sided_t_bound():
    wanted = 0.02 + stats.t.ppf(0.9, 7) * 0.1
    assert mean_bound(0.02, Part(0.01, 7.0), 0.9) == pytest.approx(wanted)


def test_no_change_in_100_items_does_not_show_a_loss_below_one_per_cent():
    part = at_limit(item_parts(np.zeros((1, 100)), ["a"])[0], LIMIT, 100)
    assert mean_bound(0.0, part, 0.95) > LIMIT
    part = at_limit(item_parts(np.zeros((1, 1000)), ["a"])[0], LIMIT, 1000)
    assert mean_bound(0.0, part, 0.95) < LIMIT


# draws, items, share of items that change at all, of these lost and gained on a draw, SD of draws
LOSSES = [
    (1, 600, 0.05, 0.60, 0.40, 0.0),
    (3, 300, 0.10, 0.50, 0.40, 0.0),
    (5, 600, 0.10, 0.50, 0.40, 0.005),
    (5, 600, 0.01, 1.00, 0.00, 0.0),
]


@pytest.mark.parametrize(("n", "num_items", "open_", "lost", "gained", "sd"), LOSSES)
def test_of_models_whose_loss_is_at_the_limit_one_in_twenty_pass(
    n, num_items, open_, lost, gained, sd
):
    """In 1,000 studies, of new items and draws each: SE 0.7 % where 5 % pass."""
    num_studies, name = 1000, f"tests/gate/{n}/{num_items}/{open_}/{sd}"
    mean = worst = 0
    worst_limit = LIMIT + stats.norm.ppf(0.95) * sd
    for study in range(num_studies):
        rng = stream(name, study)
        is_open_I = rng.random(num_items) < open_
        shift_C1 = sd / open_ * rng.standard_normal((n, 1))
        toss_CI = rng.random((n, num_items))
        loss_CI = ((toss_CI < lost + shift_C1) * 1.0 - (toss_CI > 1 - gained)) * is_open_I
        items, both = item_parts(loss_CI, ["web"] * n)
        part = items
        if n > 1:
            draws = Part(loss_CI.mean(1).var(ddof=1) / n, n - 1.0)
            part = together(draws, items, both)
            least = at_limit(items, worst_limit, num_items)
            worst += draws_bound(loss_CI.mean(1), least, 0.95, 0.95) <= worst_limit
        mean += mean_bound(loss_CI.mean(), at_limit(part, LIMIT, num_items), 0.95) <= LIMIT
    assert 100 * mean / num_studies <= 6.5
    assert 100 * worst / num_studies <= 6.5
