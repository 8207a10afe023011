"""Every public statistic takes a matrix of anybody's: numpy arrays and numbers, nothing of ours."""

import inspect
import math
import pkgutil
from importlib import import_module

import numpy as np
import pytest
from helpers.simulated import normal

from calib_sweep.analysis import inference
from calib_sweep.analysis.inference import (
    anova,
    correlation,
    design,
    differences,
    equivalence,
    estimates,
    flips,
    heavy_tails,
    interquartile,
    intervals,
    item_groups,
    loss_limits,
    multiplicity,
    outliers,
    paired_items,
    permutation,
    power,
    random_effects,
    ranks,
    reml,
    resampling,
    sample,
    sequential,
    set_sizes,
    spread,
    summaries,
    superiority,
    two_sample,
    variance_components,
)

SEED = {"seed": 0, "num_resamples": 200}
SCORE_MDSE = normal("plain", 3, 2, 4, 5)  # methods, datasets, draws, metrics
FIRST, SECOND = SCORE_MDSE[0], SCORE_MDSE[1]
DIRECTIONS_E = np.array([1, 1, -1, -1, 0])
RIGHT_SI = (normal("items", 4, 20) > 0).astype(float)
BLOCKS = [(np.arange(3), SCORE_MDSE[:, d].swapaxes(0, 1)) for d in range(2)]
SIGNS = ranks.pair_signs(SCORE_MDSE.mean(2).swapaxes(0, 1))
ESTIMATE = estimates.Estimate(np.array([[1.0], [3.0]]), np.ones((2, 1)), 4 * np.ones((2, 1)))
SIZES = np.array([8.0, 16.0, 32.0]), np.array([3.0, 2.0, 1.5]), np.array([4.0, 4.0, 4.0])
MODULES = [
    import_module(f"{inference.__name__}.{found.name}")
    for found in pkgutil.iter_modules(inference.__path__)
    if found.name != "typed_scipy"  # scipy's own functions under other names
]

