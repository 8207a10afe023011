"""Two samples of scores compared, all metrics at once.

Paired: both met on the same calibration sets, x = a - b on each of the N sets.
    difference      t of the x of a dataset, and over datasets (`differences`)
    P(A > B)        share of the N pairs that A wins, ties half;  interval: Clopper and Pearson
    p_flip          sign flips, all of them counted (`permutation`)
Unpaired, they share no sets:
    one dataset     abar - bbar -+ t(df) sqrt(s_a^2 / n_a + s_b^2 / n_b)                 Welch
    all datasets    mean of the differences, se^2 the sum of the squares of all samples' SEs / D^2,
                    of datasets with three draws or more of each
    P(A > B)        share of the n_a n_b pairs that A wins; interval: Newcombe
    p_flip          permutations, exact while there are few; of one dataset only
`p` and `new_p` are those of the t test that belongs to lo..hi and new_lo..new_hi. Where the same
difference was seen on all draws, t has no spread to go by, and p is that of the flips (of D
datasets of one sign: 2^(1-D)). `mde` is the difference that a test of this size finds with the
power asked for.

NaN is a score that is not there. An infinite one (a perplexity that blew up) loses in P(A > B)
against any other. In means and tests its draw is left out; `lost_a`, `lost_b` count them.

Shapes: D datasets, S seeds, E metrics; results [D + 1, E], the last line over all datasets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.differences import (
    MIN_DF,
    Estimate,
    for_new_dataset,
    moments,
    over_datasets,
    satterthwaite,
    t_test,
)
from calib_sweep.analysis.inference.permutation import sign_flip_p, two_sample_p
from calib_sweep.analysis.inference.power import smallest_detectable


@dataclass(frozen=True, eq=False)
class Compared:
    """Everything that a comparison finds, each [lines, E]; in the unit of the scores."""

    n_pairs: np.ndarray  # in the mean; unpaired: draws of the one that has fewer
    lost_a: np.ndarray  # infinite scores of a, whose draws are left out of the mean
    lost_b: np.ndarray
    mean_diff: np.ndarray  # a - b
    lo: np.ndarray
    hi: np.ndarray
    p: np.ndarray
    p_flip: np.ndarray
    prob_better: np.ndarray  # of a; NaN where it is not known which way is better
    prob_lo: np.ndarray
    prob_hi: np.ndarray
    mde: np.ndarray
    sd_diff: np.ndarray  # of the difference of a pair
    df: np.ndarray
    new_lo: np.ndarray  # for a new dataset; last line only
    new_hi: np.ndarray
    new_p: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """Return every field by its name, flat: line by line, metrics within."""
        return {field.name: getattr(self, field.name).ravel() for field in fields(self)}

    def line(self, number: int) -> "Compared":
        """Return one line of all."""
        return Compared(**{of.name: getattr(self, of.name)[[number]] for of in fields(self)})

    def replaced(self, is_other_E: np.ndarray, other: "Compared") -> "Compared":
        """Return the same with the metrics of `other` in their places."""
        found: dict[str, np.ndarray] = {}
        for of in fields(self):
            found[of.name] = getattr(self, of.name).copy()
            found[of.name][:, is_other_E] = getattr(other, of.name)
        return Compared(**found)


def compare_paired(
    a_DSE: np.ndarray, b_DSE: np.ndarray, directions_E: np.ndarray, *, power: float
) -> Compared:
    """Compare pairs of the same dataset and seed: a line per dataset, and one over all.

    `directions_E`: +1 more is better, -1 less is, 0 not known. `power`: of the smallest detectable
    difference (mde).
    """
    is_pair = ~(np.isnan(a_DSE) | np.isnan(b_DSE))
    is_used = np.isfinite(a_DSE) & np.isfinite(b_DSE)
    wins_DE = (is_pair & (a_DSE * directions_E > b_DSE * directions_E)).sum(1)
    ties_DE = (is_pair & (a_DSE == b_DSE)).sum(1)
    n_DE = is_used.sum(1)
    with np.errstate(invalid="ignore"):
        x_DSE = np.where(is_used, a_DSE - b_DSE, np.nan)
        size_DSE = np.where(is_used, np.maximum(np.abs(a_DSE), np.abs(b_DSE)), 0.0)
    mean_DE, variance_DE = moments(x_DSE, n_DE, size_DSE.max(axis=1))
    se_DE = np.sqrt(variance_DE / np.maximum(n_DE, 1))
    df_DE = np.where(n_DE > MIN_DF, n_DE - 1.0, np.nan)
    *pooled, pair_E = over_datasets(mean_DE, variance_DE, n_DE)
    # Datasets count equally in the mean, so their pairs do not where their numbers differ.
    weighted_DSE = x_DSE / np.where(n_DE > 0, n_DE, np.nan)[:, None]
    flips = [sign_flip_p(x_SE) for x_SE in x_DSE]
    flips.append(sign_flip_p(weighted_DSE.reshape(-1, x_DSE.shape[2])))
    return _compared(
        n=_with_sum(n_DE),
        lost=[_with_sum((is_pair & np.isinf(of)).sum(1)) for of in (a_DSE, b_DSE)],
        estimate=_with_pooled((mean_DE, se_DE, df_DE), pooled),
        p_flip=np.vstack(flips),
        share=_paired_shares(wins_DE + ties_DE / 2, is_pair.sum(1), directions_E),
        sd_diff=np.sqrt(np.vstack([variance_DE, pair_E])),
        new=for_new_dataset(mean_DE),
        power=power,
    )


def compare_unpaired(
    a_DSE: np.ndarray,
    b_DSE: np.ndarray,
    directions_E: np.ndarray,
    *,
    power: float,
    seed: int,
    num_resamples: int,
) -> Compared:
    """Compare samples that share nothing but the dataset: a line per dataset, and one over all.

    `seed`, `num_resamples`: of the permutations, where they are too many to count all.
    """
    both = (a_DSE, b_DSE)
    n_2DE = np.stack([np.isfinite(of).sum(1) for of in both])
    finite = [np.where(np.isfinite(of), of, np.nan) for of in both]
    size = [np.abs(np.where(np.isnan(of), 0.0, of)).max(axis=1) for of in finite]
    known = [moments(*own) for own in zip(finite, n_2DE, size, strict=True)]
    mean_DE = known[0][0] - known[1][0]
    variance_2DE = np.stack([variance for _, variance in known])
    part_2DE = variance_2DE / np.maximum(n_2DE, 1)
    enough_DE = n_2DE.min(0) >= intervals.MIN_DRAWS
    df_DE = np.where(enough_DE, satterthwaite(part_2DE, n_2DE - 1.0), np.nan)
    # Over all datasets: of those with enough draws of both.
    num_E = np.where(enough_DE.any(0), enough_DE.sum(0), np.nan)
    part_KE, df_KE = (
        np.where(enough_DE, of, 0.0).reshape(-1, enough_DE.shape[1])
        for of in (part_2DE, n_2DE - 1.0)
    )
    pooled = (
        np.where(enough_DE, mean_DE, 0.0).sum(0) / num_E,
        np.sqrt(part_KE.sum(0)) / num_E,
        np.where(enough_DE.any(0), satterthwaite(part_KE, df_KE), np.nan),
    )
    variance_DE = variance_2DE.sum(0)
    pair_E = np.where(enough_DE, variance_DE, 0.0).sum(0) / num_E
    test = partial(_permuted, seed=seed, num_resamples=num_resamples)
    flips = [test(*own) for own in zip(*finite, strict=True)]
    flips.append(flips[0] if len(flips) == 1 else np.full_like(flips[0], np.nan))
    return _compared(
        n=np.vstack([n_2DE.min(0), np.where(enough_DE, n_2DE.min(0), 0).sum(0)]),
        lost=[_with_sum(np.isinf(of).sum(1)) for of in both],
        estimate=_with_pooled((mean_DE, np.sqrt(part_2DE.sum(0)), df_DE), pooled),
        p_flip=np.vstack(flips),
        share=_superiority(a_DSE, b_DSE, directions_E),
        sd_diff=np.sqrt(np.vstack([variance_DE, pair_E])),
        new=for_new_dataset(np.where(enough_DE, mean_DE, np.nan)),
        power=power,
    )


def _with_sum(n_DE: np.ndarray) -> np.ndarray:
    return np.vstack([n_DE, n_DE.sum(0)])


def _with_pooled(of_each: Estimate, pooled: Sequence[np.ndarray]) -> Estimate:
    mean, se, df = (np.vstack(both) for both in zip(of_each, pooled, strict=True))
    return mean, se, df


def _paired_shares(won_DE: np.ndarray, n_DE: np.ndarray, directions_E: np.ndarray) -> Estimate:
    """Return P(A > B) and its interval, of each dataset and of all pairs together."""
    won, n = _with_sum(won_DE), _with_sum(n_DE)
    low, high = intervals.share_interval(won, n)
    share = np.where(n > 0, won / np.maximum(n, 1), np.nan)
    share, low, high = (np.where(directions_E != 0, of, np.nan) for of in (share, low, high))
    return share, low, high


def _superiority(a_DSE: np.ndarray, b_DSE: np.ndarray, directions_E: np.ndarray) -> Estimate:
    """Return the share of all pairs within datasets that a wins, and its interval."""
    a, b = a_DSE[:, :, None] * directions_E, b_DSE[:, None] * directions_E
    won = _with_sum((a > b).sum((1, 2)) + (a == b).sum((1, 2)) / 2)
    n_2DE = np.stack([(~np.isnan(of)).sum(1) for of in (a_DSE, b_DSE)])
    n_a, n_b = (_with_sum(np.where((n_2DE > 0).all(0), of, 0)) for of in n_2DE)
    num = _with_sum(n_2DE.prod(0))
    known = (num > 0) & (directions_E != 0)
    share = np.where(known, won / np.maximum(num, 1), np.nan)
    low, high = intervals.superiority_interval(share, n_a, n_b)
    return share, low, high


def _permuted(a_SE: np.ndarray, b_SE: np.ndarray, *, seed: int, num_resamples: int) -> np.ndarray:
    """Return the permutation p of each metric; metrics with the same draws at once."""
    known_SE = ~np.isnan(np.vstack([a_SE, b_SE]))
    p_E = np.full(a_SE.shape[1], np.nan)
    patterns, place_E = np.unique(known_SE, axis=1, return_inverse=True)
    for k, known_S in enumerate(patterns.T):
        columns = np.flatnonzero(np.ravel(place_E) == k)
        a_S, b_S = np.split(known_S, [len(a_SE)])
        own = (a_SE[a_S][:, columns], b_SE[b_S][:, columns])
        if a_S.any() and b_S.any():
            p_E[columns] = two_sample_p(*own, seed, num_resamples)
    return p_E


def _compared(
    *,
    n: np.ndarray,
    lost: list[np.ndarray],
    estimate: Estimate,
    p_flip: np.ndarray,
    share: Estimate,
    sd_diff: np.ndarray,
    new: Estimate,
    power: float,
) -> Compared:
    """Add interval, detectable difference and t test to a mean with its SE and df; NaN: too few."""
    mean, se, df = estimate
    lo, hi = intervals.around(mean, se, df)
    enough = np.isfinite(df)
    new_lo, new_hi = intervals.around(*new)
    of_one_sign = np.where(np.isfinite(new[2]), 2.0 ** -new[2], np.nan)
    new_p = t_test(new, of_one_sign)
    above = np.full((len(n) - 1, n.shape[1]), np.nan)
    return Compared(
        n_pairs=n,
        lost_a=lost[0],
        lost_b=lost[1],
        mean_diff=mean,
        lo=lo,
        hi=hi,
        p=t_test(estimate, p_flip),
        p_flip=np.where(enough, p_flip, np.nan),
        prob_better=share[0],
        prob_lo=share[1],
        prob_hi=share[2],
        mde=smallest_detectable(se, df, power),
        sd_diff=sd_diff,
        df=df,
        new_lo=np.vstack([above, new_lo]),
        new_hi=np.vstack([above, new_hi]),
        new_p=np.vstack([above, new_p]),
    )
