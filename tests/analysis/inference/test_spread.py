import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats
from scipy.optimize import brentq

from calib_sweep.analysis.inference.spread import paired_ratio, unpaired_ratio
from calib_sweep.seeding import stream

NUM_SWEEPS = 3000
# Log perplexity of Wanda and SparseGPT on five draws: a ratio of SDs of 17.9.
WANDA = np.array([2.62037274, 2.44326401, 2.51414192, 2.36891707, 2.28950211])
SPARSEGPT = np.array([1.71005285, 1.6920609, 1.70221804, 1.70619233, 1.69699848])


def drawn(shape, name, *size):
    """Draws of variance 1."""
    draw = stream(f"tests/spread/{name}", *size)
    if shape == "normal":
        return draw.standard_normal(size)
    if shape == "exponential":
        return draw.exponential(size=size) - 1
    if shape == "t3":
        return draw.standard_t(3, size=size) / np.sqrt(3)
    return (draw.standard_normal(size) + 5 * (draw.random(size) < 0.1)) / np.sqrt(3.25)


def pair(shape, num_D, num_S, times=1.0):
    """Two methods [D, S, sweep] that share half of their variance."""
    shared = drawn(shape, "shared", num_D, num_S, NUM_SWEEPS)
    own = drawn(shape, "own", 2, num_D, num_S, NUM_SWEEPS)
    return (shared + own[0]) * times, shared + own[1]


def pitman_morgan(a_S, b_S):
    """p of the correlation of sum and difference."""
    r = np.corrcoef(a_S + b_S, a_S - b_S)[0, 1]
    df = len(a_S) - 2
    return float(2 * stats.t.sf(abs(r) * np.sqrt(df / (1 - r * r)), df))


def column(value_S):
    return value_S.reshape(1, -1, 1)


def test_light_tailed_draws_are_compared_by_pitman_and_morgan_and_its_inversion():
    found = paired_ratio(column(WANDA), column(SPARSEGPT))
    assert np.exp(found.estimate[0]) == pytest.approx(17.87, abs=0.01)
    assert found.p[0] == pytest.approx(pitman_morgan(WANDA, SPARSEGPT), rel=1e-6)
    for end, between in ((found.lo[0], (0.0, 2.8)), (found.hi[0], (2.9, 8.0))):
        wanted = brentq(lambda d: pitman_morgan(WANDA / np.exp(d), SPARSEGPT) - 0.05, *between)
        assert end == pytest.approx(wanted, rel=1e-6)
    assert np.exp([found.lo[0], found.hi[0]]) == pytest.approx([5.2, 61.3], abs=0.05)


def test_the_order_of_draws_and_who_comes_first_change_nothing():
    a, b = pair("normal", 3, 6)
    order = stream("tests/spread/order").permutation(6)
    first, again, swapped = (
        paired_ratio(a, b),
        paired_ratio(a[:, order], b[:, order]),
        paired_ratio(b, a),
    )
    assert again.p == pytest.approx(first.p) and swapped.p == pytest.approx(first.p)
    assert swapped.estimate == pytest.approx(-first.estimate)
    assert swapped.lo == pytest.approx(-first.hi)


def test_a_heavy_tail_counts_by_the_jackknife_made_by_hand():
    """One draw far out: the variance of the log ratio is that of scipy-free pseudo-values."""
    a_S = np.array([0.0, 0.2, -0.1, 0.1, -0.2, 0.15, -0.15, 4.0])
    b_S = np.array([0.1, -0.2, 0.2, -0.1, 0.25, -0.3, 0.05, 0.15])
    whole = np.log(a_S.std(ddof=1) / b_S.std(ddof=1))
    rest = [
        0.5 * np.log(np.sum((x - x.mean()) ** 2) / np.sum((y - y.mean()) ** 2))
        for x, y in ((np.delete(a_S, i), np.delete(b_S, i)) for i in range(8))
    ]
    pseudo = 8 * whole - 7 * np.array(rest)
    spread = pseudo.std(ddof=1) / np.sqrt(8)
    found = paired_ratio(column(a_S), column(b_S))
    assert found.p[0] == pytest.approx(2 * stats.t.sf(np.sinh(whole) / spread, 6), rel=1e-9)
    assert found.p[0] > 5 * pitman_morgan(a_S, b_S)
    half = np.arcsinh(stats.t.isf(0.025, 6) * spread)
    assert found.hi[0] - found.estimate[0] == pytest.approx(half)