# Function -> a call of it. A number is what the first number of the result must be.
CALLS = {
    anova.chi2_draws: (lambda: anova.chi2_draws("any", 3.0, 0, 200), None),
    anova.nested_anova: (lambda: anova.nested_anova(FIRST[:, :, None]).df_L, 0),
    anova.crossed_anova: (lambda: anova.crossed_anova(SCORE_MDSE).df_L, 12),
    anova.is_whole: (lambda: anova.is_whole(SCORE_MDSE, 3), 1),
    design.pilot_of: (lambda: design.pilot_of(FIRST[..., 0]).num_datasets, 2),
    design.designs_of: (lambda: design.designs_of(20, 3)[2].num_draws, 6),
    equivalence.difference_within: (
        lambda: equivalence.difference_within(0.1, 0.2, 9, 0.5).p,
        0.03828,
    ),
    equivalence.tail_inflation: (lambda: equivalence.tail_inflation(FIRST), None),
    equivalence.spread_below: (lambda: equivalence.spread_below(2.0, 10, 3.0).hi, 3.1862),
    equivalence.spread_of_draws: (
        lambda: equivalence.spread_of_draws(np.array([[[1.0], [2.0], [3.0]]]))[0],
        1,
    ),
    correlation.correlate: (
        lambda: correlation.correlate([(np.arange(6.0), np.arange(6.0) ** 2)], **SEED),
        6,
    ),
    differences.moments: (
        lambda: differences.moments(FIRST, np.full((2, 5), 4), np.ones((2, 5)))[1],
        FIRST[0, :, 0].var(ddof=1),
    ),
    differences.satterthwaite: (
        lambda: differences.satterthwaite(np.ones((2, 1)), np.full((2, 1), 4.0)),
        8,
    ),
    differences.over_datasets: (
        lambda: differences.over_datasets(
            np.ones((2, 1)), np.full((2, 1), 8.0), np.full((2, 1), 4)
        )[1],
        1,
    ),
    differences.for_new_dataset: (
        lambda: differences.for_new_dataset(np.array([[1.0], [2.0], [3.0]]))[1],
        1 / math.sqrt(3),
    ),
    differences.t_test: (
        lambda: differences.t_test((np.array([12.706205]), np.ones(1), np.ones(1)), np.ones(1)),
        0.05,
    ),
    estimates.of_interval: (lambda: estimates.of_interval(0.5, 0.375834, 0.624166, 4)[1], 0.044721),
    estimates.difference: (lambda: estimates.difference(ESTIMATE, ESTIMATE)[2], 8),
    flips.split: (lambda: flips.split(RIGHT_SI).n, 4),
    flips.systematic_sd: (lambda: flips.systematic_sd(flips.split(RIGHT_SI)), None),
    flips.cochran_p: (lambda: flips.cochran_p(flips.split(RIGHT_SI)), None),
    heavy_tails.inflation: (lambda: heavy_tails.inflation(FIRST[0] ** 2, np.zeros(4)), None),
    heavy_tails.sample_inflation: (lambda: heavy_tails.sample_inflation(np.arange(9.0)), 1),
    heavy_tails.unlike: (lambda: heavy_tails.unlike(SCORE_MDSE - SCORE_MDSE.mean(0), 6), None),
    heavy_tails.kurtosis: (lambda: heavy_tails.kurtosis(np.ones((4, 1))), 1),
    heavy_tails.high_kurtosis: (lambda: heavy_tails.high_kurtosis((3,), 1), 1.5),
    interquartile.iqm: (lambda: interquartile.iqm(np.array([0.0, 1.0, 3.0, 90.0])), 2),
    interquartile.iqm_interval: (lambda: interquartile.iqm_interval(list(FIRST), **SEED), None),
    interquartile.resampled_iqm: (lambda: interquartile.resampled_iqm(list(FIRST), **SEED), None),
    interquartile.optimality_gap: (
        lambda: interquartile.optimality_gap([np.array([[0.5, 1.5], [0.5, 1.0], [0.5, 0.5]])]),
        1 / 3,
    ),
    interquartile.improvement: (
        lambda: interquartile.improvement(FIRST[0], FIRST[0], np.ones(5)),
        0.5,
    ),
    interquartile.profile: (lambda: interquartile.profile(list(FIRST), np.array([-9.0])), 1),
    intervals.mean_interval: (lambda: intervals.mean_interval(0.5, 0.1, 5), 0.5 - 0.124166),
    intervals.around: (lambda: intervals.around(0.0, 1.0, math.inf), -1.959964),
    intervals.sd_interval: (lambda: intervals.sd_interval(1.0, 5), 0.599132),
    intervals.next_draw_interval: (lambda: intervals.next_draw_interval(0.0, 1.0, 5), -3.041445),
    intervals.share_interval: (lambda: intervals.share_interval(10, 10), 0.691503),
    intervals.superiority_interval: (lambda: intervals.superiority_interval(0.5, 9, 9), None),
    item_groups.numbered: (lambda: item_groups.numbered(np.array(["b", "a"]), 2), 1),
    item_groups.group_sums: (lambda: item_groups.group_sums(np.ones((1, 3)), np.zeros(3, int)), 3),
    item_groups.clustered_se: (
        lambda: item_groups.clustered_se(np.array([1.0, 1, 0, 0]), np.array([0, 0, 1, 1])),
        0.5,
    ),
    item_groups.scale: (lambda: item_groups.scale(10, 5), 5 / 4 / 100),
    loss_limits.at_limit: (
        lambda: loss_limits.at_limit(paired_items.Part(0.0, 9.0), 0.1, 100).variance,
        0.1 * 0.9 / 100,
    ),
    loss_limits.mean_bound: (
        lambda: loss_limits.mean_bound(0.0, paired_items.Part(1.0, 1e9), 0.95),
        1.644854,
    ),
    loss_limits.draws_bound: (
        lambda: loss_limits.draws_bound(np.arange(5.0), paired_items.NO_PART, 0.95, 0.95),
        2 + 4.20268 * math.sqrt(2.5),
    ),
    multiplicity.holm_corrected: (lambda: multiplicity.holm_corrected(np.array([0.01, 0.9])), 0.02),
    multiplicity.weighted_holm: (
        lambda: multiplicity.weighted_holm(np.array([0.01, 0.9]), np.array([3, 1])),
        0.04 / 3,
    ),
    multiplicity.bh_corrected: (lambda: multiplicity.bh_corrected(np.array([0.01, 0.9])), 0.02),
    sample.has_diverged: (lambda: sample.has_diverged(np.array([90.0, 5.0, 5.0])), 1),
    outliers.reasons: (lambda: len(outliers.reasons(FIRST[0, :, 0], is_perplexity=False)), 4),
    outliers.grubbs_limit: (lambda: outliers.grubbs_limit(10, 0.05), 2.290),
    paired_items.item_parts: (lambda: paired_items.item_parts(RIGHT_SI, "aabb")[0].df, 19),
    paired_items.mean_of_tasks: (
        lambda: paired_items.mean_of_tasks([paired_items.Part(4.0, 9.0)] * 2).variance,
        2,
    ),
    paired_items.together: (
        lambda: paired_items.together(*[paired_items.Part(4.0, 9.0)] * 3).variance,
        4,
    ),
    paired_items.t_test: (lambda: paired_items.t_test(0.0, paired_items.Part(1.0, 9.0), 10)[2], 1),
    paired_items.mcnemar_p: (lambda: paired_items.mcnemar_p(np.ones(5)), 2 / 2**5),
    permutation.sign_flip_p: (lambda: permutation.sign_flip_p(np.ones((5, 1))), 2 / 2**5),
    permutation.two_sample_p: (
        lambda: permutation.two_sample_p(np.ones((3, 1)), np.zeros((3, 1)), **SEED),
        2 / 20,
    ),
    power.assured: (lambda: power.assured(1e6, 1e6, 0.8), 2.8016),
    power.pooled_df: (lambda: power.pooled_df(5), 4),
    power.noncentrality: (lambda: power.noncentrality(1e6, 0.8), 2.8016),
    power.smallest_detectable: (lambda: power.smallest_detectable(2.0, 1e6, 0.8), 5.6032),
    power.seeds_for_half_width: (lambda: power.seeds_for_half_width(1.0, 1.0), 7),
    power.seeds_for_difference: (
        lambda: power.seeds_for_difference(1.0, 1.0, 0.8, is_paired=True),
        10,
    ),
    random_effects.over_models: (lambda: random_effects.over_models(*ESTIMATE).mean, 2),
    ranks.block_means: (lambda: ranks.block_means(BLOCKS, 3)[0], SCORE_MDSE[0, :, :, 0].mean()),
    ranks.resampled_means: (lambda: ranks.resampled_means(BLOCKS, 3, **SEED), None),
    ranks.studies: (lambda: ranks.studies(BLOCKS, 3, **SEED)[1], None),
    ranks.pair_signs: (lambda: ranks.pair_signs(np.array([[[2.0], [1.0]]])), 1),
    ranks.ranks: (lambda: ranks.ranks(np.array([[[1]]]), np.array([-1])), 2),
    ranks.tau_b: (lambda: ranks.tau_b(SIGNS, SIGNS[0]), 1),
    ranks.rank_intervals: (
        lambda: ranks.rank_intervals(np.arange(2), np.array([0]), np.array([1]), np.array([0.01])),
        2,
    ),
    reml.fit_reml: (lambda: reml.fit_reml(FIRST[0, :, 0], []), FIRST[0, :, 0].var(ddof=1)),
    reml.reml_from_anova: (
        lambda: reml.reml_from_anova(
            np.array([1.0, 3.0]), np.array([4, 2]), np.array([[1, 0], [1, 2]])
        ),
        1,
    ),
    resampling.resampled_counts: (lambda: resampling.resampled_counts(0, 1, 7, 0, 9), 7),
    sample.describe: (lambda: sample.describe(np.array([1.0, 3.0])).sd, math.sqrt(2)),
    sample.worst_draws: (lambda: sample.worst_draws(np.array([1.0, 3.0]), -1), 3),
    sequential.look: (lambda: sequential.look(FIRST[0].T, 1.0, 4).mean, FIRST[0, :, 0].mean()),
    sequential.half_width: (lambda: sequential.half_width(1.0, 5), 1.7560),
    sequential.weakened: (lambda: sequential.weakened(2.0, 0.0, 10), 2.0),
    sequential.p_value: (lambda: sequential.p_value(0.0, 5, 5), 1.0),
    sequential.interval: (lambda: sequential.interval(0.0, 1.0, 10, 5), None),
    sequential.boundary: (lambda: sequential.boundary(10, 5), None),
    set_sizes.fit_floor: (
        lambda: set_sizes.fit_floor(SIZES[0], 1 + 8 / SIZES[0], SIZES[2]),
        1,
    ),
    set_sizes.floor_interval: (lambda: set_sizes.floor_interval(*SIZES, **SEED), None),
    spread.paired_ratio: (lambda: spread.paired_ratio(FIRST, 2 * FIRST).estimate, -math.log(2)),
    spread.unpaired_ratio: (lambda: spread.unpaired_ratio(FIRST, 2 * FIRST).sd_b[0], None),
    summaries.compare_summaries: (
        lambda: (
            summaries.compare_summaries(
                summaries.Summary(3.0, 1.0, 5), summaries.Summary(1.0, 1.0, 5), 0.5
            ).difference
        ),
        2,
    ),
    superiority.pairs_needed: (lambda: superiority.pairs_needed(0.75, 0.8), 35),
    superiority.draws_needed: (lambda: superiority.draws_needed(0.75, 0.8), 21),
    superiority.pairs_show: (lambda: superiority.pairs_show(30, 0.8), None),
    superiority.draws_show: (lambda: superiority.draws_show(30, 0.8), None),
    two_sample.compare_paired: (
        lambda: two_sample.compare_paired(FIRST, SECOND, DIRECTIONS_E, power=0.8).n_pairs,
        4,
    ),
    two_sample.compare_unpaired: (
        lambda: (
            two_sample.compare_unpaired(
                FIRST[:1], SECOND[1:], DIRECTIONS_E, power=0.8, **SEED
            ).mean_diff
        ),
        FIRST[0, :, 0].mean() - SECOND[1, :, 0].mean(),
    ),
    variance_components.nested_components: (
        lambda: sum(variance_components.nested_components(FIRST[:, :, None]).shares().values()),
        1,
    ),
    variance_components.crossed_components: (
        lambda: sum(variance_components.crossed_components(SCORE_MDSE).shares().values()),
        1,
    ),
}


