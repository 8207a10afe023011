"""The spread over draws against the size of a calibration set, and its floor.

`inference.set_sizes` has the fit and its interval.

Shapes: Z sizes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.heavy_tails import sample_inflation
from calib_sweep.analysis.inference.intervals import MIN_DRAWS
from calib_sweep.analysis.inference.set_sizes import MIN_SIZES, fit_floor, floor_interval
from calib_sweep.analysis.rounding import variance
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.settings import AnalysisSettings

KEYS = ["model", "method", "dataset", "metric"]
COLUMNS = [*KEYS, "num_samples", "n", "mean", "sd", "sd_lo", "sd_hi", "sd_fitted"]
FLOOR_COLUMNS = [*KEYS, "num_sizes", "floor", "floor_lo", "floor_hi", "slope"]


def set_size_tables(
    arrays: Sequence[ScoreArray], settings: AnalysisSettings
) -> dict[str, pd.DataFrame]:
    """Make sizes (each size) and size_floors (the fit), where several sizes were drawn."""
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
    """Group methods that differ in nothing but the number of samples, smallest sets first."""
    groups: dict[str, list[int]] = {}
    for m in np.flatnonzero(array.reads_data_M & np.isfinite(array.num_samples_M)):
        size = f"num_samples={array.num_samples_M[m]:.0f}"
        rest = " ".join(w for w in array.methods[m].draw.split() if w != size)
        groups.setdefault(f"{array.methods[m].bare_method} {rest}".rstrip(), []).append(int(m))
    for name, methods in groups.items():
        yield name, sorted(methods, key=lambda m: array.num_samples_M[m])


def _spreads(array: ScoreArray, methods: Sequence[int], d: int, e: int) -> list[tuple[float, ...]]:
    """Return num_samples, n, mean, SD, inflation of each size with enough draws."""
    found = []
    for m in methods:
        value_S = array.value_MDSE[m, d, :, e]
        value_S = value_S[np.isfinite(value_S)]
        if len(value_S) >= MIN_DRAWS:
            size, mean = float(array.num_samples_M[m]), float(value_S.mean())
            sd = float(np.sqrt(variance(value_S)))
            found.append((size, len(value_S), mean, sd, sample_inflation(value_S)))
    return found


def _size_rows(
    keys: tuple[str, str, str, str],
    spreads: Sequence[tuple[float, ...]],
    floors: list[tuple],
    settings: AnalysisSettings,
) -> Iterator[tuple]:
    """Make rows of each size; the fit goes to `floors`."""
    size_Z, n_Z, mean_Z, sd_Z, inflation_Z = np.array(spreads).T
    fitted_Z = np.full(len(spreads), np.nan)
    if len(spreads) >= MIN_SIZES and (sd_Z > 0).all():
        floor, slope = fit_floor(size_Z, sd_Z**2, n_Z - 1)
        fitted_Z = np.sqrt(floor + slope / size_Z)
        low, high = floor_interval(size_Z, sd_Z**2, n_Z - 1, **settings.resampling)
        floors.append((*keys, len(spreads), *np.sqrt([floor, low, high]).tolist(), slope))
    low_Z, high_Z = intervals.sd_interval(sd_Z, n_Z, inflation_Z)
    for z in range(len(spreads)):
        numbers = mean_Z[z], sd_Z[z], low_Z[z], high_Z[z], fitted_Z[z]
        yield *keys, int(size_Z[z]), int(n_Z[z]), *(float(number) for number in numbers)
