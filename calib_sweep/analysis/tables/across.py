"""The same contrasts in two sweeps: is one method as far ahead of another in both?

A contrast is a pair of methods in one headline score of one model. Of each sweep it is the row of
comparisons.csv over all datasets; their difference is tested:

    same draws     both sweeps used the same calibration sets, by their hashes: the difference of
                   the two contrasts is taken draw by draw (`inference.two_sample`)
    independent    they did not: squares of standard errors add up, with Satterthwaite's df
                   (`inference.estimates`). Where some sets are shared and move both sweeps alike,
                   the interval is too wide

`difference` is the contrast a - b of the first sweep minus that of the second, with its own 95 %
interval; p is of the t test that belongs to it, `p_holm` corrected for all rows of the table,
`is_shown` says whether it is below 5 %, `reason` why there is no test. All are on the scale of the
analysis (log perplexity, shares). A sweep without an interval leaves none.

Shapes: D datasets, S seeds, E scores.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.inference.estimates import Estimate, difference, of_interval
from calib_sweep.analysis.inference.intervals import LEVEL
from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.two_sample import compare_paired
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.comparisons import comparison_table

COLUMNS = [
    *("model", "metric", "a", "b", "first", "second", "design", "n_first", "n_second"),
    *("first_diff", "first_lo", "first_hi", "second_diff", "second_lo", "second_hi"),
    *("difference", "lo", "hi", "df", "p", "p_holm", "is_shown", "reason"),
]
SAME_DRAWS, INDEPENDENT = "same draws", "independent"
Draws = dict[tuple[str, int | None], frozenset[str]]  # dataset, seed -> hashes of the set


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """One of the sweeps."""

    name: str
    arrays: Sequence[ScoreArray]
    hashes: Mapping[str, str]  # of the calibration set, by cell

    @property
    def models(self) -> list[str]:
        return [array.model for array in self.arrays]

    @property
    def methods(self) -> list[str]:
        """Return the names of all methods, with the settings that differ within the sweep."""
        return sorted({names.method for array in self.arrays for names in array.methods})

    def array(self, model: str) -> ScoreArray:
        return next(array for array in self.arrays if array.model == model)


def matched_models(first: Sweep, second: Sweep) -> dict[str, tuple[str, str]]:
    """Return the models that are compared, by a label: those of one name, or the only ones."""
    common = [model for model in first.models if model in second.models]
    if not common and len(first.models) == len(second.models) == 1:
        pair = first.models[0], second.models[0]
        return {" | ".join(pair): pair}
    return {model: (model, model) for model in common}


def across_table(
    first: Sweep, others: Sequence[Sweep], settings: AnalysisSettings, known: Metrics = OURS
) -> Frame:
    """Make across.csv: the first sweep against each of the others."""
    compared = [comparison_table(sweep.arrays, settings) for sweep in (first, *others)]
    tables = [pd.DataFrame(columns=pd.Index(COLUMNS))]
    for second, own in zip(others, compared[1:], strict=True):
        for label, models in matched_models(first, second).items():
            found = _matched(first, second, models, (compared[0], own), settings, known)
            tables += [found.assign(model=label, first=first.name, second=second.name)]
    table = pd.concat([one for one in tables if len(one)] or tables[:1], ignore_index=True)
    p_holm = holm_corrected(table["p"].to_numpy(float))
    return table.assign(p_holm=p_holm, is_shown=p_holm < 1 - LEVEL).reindex(columns=COLUMNS)


def _matched(
    first: Sweep,
    second: Sweep,
    models: tuple[str, str],
    compared: tuple[Frame, Frame],
    settings: AnalysisSettings,
    known: Metrics,
) -> Frame:
    """Return the rows of one model in two sweeps."""
    frames = [_pooled(*own, known) for own in zip(compared, models, strict=True)]
    keys = frames[0].index.intersection(frames[1].index)
    own = [frame.loc[keys] for frame in frames]
    estimates = [
        of_interval(*(frame[name].to_numpy(float) for name in ("mean_diff", "lo", "hi", "df")))
        for frame in own
    ]
    table: Frame = keys.to_frame(index=False).assign(design=INDEPENDENT)
    for side, frame in zip(("first", "second"), own, strict=True):
        numbers = {f"{side}_{end}": frame[f"{key}"] for end, key in _ENDS.items()}
        table = table.assign(**{name: of.to_numpy(float) for name, of in numbers.items()})
        table[f"n_{side}"] = frame["n_pairs"].to_numpy(float)
    found = [np.array(part, dtype=float) for part in difference(*estimates)]
    arrays = first.array(models[0]), second.array(models[1])
    for (a, b), rows in table.groupby(["a", "b"], sort=False):
        draws = [_draws(*one, (a, b)) for one in zip(arrays, (first, second), strict=True)]
        if draws[0] and draws[0] == draws[1]:
            metrics, places = list(rows["metric"]), rows.index.to_numpy()
            paired = _by_draw(arrays, (a, b), metrics, list(draws[0]), settings)
            for part, new in zip(found, paired, strict=True):
                part[places] = new
            table.loc[places, "design"] = SAME_DRAWS
    estimate = Estimate(*found)
    lo, hi = estimate.interval
    table = table.assign(difference=estimate.value, lo=lo, hi=hi, df=estimate.df, p=estimate.p)
    return table.assign(reason=_reasons(estimate))


def _reasons(found: Estimate) -> np.ndarray:
    """Say why there is no test, where there is none."""
    has_no_spread = np.isfinite(found.df) & (found.se == 0)
    return np.select(
        [np.isnan(found.df), has_no_spread & (found.value == 0), has_no_spread],
        ["too few draws", "equal on every draw", "the same difference on every draw"],
        "",
    )


_ENDS = {"diff": "mean_diff", "lo": "lo", "hi": "hi"}


def _pooled(compared: Frame, model: str, known: Metrics) -> Frame:
    """Return the headline contrasts of one model over all its datasets, by metric and methods."""
    headlines = list(known.headlines(compared["metric"]))
    is_pooled = (compared["kind"] == "method") & (compared["dataset"] == "")
    own = compared[is_pooled & (compared["model"] == model) & compared["metric"].isin(headlines)]
    return own.set_index(["metric", "a", "b"])


def _places(array: ScoreArray, methods: Sequence[str]) -> list[int]:
    names = [names.method for names in array.methods]
    return [names.index(method) for method in methods]


def _draws(array: ScoreArray, sweep: Sweep, methods: Sequence[str]) -> Draws:
    """Return the draws that both methods have; empty where a set's hash is not known."""
    cells_2DS = array.cell_ids_MDSR[_places(array, methods)][..., 0]
    reads_2 = array.reads_data_M[_places(array, methods)]
    found: Draws = {}
    for d, s in np.argwhere((cells_2DS != "").all(axis=0)):
        own = [sweep.hashes.get(cell) for cell in cells_2DS[reads_2, d, s]]
        if None in own:
            return {}
        found[array.datasets[d], array.seeds[s]] = frozenset(filter(None, own))
    return found


