import numpy as np
import pytest
from helpers.simulated import METHODS, SETTINGS, normal, rows_of
from scipy import optimize

from calib_sweep.analysis.figures.diagrams import set_sizes_figure
from calib_sweep.analysis.inference.set_sizes import fit_floor, floor_interval
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.tables.set_sizes import (
    COLUMNS,
    FLOOR_COLUMNS,
    set_size_tables,
)
from calib_sweep.seeding import stream

SIZES = np.array([16.0, 64.0, 256.0, 1024.0])


def test_variances_that_follow_the_law_are_fitted_exactly():
    found = fit_floor(SIZES, 0.3 + 8 / SIZES, np.full(4, 9))
    assert found == (pytest.approx(0.3), pytest.approx(8.0))
    assert fit_floor(SIZES, 8 / SIZES, np.full(4, 9))[0] == pytest.approx(0, abs=1e-12)


def test_the_fit_is_the_most_likely_one():
    seen, df = np.array([0.5, 0.3, 0.09, 0.06]), np.array([9, 4, 9, 19])

    def deviance(root):
        variance = root[0] ** 2 + root[1] ** 2 / SIZES
        return float(df @ (np.log(variance) + seen / variance))

    wanted = optimize.minimize(deviance, [0.3, 2.0], method="Nelder-Mead", options={"xatol": 1e-9})
    assert fit_floor(SIZES, seen, df) == pytest.approx(tuple(wanted.x**2), rel=1e-4)


def test_neither_part_is_ever_negative():
    floor, slope = fit_floor(SIZES, np.array([1.0, 2.0, 3.0, 4.0]), np.full(4, 9))
    assert slope == 0
    assert 1 < floor < 4
    floor, slope = fit_floor(SIZES, np.array([9.0, 0.9, 0.1, 0.001]), np.full(4, 9))
    assert floor == 0
    assert slope > 0


@pytest.mark.parametrize(("floor", "slope"), [(0.01, 1.0), (0.1, 1.0), (0.0, 1.0)])
def test_the_interval_of_the_floor_holds_the_truth(floor, slope):
    variance_Z, df_Z = floor + slope / SIZES, np.full(4, 9)
    chi2 = stream("tests/sizes").chisquare(9, size=(120, 4))
    found = [
        floor_interval(SIZES, variance_Z * row / 9, df_Z, **SETTINGS.resampling) for row in chi2
    ]
    held = [low - 1e-12 <= floor <= high for low, high in found]
    assert np.mean(held) >= 0.91


def sized(sizes, num_S=6, method="gptq", **settings):
    rows = []
    for size in sizes:
        value = (0.1 + 1 / size) * normal(f"size {size}", 1, 1, num_S, 1)
        named = {"calibration.num_samples": size, **settings}
        rows += rows_of(value, methods=[method], **named)
    return rows


def test_each_size_is_a_row_and_the_fit_is_another_table():
    tables = set_size_tables(score_arrays(sized([64, 16, 256])), SETTINGS)
    sizes, floors = tables["sizes"], tables["size_floors"]
    assert (list(sizes.columns), list(floors.columns)) == (COLUMNS, FLOOR_COLUMNS)
    assert sizes["num_samples"].tolist() == [16, 64, 256]
    assert sizes["method"].unique().tolist() == [METHODS[0]]
    (fit,) = floors.to_dict("records")
    assert fit["num_sizes"] == 3
    assert fit["floor_lo"] <= fit["floor_hi"]
    wanted = np.sqrt(fit["floor"] ** 2 + fit["slope"] / 64)
    assert sizes["sd_fitted"].iloc[1] == pytest.approx(wanted)
    own = (0.1 + 1 / 16) * normal("size 16", 1, 1, 6, 1).ravel()
    assert sizes["sd"].iloc[0] == pytest.approx(own.std(ddof=1))


def test_two_sizes_are_shown_and_not_fitted_and_one_size_is_no_table():
    tables = set_size_tables(score_arrays(sized([16, 64])), SETTINGS)
    assert len(tables["sizes"]) == 2
    assert tables["sizes"]["sd_fitted"].isna().all()
    assert tables["size_floors"].empty
    assert set_size_tables(score_arrays(sized([16])), SETTINGS)["sizes"].empty


def test_a_curve_is_of_one_method_with_all_its_settings():
    rows = [r for bits in (3, 4) for r in sized([16, 64], **{"method.bits": bits})]
    (axes,) = set_sizes_figure(group_rows(rows), "acc/task0").axes
    assert axes.get_legend_handles_labels()[1] == ["gptq bits=3", "gptq bits=4"]
    assert axes.get_ylabel() == "accuracy (task0)\nSD over draws, points"
