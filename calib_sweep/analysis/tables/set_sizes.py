"""How the spread over draws falls with the size of a calibration set, and where it ends.

    v(N) = a + b / N,  a, b >= 0          variance over draws of sets of N samples
    floor = sqrt(a)                       what is left however large the sets are

Fitted to the s^2 of each size by maximum likelihood of their distribution, s^2 ~ v chi2(df) / df,
iterating least squares weighted by df / v^2. The interval of the floor refits simulated s^2 df /
chi2(df), as in `anova`, for normal draws, as if the sets of different sizes had no sample in
common. They have: a larger set contains the smaller one of its seed (design: independent), or those
of several seeds (design: disjoint). docs/analysis.md says that the interval holds all the same.

Shapes: Z sizes, B simulations.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.anova import chi2_draws
from calib_sweep.analysis.inference.intervals import MIN_DRAWS, TAIL
from calib_sweep.analysis.rounding import variance
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.settings import AnalysisSettings

KEYS = ["model", "method", "dataset", "metric"]
COLUMNS = [*KEYS, "num_samples", "n", "mean", "sd", "sd_lo", "sd_hi", "sd_fitted"]
FLOOR_COLUMNS = [*KEYS, "num_sizes", "floor", "floor_lo", "floor_hi", "slope"]
MIN_SIZES = 3  # two are fitted by any a and b
ITERATIONS = 10


def set_size_tables(
    arrays: Sequence[ScoreArray], settings: AnalysisSettings
) -> dict[str, pd.DataFrame]:
    """sizes (each size) and size_floors (the fit), where sets of several sizes were drawn."""
    sizes: list[tuple] = []
    floors: list[tuple] = []
    for array in arrays:
        for method, methods in _by_method(array):
            for d, dataset in enumerate(array.datasets):
                for e in np.flatnonzero(array.directions_E):
                    keys = array.model, method, dataset, array.metrics[e]
                    spreads = _spreads(array, methods, d, int(e))
                    if len(spreads) >= 2:
                        sizes += _size_rows(keys, spreads, floors, settings)
    return {
        "sizes": pd.DataFrame(sizes, columns=pd.Index(COLUMNS)),
        "size_floors": pd.DataFrame(floors, columns=pd.Index(FLOOR_COLUMNS)),
    }


def _by_method(array: ScoreArray) -> Iterator[tuple[str, list[int]]]:
    """Methods that differ in nothing but the number of samples, smallest sets first."""
    groups: dict[str, list[int]] = {}
    for m in np.flatnonzero(array.reads_data_M & np.isfinite(array.num_samples_M)):
        size = f"num_samples={array.num_samples_M[m]:.0f}"
        rest = " ".join(w for w in array.methods[m].draw.split() if w != size)
        groups.setdefault(f"{array.methods[m].bare_method} {rest}".rstrip(), []).append(int(m))
    for name, methods in groups.items():
        yield name, sorted(methods, key=lambda m: array.num_samples_M[m])


def _spreads(array: ScoreArray, methods: Sequence[int], d: int, e: int) -> list[tuple[float, ...]]:
    """num_samples, n, mean, SD of each size with enough draws."""
    found = []
    for m in methods:
        value_S = array.value_MDSE[m, d, :, e]
        value_S = value_S[np.isfinite(value_S)]
        if len(value_S) >= MIN_DRAWS:
            size = float(array.num_samples_M[m])
            found.append(
                (size, len(value_S), float(value_S.mean()), float(np.sqrt(variance(value_S))))
            )
    return found


def _size_rows(
    keys: tuple[str, str, str, str],
    spreads: Sequence[tuple[float, ...]],
    floors: list[tuple],
    settings: AnalysisSettings,
) -> Iterator[tuple]:
    """Rows of each size; the fit goes to `floors`."""
    size_Z, n_Z, mean_Z, sd_Z = np.array(spreads).T
    fitted_Z = np.full(len(spreads), np.nan)
    if len(spreads) >= MIN_SIZES and (sd_Z > 0).all():
        floor, slope = fit_floor(size_Z, sd_Z**2, n_Z - 1)
        fitted_Z = np.sqrt(floor + slope / size_Z)
        low, high = floor_interval(size_Z, sd_Z**2, n_Z - 1, settings)
        floors.append((*keys, len(spreads), *np.sqrt([floor, low, high]).tolist(), slope))
    low_Z, high_Z = intervals.sd_interval(sd_Z, n_Z)
    for z in range(len(spreads)):
        numbers = mean_Z[z], sd_Z[z], low_Z[z], high_Z[z], fitted_Z[z]
        yield *keys, int(size_Z[z]), int(n_Z[z]), *(float(number) for number in numbers)


def fit_floor(size_Z: np.ndarray, variance_Z: np.ndarray, df_Z: np.ndarray) -> tuple[float, float]:
    """a and b of the most likely v(N) = a + b / N."""
    a_B, b_B = _fit(size_Z, variance_Z[None], df_Z)
    return float(a_B[0]), float(b_B[0])


def floor_interval(
    size_Z: np.ndarray, variance_Z: np.ndarray, df_Z: np.ndarray, settings: AnalysisSettings
) -> tuple[float, float]:
    """95 % interval of a."""
    simulated_BZ = np.stack(
        [
            variance * df / chi2_draws(f"size {z}", df, settings.seed, settings.num_resamples)
            for z, (variance, df) in enumerate(zip(variance_Z, df_Z, strict=True))
        ],
        axis=1,
    )
    low, high = np.quantile(_fit(size_Z, simulated_BZ, df_Z)[0], [TAIL, 1 - TAIL])
    return float(low), float(high)


def _fit(
    size_Z: np.ndarray, variance_BZ: np.ndarray, df_Z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """a and b [B] of each row, by weighted least squares within a, b >= 0."""
    x_Z = 1 / size_Z
    fitted_BZ = np.broadcast_to(variance_BZ.mean(1, keepdims=True), variance_BZ.shape)
    a_B = b_B = np.zeros(len(variance_BZ))
    for _ in range(ITERATIONS):
        weight_BZ = df_Z / fitted_BZ**2
        weight_BZ = weight_BZ / weight_BZ.sum(1, keepdims=True)
        mean_x, mean_y = (weight_BZ * x_Z).sum(1), (weight_BZ * variance_BZ).sum(1)
        spread = (weight_BZ * (x_Z - mean_x[:, None]) ** 2).sum(1)
        b_B = (weight_BZ * (x_Z - mean_x[:, None]) * variance_BZ).sum(1) / spread
        only_b_B = (weight_BZ * x_Z * variance_BZ).sum(1) / (weight_BZ * x_Z**2).sum(1)
        a_B = mean_y - b_B * mean_x
        b_B = np.where(a_B < 0, only_b_B, np.maximum(b_B, 0))
        a_B = np.where(a_B < 0, 0.0, np.where(b_B == 0, mean_y, a_B))
        fitted_BZ = a_B[:, None] + b_B[:, None] * x_Z
    return a_B, b_B
