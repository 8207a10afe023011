import warnings

import numpy as np
import pytest
from helpers.dyestuff import DYESTUFF
from helpers.simulated import COMPONENTS, crossed

from calib_sweep.analysis.inference.anova import crossed_anova
from calib_sweep.analysis.inference.reml import fit_reml, reml_from_anova


def test_the_documented_fit_of_r_lme4_is_found():
    batch, residual = fit_reml(DYESTUFF.ravel(), [np.repeat(np.arange(6), 5)])
    # lmer(Yield ~ 1 + (1 | Batch), Dyestuff): Batch 1764, Residual 2451
    assert (round(batch), round(residual)) == (1764, 2451)


def unbalanced():
    value = crossed("reml", 3, 4, 5, 1, COMPONENTS)[..., 0]
    m, d, s = (axis.ravel() for axis in np.indices(value.shape))
    kept = (np.arange(value.size) * 7) % 10 > 1
    m, d, s = m[kept], d[kept], s[kept]
    return value[m, d, s], [m, d, m * 4 + d, d * 5 + s]


def test_statsmodels_finds_the_same_components_of_an_unbalanced_crossed_design():
    import pandas as pd
    import statsmodels.formula.api as smf

    value_N, factors = unbalanced()
    names = ["m", "d", "md", "ds"]
    table = pd.DataFrame(dict(zip(names, factors, strict=True)) | {"y": value_N, "all": 0})
    formulas = {name: f"0 + C({name})" for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = smf.mixedlm("y ~ 1", table, groups="all", re_formula="0", vc_formula=formulas)
        fitted = model.fit(reml=True)
    wanted = dict(zip(model.exog_vc.names, fitted.vcomp, strict=True))
    found = fit_reml(value_N, factors)
    assert found[:4] == pytest.approx([wanted[name] for name in names], rel=2e-3, abs=2e-4)
    assert found[4] == pytest.approx(fitted.scale, rel=1e-3)


@pytest.mark.parametrize("sizes", [(4, 3, 6), (3, 3, 3), (2, 4, 5)])
def test_both_ways_to_the_likelihood_agree_also_where_components_are_zero(sizes):
    """Of most of these sweeps analysis of variance has a negative component."""
    small = {"method": 0.1, "dataset": 0.01, "method:dataset": 0.02, "draw": 0.05}
    value = crossed("twice", *sizes, 12, small | {"method:draw": 0.5})
    anova = crossed_anova(value)
    m, d, s = (axis.ravel() for axis in np.indices(sizes))
    factors = {"draw": d * sizes[2] + s, "method:dataset": m * sizes[1] + d}
    factors |= {"dataset": d, "method": m}
    assert (anova.estimate() < 0).any(axis=0).mean() > 0.5
    for e in range(12):
        of_data = fit_reml(value[m, d, s, e], list(factors.values()))
        wanted = dict(zip([*factors, "method:draw"], of_data, strict=True))
        found = reml_from_anova(anova.square_LE[:, e], anova.df_L, anova.weight_LL)
        for name, variance in zip(anova.names, found, strict=True):
            assert variance == pytest.approx(wanted[name], abs=1e-5 * of_data.sum()), name


def test_a_component_that_is_not_there_is_exactly_zero():
    value_N = np.array([1.0, -1.0, 1.1, -1.1, 0.9, -0.9])  # means of the pairs are equal
    between, within = fit_reml(value_N, [np.array([0, 0, 1, 1, 2, 2])])
    assert between == 0
    assert within == pytest.approx(np.var(value_N, ddof=1))


def test_the_fit_moves_with_the_unit_of_the_scores():
    value_N, factors = unbalanced()
    assert fit_reml(1000 * value_N + 5, factors) == pytest.approx(
        1e6 * fit_reml(value_N, factors), rel=1e-4
    )


def test_scores_that_are_all_equal_have_no_variance():
    assert fit_reml(np.full(6, 3.2), [np.array([0, 0, 1, 1, 2, 2])]).tolist() == [0, 0]