@pytest.mark.parametrize("size", [(1, 3), (1, 5), (1, 10), (5, 3), (5, 5)])
@pytest.mark.parametrize("shape", ["normal", "exponential", "t3", "spike"])
def test_equal_spreads_are_called_unequal_no_more_often_than_the_level_says(shape, size):
    found = paired_ratio(*pair(shape, *size))
    for level, allowed in ((0.05, 0.063), (0.01, 0.02), (0.005, 0.012)):
        assert np.mean(found.p < level) <= allowed, level
    assert np.mean((found.lo <= 0) & (found.hi >= 0)) >= 1 - 0.063
    assert ((found.p < 0.05) == ((found.lo > 0) | (found.hi < 0))).all()


@pytest.mark.parametrize("size", [(1, 5), (5, 5)])
def test_an_unequal_spread_is_found_and_its_ratio_held(size):
    for times, least in ((3.0, 0.28), (18.0, 0.95)):
        found = paired_ratio(*pair("normal", *size, times))
        assert np.mean(found.p < 0.05) > least
        assert np.mean((found.lo <= np.log(times)) & (np.log(times) <= found.hi)) > 0.945


@pytest.mark.parametrize(("last", "allowed"), [(2.0, 0.06), (4.0, 0.09)])
def test_a_dataset_that_moves_farther_hardly_raises_the_level(last, allowed):
    times = np.array([1.0, 1.0, 1.0, 1.0, last]).reshape(5, 1, 1)
    a, b = pair("normal", 5, 5)
    assert np.mean(paired_ratio(a * times, b * times).p < 0.05) <= allowed


@pytest.mark.parametrize(("num_a", "num_b"), [(5, 5), (3, 10), (5, 20)])
def test_samples_that_share_nothing_keep_the_level_of_f(num_a, num_b):
    a, b = normal("spread/a", 1, num_a, NUM_SWEEPS), normal("spread/b", 1, num_b, NUM_SWEEPS)
    found = unpaired_ratio(a, b)
    variance = a[0].var(0, ddof=1) / b[0].var(0, ddof=1)
    f = 2 * np.minimum(*(x(variance, num_a - 1, num_b - 1) for x in (stats.f.sf, stats.f.cdf)))
    assert (found.p >= f - 1e-9)[f < 0.1].all()
    assert num_a < 5 or np.mean(np.isclose(found.p, f)) > 0.1
    assert np.mean(found.p < 0.05) <= 0.05
    assert np.mean((found.lo <= 0) & (found.hi >= 0)) >= 0.95
    assert ((found.p < 0.05) == ((found.lo > 0) | (found.hi < 0))).all()
    shifted = unpaired_ratio(3 * a + 1, b)
    assert shifted.estimate == pytest.approx(found.estimate + np.log(3))


def test_what_has_no_test_says_why():
    a, b = column(WANDA), column(SPARSEGPT)
    few = paired_ratio(a[:, :2], b[:, :2])
    still = paired_ratio(a, np.full_like(b, 1.7))
    lost = paired_ratio(np.where(a == a.max(), np.inf, a), b)
    assert [x.reason[0] for x in (few, still, lost)] == [
        "too few draws",
        "equal on every draw",
        "not finite",
    ]
    for found in (few, still, lost):
        assert np.isnan([found.estimate[0], found.lo[0], found.p[0]]).all()
    assert still.sd_b[0] == 0


@pytest.mark.filterwarnings("error")
def test_one_that_never_moves_is_said_without_a_warning_in_samples_of_their_own_too():
    a, b = column(WANDA), column(SPARSEGPT)
    for found in (unpaired_ratio(a, np.full_like(b, 1.7)), unpaired_ratio(np.full_like(a, 2.0), b)):
        assert (found.reason[0], np.isnan(found.p[0])) == ("equal on every draw", True)


def test_the_same_moves_are_no_difference_of_spread():
    found = paired_ratio(column(WANDA), column(WANDA + 0.1))
    assert (found.estimate[0], found.p[0], found.reason[0]) == (0, 1, "")
    mirrored = paired_ratio(column(WANDA), column(-WANDA))
    assert mirrored.p[0] == 1
