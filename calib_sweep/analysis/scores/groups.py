"""Each model x method x dataset x settings x metric over its calibration seeds, beside dense.

    drop = dense - mean for accuracy, mean - dense for perplexity: positive is worse

The mean over corpora or tasks is taken in each cell first (ppl/geomean, acc/mean), then described
over seeds: scores of one draw vary together, so a mean of per-task SDs would be another, wrong
number. The mean over seeds is arithmetic, also of perplexities.

Spread over seeds is that of replicate 0 (the lowest there is). Other replicates measure the
machine, and are described apart. A method that reads no data has one value, which stands for
every dataset and seed.

Shapes: S seeds, R pairs of a cell with its repetition.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from calib_sweep.analysis.inference.sample import Spread, describe
from calib_sweep.analysis.metrics import OURS, Kind, Metrics, recovery, recovery_above_chance
from calib_sweep.analysis.scores.table import DENSE, Row, settings_of
from calib_sweep.settings import applying, settings_text


def direction(metric: str, known: Metrics = OURS) -> int:
    """Return +1 when more of `metric` is better, -1 when less is, 0 when it is not known."""
    return known.of(metric).direction


def is_logged(metric: str, known: Metrics = OURS) -> bool:
    """Tell whether `metric` is analysed on the log scale, and its differences are of logarithms."""
    return known.of(metric).is_logged


def drop(mean: float, dense: float, sign: int) -> float:
    """Return how much worse than dense it is; NaN when direction or dense value is not known."""
    return sign * (dense - mean) + 0.0 if sign else np.nan  # + 0: no drop is 0, not -0


def max_difference(first_R: np.ndarray, again_R: np.ndarray) -> float:
    """Return the largest difference between a cell and its repetition; NaN without any.

    Infinite where only one of the two is finite; two that are no number do not differ.
    """
    are_alike_R = (again_R == first_R) | (np.isnan(again_R) & np.isnan(first_R))
    with np.errstate(invalid="ignore"):
        away_R = np.where(are_alike_R, 0.0, np.abs(again_R - first_R))
    return float(np.max(np.nan_to_num(away_R, nan=np.inf))) if first_R.size else np.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """The cells that differ in nothing but seed and replicate, in one metric."""

    model: str
    method: str
    dataset: str | None  # None: needs no data, stands for every dataset
    settings: Mapping[str, object]
    metric: str
    kind: Kind  # of metric
    seeds: tuple[int | None, ...]  # S, of replicate 0
    value_S: np.ndarray
    stderr_S: np.ndarray  # of each value, over items; NaN where not recorded
    spread: Spread
    dense: float  # NaN: no dense cell of this model and evaluation
    drop: float
    dense_stderr: float = np.nan  # over items; NaN where not recorded
    num_repeated: int = 0  # R
    max_difference: float = field(default=np.nan)

    @property
    def is_dense(self) -> bool:
        return self.method == DENSE

    @property
    def recovery(self) -> float:
        """Return the share of the dense score that the mean keeps."""
        return recovery(self.kind, self.spread.mean, self.dense)

    @property
    def recovery_above_chance(self) -> float:
        """Return the share of what dense scores above chance that the mean keeps."""
        return recovery_above_chance(self.kind, self.spread.mean, self.dense, self.dense_stderr)

    @property
    def label(self) -> tuple[str, str, str | None, str]:
        """Return what identifies the group, apart from its metric."""
        return (self.model, self.method, self.dataset, settings_text(self.settings))


Key = tuple[str, str, str | None, str, str]  # model, method, dataset, settings, metric


def group_rows(rows: Iterable[Row], known: Metrics = OURS) -> list[Group]:
    """Group `rows` by model: the dense group, those without data, the others by name."""
    members: dict[Key, list[Row]] = {}
    for row in rows:
        if row["metric"] is not None and row["status"] == "done":
            key = (row["model"], row["method"], row["dataset"], row["settings"], row["metric"])
            members.setdefault(key, []).append(row)
    dense = {
        (model, settings, metric): (
            float(np.mean([row["value"] for row in own])),
            float(np.mean([row["stderr"] for row in own])),
        )
        for (model, method, _, settings, metric), own in members.items()
        if method == DENSE
    }
    return sorted((_group(own, dense, known) for own in members.values()), key=_order)


def _group(
    rows: Sequence[Row],
    dense: Mapping[tuple[str, str, str], tuple[float, float]],
    known: Metrics,
) -> Group:
    model, metric, settings = rows[0]["model"], rows[0]["metric"], settings_of(rows[0])
    of_dense = applying(settings, is_dense=True, reads_data=False)
    nothing = (np.nan, np.nan)
    reference, stderr = dense.get((model, settings_text(of_dense), metric), nothing)
    first: dict[int, Row] = {}
    pairs = []
    for row in sorted(rows, key=lambda row: (_seed(row), row["replicate"])):
        if _seed(row) in first:
            pairs.append((first[_seed(row)]["value"], row["value"]))
        first.setdefault(_seed(row), row)
    value_S = np.array([row["value"] for row in first.values()], dtype=float)
    pair_R2 = np.array(pairs, dtype=float).reshape(-1, 2)
    spread = describe(value_S)
    return Group(
        model=model,
        method=rows[0]["method"],
        dataset=rows[0]["dataset"],
        settings=settings,
        metric=metric,
        kind=known.of(metric),
        seeds=tuple(None if seed < 0 else seed for seed in first),
        value_S=value_S,
        stderr_S=np.array([row["stderr"] for row in first.values()], dtype=float),
        spread=spread,
        dense=reference,
        drop=drop(spread.mean, reference, known.of(metric).direction),
        dense_stderr=stderr,
        num_repeated=len(pairs),
        max_difference=max_difference(pair_R2[:, 0], pair_R2[:, 1]),
    )


def _seed(row: Row) -> int:
    return -1 if row["seed"] is None else row["seed"]


def _order(group: Group) -> tuple[object, ...]:
    settings = tuple((name, _comparable(value)) for name, value in group.settings.items())
    data = (group.dataset is not None, group.method, group.dataset or "")
    return (group.model, not group.is_dense, *data, settings, group.metric)


def _comparable(value: object) -> tuple[int, float, str]:
    is_number = isinstance(value, int | float)
    return (0, float(value), "") if is_number else (1, 0.0, str(value))