def public_functions():
    for module in MODULES:
        for name, value in vars(module).items():
            is_function = inspect.isfunction(value) or hasattr(value, "cache_info")
            own = is_function and value.__module__ == module.__name__
            if own and not name.startswith("_"):
                yield value


def test_every_public_function_is_called_here():
    assert set(public_functions()) == set(CALLS)


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__qualname__)
def test_a_plain_array_is_enough(function):
    call, wanted = CALLS[function]
    found = np.ravel(np.asarray(call(), dtype=float))
    assert np.isfinite(found[0])
    if wanted is not None:
        assert found[0] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__qualname__)
def test_every_parameter_and_result_has_a_type_and_the_function_a_docstring(function):
    signature = inspect.signature(function)
    types = [parameter.annotation for parameter in signature.parameters.values()]
    assert inspect.Signature.empty not in [*types, signature.return_annotation]
    assert inspect.getdoc(function)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_statistic_knows_a_record_a_table_or_a_setting(module):
    beside = ("scores", "tables", "figures", "report", "formatting", "settings")
    for value in vars(module).values():
        origin = getattr(value, "__module__", None) or getattr(value, "__name__", "")
        parts = str(origin).split(".")
        assert parts[:2] != ["calib_sweep", "analysis"] or parts[2] not in beside, value


def test_scipy_is_imported_in_one_file_only():
    for module in MODULES:
        names = {getattr(value, "__name__", "") for value in vars(module).values()}
        assert not any(name == "scipy" or name.startswith("scipy.") for name in names), module