def _by_draw(
    arrays: Sequence[ScoreArray],
    methods: Sequence[str],
    metrics: Sequence[str],
    draws: Sequence[tuple[str, int | None]],
    settings: AnalysisSettings,
) -> Estimate:
    """Return the difference of two contrasts that were made on the same draws, each [E]."""
    datasets, seeds = (list(dict.fromkeys(axis)) for axis in zip(*draws, strict=True))
    values = list(_contrasts(arrays, methods, metrics, datasets, seeds))
    directions_E = np.ones(len(metrics))
    found = compare_paired(values[0], values[1], directions_E, power=settings.power)
    return of_interval(*(getattr(found, name)[-1] for name in ("mean_diff", "lo", "hi", "df")))


def _contrasts(
    arrays: Sequence[ScoreArray],
    methods: Sequence[str],
    metrics: Sequence[str],
    datasets: Sequence[str],
    seeds: Sequence[int | None],
) -> Iterator[np.ndarray]:
    """Yield the contrast of each sweep on these draws [D, S, E]."""
    for array in arrays:
        places = [
            [array.datasets.index(name) for name in datasets],
            [array.seeds.index(seed) for seed in seeds],
            [array.metrics.index(metric) for metric in metrics],
        ]
        a_DSE, b_DSE = (array.lasting_MDSE[m][np.ix_(*places)] for m in _places(array, methods))
        with np.errstate(invalid="ignore"):
            yield a_DSE - b_DSE
