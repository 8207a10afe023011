"""Designs: known numbers, and whether the widths that are promised are kept as often as said."""

import math

import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats

from calib_sweep.analysis.inference.design import Design, Pilot, Planner, designs_of, pilot_of

RESAMPLED = {"power": 0.8, "seed": 0, "num_resamples": 2000}


def test_a_pilot_by_hand():
    """Variances 1 and 4, means 2 and 6: sigma^2 = 2.5, B = 8, tau^2 = 8 - 2.5 / 3."""
    pilot = pilot_of(np.array([[1.0, 2.0, 3.0], [4.0, 6.0, 8.0]]))
    assert (pilot.num_datasets, pilot.num_draws) == (2, 3)
    assert pilot.draw_sd**2 == pytest.approx(2.5)
    assert pilot.draw_df == pytest.approx(5**2 / (1 / 2 + 16 / 2))
    assert pilot.between == pytest.approx(8)
    assert pilot.dataset_sd**2 == pytest.approx(8 - 2.5 / 3)
    assert pilot_of(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])).num_datasets == 1


def test_a_pilot_that_knows_everything_gives_the_widths_of_the_formulas():
    sure = Pilot(1_000_001, 4.0, 2.0, 1e6, 0.25 + 2.0**2 / 4)
    planner = Planner(sure, **RESAMPLED | {"power": 0.5})
    # 5 datasets x 5 draws: about 18 df, V = 4 / 25
    ratio = math.sqrt(stats.f.isf(0.5, 4 * 22 / 6, 1e6))
    wanted = stats.t.isf(0.025, 4 * 22 / 6) * 2 / 5 * ratio
    assert planner.on_these(Design(5, 5)) == pytest.approx(wanted, rel=1e-3)
    # a new dataset: V = (0.25 + 4 / 5) / 5, and the median of chi2(4) / 4
    median = stats.chi2.ppf(0.5, 4) / 4
    wanted = stats.t.isf(0.025, 4) * math.sqrt((0.25 + 4 / 5) / 5 * median)
    assert planner.for_new(Design(5, 5)) == pytest.approx(wanted, rel=0.02)


def widths(num_D, num_n, dataset_sd, num=1500):
    """Half-widths of studies with a draw SD of 1: on their datasets, and for a new one."""
    name = f"{num_D}/{num_n}/{dataset_sd}"
    x_BDS = dataset_sd * normal(f"datasets/{name}", num, num_D, 1) + normal(
        f"draws/{name}", num, num_D, num_n
    )
    own_BD = x_BDS.var(axis=2, ddof=1)
    df_B = (num_n - 1) * own_BD.sum(1) ** 2 / (own_BD**2).sum(1)
    these_B = stats.t.isf(0.025, df_B) * np.sqrt(own_BD.sum(1) / num_n) / num_D
    sd_B = x_BDS.mean(2).std(axis=1, ddof=1)
    return these_B, stats.t.isf(0.025, num_D - 1) * sd_B / np.sqrt(num_D)


@pytest.mark.parametrize(
    ("num_D", "num_n", "dataset_sd"), [(3, 3, 0.5), (5, 5, 0.0), (5, 5, 0.5), (5, 5, 2.0)]
)
def test_a_width_is_kept_at_least_as_often_as_it_says(num_D, num_n, dataset_sd):
    """Over pilots and studies; more often where Satterthwaite's df or a tau of 0 are cautious."""
    design = Design(8, 4)
    these_B, new_B = widths(8, 4, dataset_sd)
    shape = 200, num_D, num_n
    name = f"pilot/{shape}/{dataset_sd}"
    pilots = dataset_sd * normal(f"{name}/d", 200, num_D, 1) + normal(f"{name}/s", *shape)
    kept = []
    for difference_DS in pilots:
        planner = Planner(pilot_of(difference_DS), **RESAMPLED | {"num_resamples": 1000})
        told = planner.on_these(design), planner.for_new(design)
        kept.append([np.mean(these_B <= told[0]), np.mean(new_B <= told[1])])
    these, new = np.mean(kept, axis=0)
    assert 0.78 < these < 0.90
    assert 0.77 < new < 0.97


def test_more_of_anything_is_narrower_and_what_is_not_known_has_no_width():
    pilot = pilot_of(normal("more", 5, 4) + normal("more/d", 5, 1), 0.04, 4)
    planner = Planner(pilot, **RESAMPLED)
    for width in (planner.on_these, planner.for_new):
        assert width(Design(5, 5)) < width(Design(5, 4)) and width(Design(6, 4)) < width(
            Design(5, 4)
        )
    assert planner.with_items(0.0, Design(5, 4)) == pytest.approx(1.95996 * 0.2, rel=1e-4)
    assert planner.with_items(0.0, Design(5, 4, 16)) == pytest.approx(1.95996 * 0.1, rel=1e-4)
    assert planner.on_these(Design(5, 1)) == planner.for_new(Design(1, 9)) == math.inf
    one = Planner(pilot_of(normal("one", 1, 5)), **RESAMPLED)
    assert math.isnan(one.for_new(Design(5, 5))) and one.on_these(Design(1, 9)) < math.inf
    assert math.isnan(one.with_items(1.0, Design(5, 5)))
    single = Planner(pilot_of(normal("single", 5, 1)), **RESAMPLED)
    assert math.isnan(single.on_these(Design(5, 5))) and math.isnan(single.for_new(Design(5, 2)))
    assert single.for_new(Design(9, 1)) < single.for_new(Design(5, 1))


def test_designs_spend_what_there_is():
    assert designs_of(7, 50) == [
        *(Design(1, 7), Design(2, 3), Design(3, 2)),
        *(Design(num, 1) for num in range(4, 8)),
    ]
    assert len(designs_of(100, 10)) == 10
