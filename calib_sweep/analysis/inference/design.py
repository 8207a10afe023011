"""How narrow an interval of the difference of two methods a design buys: datasets, seeds, items.

A pilot saw x[d, s] = a - b on n0 draws of each of D0 datasets:

    x[d, s] = mu + dataset_d + draw_ds,   variances tau^2 and sigma^2 (method:dataset, method:draw)
    sigma^2 from the variances within datasets, on df0 (`equivalence.spread_of_draws`)
    B       the variance of the D0 means, on D0 - 1:  E[B] = tau^2 + sigma^2 mean(1 / n_d)

A study of D datasets and n draws of each has, for its half-width at 95 %,

    on its datasets      t(df) sqrt(V),     E[V] = sigma^2 / (D n),               df = pooled_df
    for a new dataset    t(D - 1) sqrt(V),  E[V] = (tau^2 + sigma^2 / n) / D,     V D / E ~ chi2
    on new items too     sqrt(half^2 + z^2 item T0 / T),  `item` the variance of the mean over the
                         T0 tasks of the pilot that lies in their items, alike in any task

Assurance: the pilot leaves sigma^2 and tau^2 open. sigma^2 is simulated as df0 s^2 / chi2(df0), and
tau^2 + sigma^2 mean(1 / n_d) as (D0 - 1) B / chi2(D0 - 1) (generalized pivots, Weerahandi 1993), a
tau^2 below 0 counting as 0; V as the study's own chi2 will have it. The half-width that is told is
not exceeded with probability `power`.

One draw of each dataset shows tau^2 + sigma^2 only: then only designs of one draw have a width. One
dataset shows no tau^2.

Shapes: D datasets, S draws; B simulations.
"""

import math
from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import typed_scipy
from calib_sweep.analysis.inference.equivalence import spread_of_draws
from calib_sweep.analysis.inference.intervals import MIN_DRAWS, TAIL
from calib_sweep.analysis.inference.power import pooled_df
from calib_sweep.analysis.rounding import variance
from calib_sweep.seeding import stream

MIN_DF = MIN_DRAWS - 1


@dataclass(frozen=True)
class Pilot:
    """What a pilot knows of a difference of two methods; NaN is what it does not."""

    num_datasets: int  # D0
    num_draws: float  # n0, the harmonic mean
    draw_sd: float  # sigma
    draw_df: float  # df0
    between: float  # B, on D0 - 1
    item_variance: float = float("nan")  # of the mean over tasks
    num_tasks: int = 1  # T0

    @property
    def dataset_sd(self) -> float:
        """Return tau: how far the true difference varies between datasets."""
        part = self.draw_sd**2 / self.num_draws
        return float(np.sqrt(max(0.0, self.between - part)))


@dataclass(frozen=True, order=True)
class Design:
    """A study; `num_tasks` 0: as many as the pilot's."""

    num_datasets: int
    num_draws: int
    num_tasks: int = 0


def pilot_of(
    difference_DS: np.ndarray, item_variance: float = float("nan"), num_tasks: int = 1
) -> Pilot:
    """Return what the differences of pairs say [D, S]; NaN is a pair that is not there.

    `item_variance`: of the mean difference, that lies in the items of the `num_tasks` tasks.
    """
    n_D: np.ndarray = np.isfinite(difference_DS).sum(axis=1)
    has_D = n_D > 0
    sd_E, df_E = spread_of_draws(difference_DS[has_D][..., None])
    mean_D = np.nanmean(difference_DS[has_D], axis=1)
    return Pilot(
        num_datasets=int(has_D.sum()),
        num_draws=1 / float(np.mean(1 / n_D[has_D])),
        draw_sd=float(sd_E[0]),
        draw_df=float(df_E[0]),
        between=float(variance(mean_D)) if len(mean_D) > 1 else float("nan"),
        item_variance=item_variance,
        num_tasks=num_tasks,
    )


class Planner:
    """The half-widths of designs, given one pilot; the same simulated numbers for all designs."""

    def __init__(self, pilot: Pilot, *, power: float, seed: int, num_resamples: int) -> None:
        self.pilot, self.power = pilot, power
        draw = stream("analysis/design", seed)
        self._uniform_3B = np.stack(
            [
                (draw.permutation(num_resamples) + draw.random(num_resamples)) / num_resamples
                for _ in range(3)
            ]
        )
        sigma2_B = self._posterior(pilot.draw_sd**2, pilot.draw_df, 0)
        total_B = self._posterior(pilot.between, pilot.num_datasets - 1, 1)
        self._sigma2_B, self._total_B = sigma2_B, total_B
        self._tau2_B = np.maximum(0.0, total_B - sigma2_B / pilot.num_draws)

    def _posterior(self, variance: float, df: float, line: int) -> np.ndarray:
        uniform_B = self._uniform_3B[line]
        if not df >= 1:
            return uniform_B * float("nan")
        return variance * df / typed_scipy.chi2_isf_fast(uniform_B, df)

    def on_these(self, design: Design) -> float:
        """Return the half-width on the datasets of the study; infinite with too few draws."""
        num_D, num_n = design.num_datasets, design.num_draws
        if num_D * (num_n - 1) < MIN_DF:
            return float("inf")
        if not self.pilot.draw_df >= MIN_DF:
            return float("nan")
        df = float(pooled_df(num_n, num_D))
        ratio = float(typed_scipy.f_isf(1 - self.power, df, self.pilot.draw_df))
        threshold = float(typed_scipy.t_isf(TAIL, df))
        return threshold * self.pilot.draw_sd * math.sqrt(ratio / (num_D * num_n))

    def for_new(self, design: Design) -> float:
        """Return the half-width for a dataset not seen; infinite with fewer than two datasets."""
        df = design.num_datasets - 1
        if df < 1:
            return float("inf")
        parts_B = self._tau2_B + self._sigma2_B / design.num_draws
        if np.isnan(self.pilot.draw_df) and design.num_draws == self.pilot.num_draws:
            parts_B = self._total_B  # seen as a whole only
        if not np.isfinite(parts_B).all():
            return float("nan")
        seen_B = parts_B * typed_scipy.chi2_isf_fast(self._uniform_3B[2], df) / df
        most = float(np.quantile(seen_B, self.power))
        return float(typed_scipy.t_isf(TAIL, df) * np.sqrt(most / design.num_datasets))

    def with_items(self, half_width: float, design: Design) -> float:
        """Return a half-width for other items of the same kind as well; NaN where not known."""
        tasks = design.num_tasks or self.pilot.num_tasks
        items = self.pilot.item_variance * self.pilot.num_tasks / tasks
        return float(np.sqrt(half_width**2 + typed_scipy.normal_isf(TAIL) ** 2 * items))


def designs_of(num_pairs: int, most_datasets: int) -> list[Design]:
    """Return a design for each number of datasets: as many draws as `num_pairs` cells buy."""
    most = min(num_pairs, most_datasets)
    return [Design(num, num_pairs // num) for num in range(1, most + 1)]
