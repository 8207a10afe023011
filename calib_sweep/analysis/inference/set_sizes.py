"""The spread over draws against the size of a calibration set, and its floor.

    v(N) = a + b / N,  a, b >= 0          variance over draws of sets of N samples
    floor = sqrt(a)                       what is left however large the sets are

Fitted to the s^2 of each size by maximum likelihood of their distribution, s^2 ~ v chi2(df) / df,
iterating least squares weighted by df / v^2. The interval of the floor refits simulated s^2 df /
chi2(df), as in `anova`, for normal draws, as if the sets of different sizes had no sample in
common. They have: a larger set contains the smaller one of its seed (design: independent), or those
of several seeds (design: disjoint). docs/analysis.md says that the interval holds all the same.

Shapes: Z sizes, B simulations. a is in the unit of the variances, b in that times samples.
"""

from typing import cast

import numpy as np

from calib_sweep.analysis.inference.anova import chi2_draws
from calib_sweep.analysis.inference.intervals import TAIL

MIN_SIZES = 3  # two are fitted by any a and b
ITERATIONS = 10


def fit_floor(size_Z: np.ndarray, variance_Z: np.ndarray, df_Z: np.ndarray) -> tuple[float, float]:
    """Return a and b of the most likely v(N) = a + b / N.

    `variance_Z`: sample variances over draws on `df_Z` degrees of freedom, all positive.
    """
    a_B, b_B = _fit(size_Z, variance_Z[None], df_Z)
    return float(a_B[0]), float(b_B[0])


def floor_interval(
    size_Z: np.ndarray, variance_Z: np.ndarray, df_Z: np.ndarray, *, seed: int, num_resamples: int
) -> tuple[float, float]:
    """Return the 95 % interval of a, from `num_resamples` simulations of `seed`."""
    simulated_BZ = np.stack(
        [
            variance * df / chi2_draws(f"size {z}", df, seed, num_resamples)
            for z, (variance, df) in enumerate(zip(variance_Z, df_Z, strict=True))
        ],
        axis=1,
    )
    low, high = np.quantile(_fit(size_Z, simulated_BZ, df_Z)[0], [TAIL, 1 - TAIL])
    return float(low), float(high)


def _fit(
    size_Z: np.ndarray, variance_BZ: np.ndarray, df_Z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a and b [B] to each row, by weighted least squares within a, b >= 0."""
    x_Z: np.ndarray = np.divide(1, size_Z)
    fitted_BZ = np.broadcast_to(variance_BZ.mean(1, keepdims=True), variance_BZ.shape)
    a_B = b_B = np.zeros(len(variance_BZ))
    for _ in range(ITERATIONS):
        weight_BZ = np.asarray(df_Z / fitted_BZ**2)
        weight_BZ = np.asarray(weight_BZ / weight_BZ.sum(1, keepdims=True))
        mean_x, mean_y = (weight_BZ * x_Z).sum(1), (weight_BZ * variance_BZ).sum(1)
        spread = (weight_BZ * (x_Z - mean_x[:, None]) ** 2).sum(1)
        b_B = (weight_BZ * (x_Z - mean_x[:, None]) * variance_BZ).sum(1) / spread
        only_b_B = (weight_BZ * x_Z * variance_BZ).sum(1) / (weight_BZ * x_Z**2).sum(1)
        a_B = mean_y - b_B * mean_x
        b_B = cast(np.ndarray, np.where(a_B < 0, only_b_B, np.maximum(b_B, 0)))
        above_B = cast(np.ndarray, np.where(b_B == 0, mean_y, a_B))
        a_B = np.where(a_B < 0, 0.0, above_B)
        fitted_BZ = np.asarray(a_B[:, None] + b_B[:, None] * x_Z)
    return a_B, b_B
