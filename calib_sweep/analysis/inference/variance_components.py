"""Variance components of a sweep: how much lies between datasets, draws, methods, repetitions.

    nested     y = mu + dataset + draw (in dataset) + replicate                     one method
    crossed    y = mu + method + dataset + method:dataset + draw + method:draw      several

All are taken as random. Several methods meet on the same calibration sets, so the draw has a part
that they share (draw) and one of its own for each (method:draw). Without replicates the draw of one
method contains the machine.

Estimated by restricted maximum likelihood, never negative; in complete designs that is the analysis
of variance wherever the latter is not negative. Intervals are generalized ones (`anova`).

Across methods a number and its interval speak of the same components. Where only one dataset has
draws that all methods have, nothing between datasets can be told apart: the scores of the others
are left out, or what lies between datasets would count as draw.

Shapes: M methods, D datasets, S draws of a dataset, R replicates, E metrics, N observations.
Variances are in the unit of the values squared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference.anova import Anova, crossed_anova, is_whole, nested_anova
from calib_sweep.analysis.inference.intervals import Interval
from calib_sweep.analysis.inference.reml import fit_reml, reml_from_anova

# Component -> what two scores that share it share besides.
NESTED: Mapping[str, tuple[str, ...]] = {
    "dataset": (),
    "draw": ("dataset",),
    "replicate": ("dataset", "draw"),
}
CROSSED: Mapping[str, tuple[str, ...]] = {
    "method": (),
    "dataset": (),
    "method:dataset": ("method", "dataset"),
    "draw": ("dataset",),
    "method:draw": ("method", "dataset", "method:dataset", "draw"),
}


@dataclass(frozen=True, eq=False)
class Components:
    """The variance components of one design, each [E] by its name; NaN or lacking: not known."""

    variance: Mapping[str, np.ndarray]  # REML
    anova: Anova
    sharing: Mapping[str, tuple[str, ...]]

    def known(self) -> dict[str, np.ndarray]:
        """Return the variances of the components that can be told apart."""
        df = dict(zip(self.anova.names, self.anova.df_L, strict=True))
        if not df["draw"] > 0:
            return {}
        return {name: self.variance[name] for name in self.sharing if df.get(name, 0) > 0}

    def shares(self) -> dict[str, np.ndarray]:
        """Return each component's share of their sum, between 0 and 1."""
        return {name: variance / self._total() for name, variance in self.known().items()}

    def icc(self) -> dict[str, np.ndarray]:
        """Return the correlation of two scores that share this level and what it lies in."""
        known = self.known()
        return {
            name: np.sum([known[o] for o in (name, *self.sharing[name]) if o in known], axis=0)
            / self._total()
            for name in known
        }

    def sd_interval(self, seed: int, num_resamples: int) -> dict[str, Interval]:
        """Return the 95 % interval of each component's SD; NaN where it has too few df."""
        low_LE, high_LE = self.anova.interval(seed, num_resamples)
        ends = zip(np.sqrt(low_LE), np.sqrt(high_LE), strict=True)
        return dict(zip(self.anova.names, ends, strict=True))

    def _total(self) -> np.ndarray:
        total_E = np.sum(list(self.known().values()), axis=0)
        return np.where(total_E > 0, total_E, np.nan)


def nested_components(value_DSRE: np.ndarray) -> Components:
    """Decompose the scores of one method; NaN is no score, in the same places for all metrics."""
    anova = nested_anova(value_DSRE)
    has_repeats = anova.df_L[0] > 0
    where = np.argwhere(np.isfinite(value_DSRE[..., 0]))
    draw_N = where[:, 0] * value_DSRE.shape[1] + where[:, 1]
    factors = [where[:, 0], draw_N] if has_repeats else [where[:, 0]]
    order = ["dataset", "draw", "replicate"] if has_repeats else ["dataset", "draw"]
    variance = _estimate(anova, value_DSRE[tuple(where.T)], factors, order)
    return Components(variance, anova, {name: NESTED[name] for name in order})


def crossed_components(value_MDSE: np.ndarray) -> Components:
    """Decompose the scores of several methods on the same draws; NaN is no score.

    Intervals are of the draws that all methods have; there must be two or more of them.
    """
    complete_DS = is_whole(value_MDSE, axis=(0, 3))
    has_complete_D = complete_DS.any(axis=1)
    if has_complete_D.sum() == 1:
        value_MDSE, complete_DS = value_MDSE[:, has_complete_D], complete_DS[has_complete_D]
    anova = crossed_anova(np.where(complete_DS[..., None], value_MDSE, np.nan))
    m, d, s = np.argwhere(np.isfinite(value_MDSE[..., 0])).T
    num_D, num_S = value_MDSE.shape[1:3]
    factor_of = {"method": m, "draw": d * num_S + s}
    if "dataset" in anova.names:
        factor_of |= {"dataset": d, "method:dataset": m * num_D + d}
    order = [*factor_of, "method:draw"]
    variance = _estimate(anova, value_MDSE[m, d, s], list(factor_of.values()), order)
    return Components(variance, anova, CROSSED)


def _estimate(
    anova: Anova, value_NE: np.ndarray, factors: Sequence[np.ndarray], order: Sequence[str]
) -> dict[str, np.ndarray]:
    """Fit each component [E]. In a complete design that is the ANOVA where it is feasible."""
    anova_LE = anova.estimate()
    estimate = dict(zip(anova.names, anova_LE.copy(), strict=True))
    sizes = [np.unique(np.unique(f, return_counts=True)[1]) for f in factors]
    is_complete = all(len(size) == 1 for size in sizes)
    shown = [anova.names.index(name) for name in order]
    is_feasible_E = (anova_LE[shown] >= 0).all(axis=0) & bool((anova.df_L[shown] > 0).all())
    for e in np.flatnonzero(~(is_feasible_E & is_complete)):
        if is_complete:
            # The residual comes first; of one dataset there is nothing between datasets to fit.
            own = sorted(line for line in shown if anova.df_L[line] > 0)
            names, weight_LL = [anova.names[line] for line in own], anova.weight_LL
            fitted_L = reml_from_anova(
                anova.square_LE[own, e], anova.df_L[own], weight_LL[np.ix_(own, own)]
            )
        else:
            names, fitted_L = order, _fit(value_NE[:, e], factors)
        for name, variance in zip(names, fitted_L, strict=True):
            estimate[name][e] = variance
    return estimate


def _fit(value_N: np.ndarray, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Fit by REML; where all values of the last factor's levels are equal, it is the residual."""
    last_N = factors[-1]
    first_N, level_N = np.unique(last_N, return_index=True, return_inverse=True)[1:]
    if len(first_N) < len(value_N) and np.array_equal(value_N, value_N[first_N][level_N]):
        return np.append(fit_reml(value_N[first_N], [f[first_N] for f in factors[:-1]]), 0.0)
    return fit_reml(value_N, factors)
