"""The scores of one model as an array: what every comparison and decomposition starts from.

A method that reads no data has one value, which stands here for every dataset and seed. A cell that
is missing, failed or superseded is NaN; `cell_ids` tells it from a score that is not a number.

Perplexity is analysed on the log scale: there a difference of 0.01 is one per cent, and the mean
over corpora is the geometric one. Everything else is analysed as it is recorded.

Shapes: M methods, D datasets, S seeds, R replicates, E metrics (scores).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from calib_sweep.analysis.inference.sample import DIVERGED_TIMES
from calib_sweep.analysis.metrics import OURS, Kind, Metrics
from calib_sweep.analysis.rounding import equalised
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.names import Names, Naming
from calib_sweep.analysis.scores.table import DENSE, Row, settings_of

MAX_METHODS = 100  # of a model: 4,950 pairs
NUM_SAMPLES = "calibration.num_samples"


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreArray:
    """All compressed cells of one model, on the scale of the analysis."""

    model: str
    methods: tuple[Names, ...]  # M
    datasets: tuple[str, ...]  # D
    seeds: tuple[int | None, ...]  # S
    metrics: tuple[str, ...]  # E
    value_MDSRE: np.ndarray
    cell_ids_MDSR: np.ndarray  # of str; "" where there is no done cell
    dense_E: np.ndarray  # NaN where there is no dense cell
    num_samples_M: np.ndarray  # sequences in a calibration set; NaN where not recorded
    dense_cell_ids: tuple[str, ...] = ()
    # Of methods that read no data: cell and scores [E], of the first replicate. They are there also
    # where no method reads any, so that there is no dataset for them to stand for.
    undrawn: Mapping[int, tuple[str, np.ndarray]] = field(default_factory=dict)
    known: Metrics = OURS  # of its metrics

    @cached_property
    def value_MDSE(self) -> np.ndarray:
        """Return the first replicate of every cell: spread over seeds is taken over these."""
        return self._first(self.value_MDSRE)

    @cached_property
    def lasting_MDSRE(self) -> np.ndarray:
        """Return all values with every diverged perplexity as infinite: lost, whatever it is.

        Diverged: not finite, or far above the median of its method's draws on the dataset.
        """
        is_logged_E = np.array([self.known.of(metric).is_logged for metric in self.metrics], bool)
        value = self.value_MDSE
        known = ~np.isnan(value).all(axis=2, keepdims=True)
        with np.errstate(invalid="ignore"):
            middle = np.nanmedian(np.where(known, value, 0.0), axis=2, keepdims=True)
            is_far = self.value_MDSRE > middle[:, :, :, None] + np.log(DIVERGED_TIMES)
        return np.where(is_logged_E & is_far, np.inf, self.value_MDSRE)

    @cached_property
    def lasting_MDSE(self) -> np.ndarray:
        """Return the same of the first replicate of every cell."""
        return self._first(self.lasting_MDSRE)

    def _first(self, value_MDSRE: np.ndarray) -> np.ndarray:
        first_MDS = (self.cell_ids_MDSR != "").argmax(axis=3)
        return np.take_along_axis(value_MDSRE, first_MDS[..., None, None], 3)[:, :, :, 0]

    @cached_property
    def reads_data_M(self) -> np.ndarray:
        return np.array([names.dataset is not None for names in self.methods], dtype=bool)

    @cached_property
    def directions_E(self) -> np.ndarray:
        """Return +1 where more is better, -1 where less is, 0 where it is not known."""
        return np.array([self.known.of(metric).direction for metric in self.metrics])

    @property
    def is_wide(self) -> bool:
        """Tell whether the methods with their settings are too many to compare all pairs."""
        return len(self.methods) > MAX_METHODS

    @property
    def draws(self) -> tuple[str, ...]:
        """Return the settings of calibration that were used, each once: sets of others differ."""
        return tuple(draw for draw in self._by_draw if draw is not None)

    def drawn_with(self, draw: str, *, data_free: bool = False) -> np.ndarray:
        """Return the methods that read the sets of `draw`; on request also those that read none."""
        free = self._by_draw.get(None, []) if data_free else []
        return np.array(sorted([*self._by_draw[draw], *free]), dtype=int)

    @cached_property
    def _by_draw(self) -> dict[str | None, list[int]]:
        """Group methods by the settings of the sets that they read; None: they read none."""
        found: dict[str | None, list[int]] = {}
        for m, names in enumerate(self.methods):
            found.setdefault(names.draw if names.dataset else None, []).append(m)
        return found


def score_arrays(
    rows: Sequence[Row], naming: Naming | None = None, known: Metrics = OURS
) -> list[ScoreArray]:
    """Make one array per compressed model, with its settings of model and evaluation."""
    naming = naming or Naming.of_groups(group_rows(rows))
    members: dict[str, list[tuple[Names, Row]]] = {}
    for row in rows:
        if row["metric"] is not None and row["status"] == "done":
            names = naming.name(row["model"], row["method"], row["dataset"], settings_of(row))
            members.setdefault(names.model, []).append((names, row))
    compressed = {m for m, rows in members.items() if any(r["method"] != DENSE for _, r in rows)}
    return [_score_array(model, members[model], known) for model in sorted(compressed)]


def _score_array(model: str, members: Sequence[tuple[Names, Row]], known: Metrics) -> ScoreArray:
    compressed = [(names, row) for names, row in members if row["method"] != DENSE]
    first = {names.method: names for names, _ in reversed(members)}
    methods = [first[name] for name in sorted({names.method for names, _ in compressed})]
    datasets = sorted({names.dataset for names, _ in compressed if names.dataset is not None})
    seeds = _ordered({row["seed"] for names, row in compressed if names.dataset is not None})
    replicates = sorted({row["replicate"] for _, row in compressed})
    metrics = sorted({str(row["metric"]) for _, row in members})
    axes = [[names.method for names in methods], datasets, seeds, replicates, metrics]
    place = [{key: index for index, key in enumerate(axis)} for axis in axes]
    value = np.full([len(axis) for axis in axes], np.nan)
    cell_ids = np.full(value.shape[:-1], "", dtype=object)
    num_samples = np.full(len(methods), np.nan)
    for names, row in compressed:
        m, r, e = place[0][names.method], place[3][row["replicate"]], place[4][row["metric"]]
        free = names.dataset is None
        d = slice(None) if free else place[1][names.dataset]
        s = slice(None) if free else place[2][row["seed"]]
        cell_ids[m, d, s, r] = row["cell_id"]
        value[m, d, s, r, e] = scaled(row["value"], known.of(metrics[e]))
        size = settings_of(row).get(NUM_SAMPLES)
        num_samples[m] = size if isinstance(size, int | float) else np.nan
    for e, metric in enumerate(metrics):
        value[..., e] = equalised(value[..., e], are_logs=known.of(metric).is_logged)
    return ScoreArray(
        model=model,
        methods=tuple(methods),
        datasets=tuple(datasets),
        seeds=tuple(seeds),
        metrics=tuple(metrics),
        value_MDSRE=value,
        cell_ids_MDSR=cell_ids,
        dense_E=_dense(members, metrics, known),
        num_samples_M=num_samples,
        dense_cell_ids=tuple(
            dict.fromkeys(str(row["cell_id"]) for _, row in members if row["method"] == DENSE)
        ),
        undrawn=_undrawn(compressed, place[0], place[4], known),
        known=known,
    )


def _undrawn(
    members: Sequence[tuple[Names, Row]],
    place_M: Mapping[str, int],
    place_E: Mapping[str, int],
    known: Metrics,
) -> dict[int, tuple[str, np.ndarray]]:
    found: dict[int, tuple[str, np.ndarray]] = {}
    for names, row in sorted(members, key=lambda member: member[1]["replicate"]):
        if names.dataset is None:
            m, metric, empty = (
                place_M[names.method],
                str(row["metric"]),
                np.full(len(place_E), np.nan),
            )
            cell_id, value_E = found.setdefault(m, (str(row["cell_id"]), empty))
            if cell_id == str(row["cell_id"]):
                value_E[place_E[metric]] = scaled(row["value"], known.of(metric))
    return found


def _ordered(seeds: Iterable[int | None]) -> list[int | None]:
    return sorted(seeds, key=lambda seed: (seed is not None, seed or 0))


def scaled(value: float, kind: Kind) -> float:
    """Return a score on the scale of the analysis."""
    is_lost = np.isnan(value) or (kind.is_logged and value <= 0)
    if is_lost and kind.direction < 0:
        return np.inf  # a model so broken that its perplexity is no number: the worst there is
    return float(np.log(value)) if kind.is_logged else float(value)


def _dense(
    members: Sequence[tuple[Names, Row]], metrics: Sequence[str], known: Metrics
) -> np.ndarray:
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    for _, row in members:
        if row["method"] == DENSE:
            metric = str(row["metric"])
            values[metric].append(scaled(row["value"], known.of(metric)))
    return np.array([np.mean(own) if own else np.nan for own in values.values()])


ALL = "*"


def equally_complete(value_E: np.ndarray) -> list[list[int]]:
    """Group metrics (last axis) by the cells that have them; not finite is not there."""
    groups: dict[bytes, list[int]] = {}
    for e in range(value_E.shape[-1]):
        scored = np.isfinite(value_E[..., e])
        if scored.sum() > 1:
            groups.setdefault(scored.tobytes(), []).append(e)
    return list(groups.values())
