"""Sweeps with known truth, as the tidy rows that the analysis starts from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.names import Names
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.seeding import stream

SETTINGS = AnalysisSettings(
    seed=0,
    num_resamples=1000,
    better_from=0.75,
    power=0.8,
    targets=[0.005, 0.01],
    equivalence={"acc": 0.005, "ppl": 0.01},
)
METHODS = ("gptq", "sparsegpt", "spqr", "wanda")
DATASETS = tuple(f"text{number:02}" for number in range(20))
COMPONENTS = {"method": 1.0, "dataset": 0.5, "method:dataset": 0.2, "draw": 0.3, "method:draw": 0.1}


def normal(name: str, *shape: int) -> np.ndarray:
    """Standard normal numbers that belong to `name`."""
    return stream(f"tests/{name}", *shape).standard_normal(shape)


def crossed(
    name: str, num_M: int, num_D: int, num_S: int, num_E: int, variances: Mapping[str, float]
) -> np.ndarray:
    """Scores [M, D, S, E] of methods on shared draws; each metric is a sweep of its own."""
    sd = {key: np.sqrt(variance) for key, variance in variances.items()}
    return (
        sd["method"] * normal(f"{name}/method", num_M, 1, 1, num_E)
        + sd["dataset"] * normal(f"{name}/dataset", 1, num_D, 1, num_E)
        + sd["method:dataset"] * normal(f"{name}/method:dataset", num_M, num_D, 1, num_E)
        + sd["draw"] * normal(f"{name}/draw", 1, num_D, num_S, num_E)
        + sd["method:draw"] * normal(f"{name}/method:draw", num_M, num_D, num_S, num_E)
    )


def row(method: str, value: float, **fields: Any) -> dict[str, Any]:
    """One tidy row; `fields` replace or add columns."""
    axes = {"model": "tiny", "method": method, "dataset": None, "seed": None, "replicate": 0}
    axes = {key: fields.pop(key, axes[key]) for key in axes}
    rest = {"settings": "", "metric": "acc/mean", "value": value, "stderr": np.nan}
    own = {"status": "done", "error": None, "cell_id": "-".join(map(str, axes.values()))}
    settings = {key: fields.pop(key) for key in list(fields) if "." in key}
    named = " ".join(f"{key}={value}" for key, value in settings.items())
    return {**axes, **settings, **rest, "settings": named, **own, **fields}


def rows_of(
    value_MDSE: np.ndarray,
    *,
    methods: Sequence[str] = METHODS,
    datasets: Sequence[str] = DATASETS,
    metrics: Sequence[str] | None = None,
    **fields: Any,
) -> list[dict[str, Any]]:
    """Rows of an array of scores; NaN is a cell that is not there."""
    metrics = metrics or [f"acc/task{e}" for e in range(value_MDSE.shape[3])]
    rows = []
    for m, d, s, e in np.argwhere(~np.isnan(value_MDSE)):
        where = {"dataset": datasets[d], "seed": int(s), "metric": metrics[e]}
        rows.append(row(methods[m], float(value_MDSE[m, d, s, e]), **where, **fields))
    return rows


def array_of(
    value_MDSE: np.ndarray, *, metrics: Sequence[str] | None = None, draw: str = ""
) -> ScoreArray:
    """The array of one model with these scores, without the detour over rows."""
    num_M, num_D, num_S, num_E = value_MDSE.shape
    is_scored_MDS = np.isfinite(value_MDSE).any(axis=3)
    cell_ids = np.where(
        is_scored_MDS, np.arange(is_scored_MDS.size).reshape(num_M, num_D, num_S), ""
    )
    return ScoreArray(
        model="tiny",
        methods=tuple(Names("tiny", name, "any", draw, name) for name in METHODS[:num_M]),
        datasets=tuple(DATASETS[:num_D]),
        seeds=tuple(range(num_S)),
        metrics=tuple(metrics or (f"acc/task{e}" for e in range(num_E))),
        value_MDSRE=value_MDSE[:, :, :, None],
        cell_ids_MDSR=cell_ids.astype(object)[..., None],
        dense_E=np.full(num_E, np.nan),
        num_samples_M=np.full(num_M, np.nan),
    )


def share_inside(interval: tuple[np.ndarray, np.ndarray], truth: float) -> float:
    """How often the interval holds the truth."""
    low, high = interval
    assert np.isfinite(low).all() and np.isfinite(high).all()
    return float(np.mean((low <= truth) & (truth <= high)))
