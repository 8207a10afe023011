"""One contrast over several models, which are taken as a sample: random effects.

y_k is what a study finds on model k, with standard error e_k:

    y_k = mu + u_k + noise,    SD(u) = tau    the contrast itself differs from model to model

    mu           mean(y) -+ t(K-1) s / sqrt(K)             s^2: sample variance of the y
    tau^2        max(0, s^2 - mean(e^2))                   Hedges and Olkin 1985, ch. 9
    its ends     all tau with P(F(f, g) > s^2 / m) between a/2 and 1 - a/2,
                 m = tau^2 + mean(e^2),  v_k = tau^2 + e_k^2
                 f = 2 m^2 / var(s^2),   var(s^2) = 2 tr(A V A V) / (K-1)^2         Box 1954
                 g = m^2 / (sum(e_k^4 / f_k) / K^2)        f_k: df of e_k
                 for the upper end s^2 is mean(e^2) at least
    a new model  mean(y) -+ t(K-1) s sqrt(1 + 1/K)         where such a study of one more model lies

The interval of mu is that of Hartung and Knapp 2001, Sidik and Jonkman 2002, with equal weights.
Weights 1 / (e^2 + tau^2), as DerSimonian and Laird 1986 have them, are the better ones where the e
are known. Here they are estimated from a few draws, and models whose e came out small by chance
weigh most: intervals of 95 % then hold 88 to 95 % (docs/analysis.md). Equal weights say what one
wants to know of models, each counts once, and cost width only where draws move some models far more
than others. Where all e are equal both are the same.

For normal y of equal variance mu and the new model are exact. Where the e differ both hold more.

Shapes: K models, E contrasts. NaN: this contrast was not made on that model. An e that is not
known, as of a single draw, leaves no tau: all else stands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from calib_sweep.analysis.inference import intervals, typed_scipy
from calib_sweep.analysis.inference.estimates import Estimate
from calib_sweep.analysis.rounding import without_rounding

MIN_MODELS = 2
FARTHEST = 2000.0  # times the variance seen: of two models the upper end of tau^2 is at 1018
NUM_HALVINGS = 60
MANY = 1e9  # df of what is known


@dataclass(frozen=True, eq=False)
class OverModels:
    """What several models say together, each [E]; NaN where there are fewer than two."""

    num_models: np.ndarray
    mean: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    p: np.ndarray  # of the t test that belongs to lo and hi
    tau: np.ndarray  # SD of the contrast over models, draws taken off
    tau_lo: np.ndarray  # 0: draws alone could have done it
    tau_hi: np.ndarray
    new_lo: np.ndarray  # of one more model
    new_hi: np.ndarray


def over_models(estimate_KE: np.ndarray, se_KE: np.ndarray, df_KE: np.ndarray) -> OverModels:
    """Summarise contrasts over models; `se`: standard error of each over draws, on `df`."""
    is_known_KE = np.isfinite(estimate_KE)
    num_E = is_known_KE.sum(0)
    enough_E = np.where(num_E >= MIN_MODELS, num_E, np.nan)
    mean_E = np.where(is_known_KE, estimate_KE, 0.0).sum(0) / enough_E
    away_KE = np.where(is_known_KE, estimate_KE - mean_E, 0.0)
    variance_E = (without_rounding(away_KE, np.abs(mean_E)) ** 2).sum(0) / (enough_E - 1)
    found = Estimate(mean_E, np.sqrt(variance_E / enough_E), enough_E - 1)
    lo_E, hi_E = found.interval
    new = Estimate(mean_E, np.sqrt(variance_E * (1 + 1 / enough_E)), found.df)
    new_lo_E, new_hi_E = new.interval
    noise_KE = np.where(is_known_KE, se_KE**2, np.nan)
    is_measured_E = (np.isfinite(noise_KE) & np.isfinite(df_KE)).sum(0) == num_E
    of_noise_E = np.where(is_measured_E, enough_E, np.nan)
    tau_E, tau_lo_E, tau_hi_E = _between(variance_E, noise_KE, df_KE, of_noise_E)
    return OverModels(
        num_models=num_E,
        mean=mean_E,
        lo=lo_E,
        hi=hi_E,
        p=found.p,
        tau=tau_E,
        tau_lo=tau_lo_E,
        tau_hi=tau_hi_E,
        new_lo=new_lo_E,
        new_hi=new_hi_E,
    )


def _between(
    variance_E: np.ndarray, noise_KE: np.ndarray, df_KE: np.ndarray, num_E: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tau with the ends of its interval; `noise`: squared standard errors of `num`."""
    mean_noise_E = np.nansum(noise_KE, axis=0) / num_E
    of_mean_E = np.nansum(noise_KE**2 / df_KE, axis=0) / num_E**2
    seen_E = np.where(np.isfinite(mean_noise_E), variance_E, np.nan)
    # Estimates that lie closer together than their errors allow do not show that tau is 0.
    at_least_E = np.maximum(seen_E, mean_noise_E)

    def exceeded(square_E: np.ndarray, s2_E: np.ndarray) -> np.ndarray:
        """Return P(F > s^2 / m) for tau^2 = `square`: it grows with tau."""
        m_E = square_E + mean_noise_E
        v_KE = square_E + noise_KE
        trace_E = np.nansum(v_KE**2, axis=0) * (1 - 2 / num_E) + m_E**2
        with np.errstate(divide="ignore", invalid="ignore"):
            f_E = m_E**2 * (num_E - 1) ** 2 / trace_E
            g_E = np.minimum(m_E**2 / of_mean_E, MANY)
            return typed_scipy.f_sf(s2_E / m_E, f_E, g_E)

    tail = intervals.TAIL
    squares = [
        variance_E - mean_noise_E,
        *(
            _reached(partial(exceeded, s2_E=s2_E), level, FARTHEST * s2_E)
            for level, s2_E in ((tail, seen_E), (1 - tail, at_least_E))
        ),
    ]
    tau_E, lo_E, hi_E = (np.sqrt(np.maximum(square_E, 0.0)) for square_E in squares)
    return tau_E, lo_E, hi_E


def _reached(
    exceeded: Callable[[np.ndarray], np.ndarray], level: float, farthest_E: np.ndarray
) -> np.ndarray:
    """Find the tau^2 from which on `exceeded` is above `level`; 0 where it always is."""
    low_E, high_E = np.zeros_like(farthest_E), farthest_E
    for _ in range(NUM_HALVINGS):
        middle_E = (low_E + high_E) / 2
        is_above_E = exceeded(middle_E) > level
        low_E, high_E = (
            np.where(is_above_E, low_E, middle_E),
            np.where(is_above_E, middle_E, high_E),
        )
    return np.where(exceeded(np.zeros_like(high_E)) > level, 0.0, high_E)
