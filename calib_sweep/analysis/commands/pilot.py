"""What a sweep knows of two methods that a plan needs: differences, items, cost of a cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.commands.plan_arguments import EXAMPLE, Asked
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.inference.design import Pilot, pilot_of
from calib_sweep.analysis.inference.paired_items import item_parts, mean_of_tasks
from calib_sweep.analysis.metrics import Metrics
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.write import gather
from calib_sweep.analysis.scores.arrays import ScoreArray, score_arrays
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.items import Items, parts_of_mean
from calib_sweep.analysis.scores.table import read_cells
from calib_sweep.analysis.tables.power import OPEN, OPEN_FOR_NEW
from calib_sweep.analysis.tables.tables import Evidence, all_tables
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.wording import meant


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Two methods of one model in one score, as a pilot saw them."""

    model: str
    metric: str
    methods: tuple[str, str]
    known: Metrics
    pilot: Pilot
    num_cells: int  # of the pilot that are of the two
    cells_per_pair: int  # 2, or 1 where one of the two reads no data
    cell_s: float  # seconds of one; NaN: not recorded
    why: str  # these two


def find_contrast(asked: Asked) -> Contrast:
    """Read the sweep and find the two methods that are asked about, or the pair that is open."""
    cells = read_cells(asked.folder, asked.settings.metrics)
    material = Material.of(asked.folder.resolve().name, cells, asked.settings)
    evidence = gather(asked.folder, material, cells, lambda text: None)
    arrays = score_arrays(material.rows, known=material.known)
    with collected() as problems:
        array = problems.of(_array, asked, arrays)
        metrics = problems.of(_metrics, asked, material) if arrays else []
    if asked.contrast is not None:
        metric, pair, why = metrics[0], asked.contrast, "asked for"
    else:
        metric, pair, why = _chosen(asked, array.model, metrics, material, evidence)
    return _contrast(array, metric, pair, why, cells, evidence.items, material.known)


def _metrics(asked: Asked, material: Material) -> list[str]:
    """Return the score that is asked for, by its name or word, or the headline ones."""
    headlines = material.known.headlines(material.metrics)
    named = {metric: metric for metric in material.metrics}
    named |= {word: metric for metric, word in headlines.items()}
    if asked.metric is None:
        if not headlines:
            raise ConfigError(f"plan: expected --metric with one of {', '.join(sorted(named))}.")
        return list(headlines)
    expected = f"a score of the sweep: {', '.join(sorted(named))}"
    remedy = f"{meant(asked.metric, named)} {EXAMPLE}".strip()
    require(asked.metric in named, "--metric", asked.metric, expected, remedy)
    return [named[asked.metric]]


def _array(asked: Asked, arrays: Sequence[ScoreArray]) -> ScoreArray:
    """Return the model that is asked about, and check the names of the methods."""
    models = {array.model: array for array in arrays}
    if not models:
        raise ConfigError(f"plan {str(asked.folder)!r}: expected compressed cells with scores.")
    if asked.model is None and len(models) > 1:
        known = ", ".join(models)
        raise ConfigError(f"plan: expected --model with one of {known}: a plan is for one model.")
    model = asked.model or next(iter(models))
    require(model in models, "--model", model, f"one of {', '.join(models)}", EXAMPLE)
    names = [names.method for names in models[model].methods]
    if len(names) < 2:
        raise ConfigError("plan: expected a sweep of two methods or more. Run another method too.")
    with collected() as problems:
        for name in asked.contrast or ():
            expected = f"two of {', '.join(names)}"
            remedy = f"{meant(name, names)} {EXAMPLE}".strip()
            problems.of(require, name in names, "--contrast", name, expected, remedy)
    return models[model]


def _chosen(
    asked: Asked, model: str, metrics: Sequence[str], material: Material, evidence: Evidence
) -> tuple[str, tuple[str, str], str]:
    """Return the smallest difference that is not claimed; where there is none, the smallest."""
    tables = all_tables(material.rows, evidence, asked.settings)
    power: Frame = tables["power"]
    compared: Frame = tables["comparisons"]
    claims: Frame = tables["claims"]
    for goal, where in ((OPEN, ""), (OPEN_FOR_NEW, " for a new dataset")):
        left: Frame = power[(power["goal"] == goal) & (power["model"] == model)]
        for metric in metrics:
            for row in left[left["metric"] == metric].to_dict("records"):
                pair = str(row["method"]), str(row["against"])
                return metric, pair, f"the smallest difference that is not claimed{where}"
    own: Frame = compared[(compared["kind"] == "method") & (compared["model"] == model)]
    own = own[(own["metric"] == metrics[0]) & (own["dataset"] == "")]
    if own.empty:
        raise ConfigError("plan: no two methods share a calibration set. Name two: --contrast A,B.")
    row = own.loc[own["mean_diff"].abs().fillna(np.inf).idxmin()]
    tested = claims[(claims["kind"] == "methods") & (claims["model"] == model)]
    winners = tested.loc[tested["metric"] == metrics[0], "winner"].tolist()
    why = "the smallest difference" + ("; all are claimed" if winners and all(winners) else "")
    return metrics[0], (str(row["a"]), str(row["b"])), why


def _contrast(
    array: ScoreArray,
    metric: str,
    pair: tuple[str, str],
    why: str,
    cells: Sequence[ReadCell],
    items: Items,
    known: Metrics,
) -> Contrast:
    names = [own.method for own in array.methods]
    a, b = (names.index(name) for name in pair)
    e = array.metrics.index(metric)
    with np.errstate(invalid="ignore"):  # of two draws that have diverged
        difference_DS = array.lasting_MDSE[a, :, :, e] - array.lasting_MDSE[b, :, :, e]
    difference_DS = np.where(np.isfinite(difference_DS), difference_DS, np.nan)
    if not np.isfinite(difference_DS).any() or not array.reads_data_M[[a, b]].any():
        raise ConfigError(
            f"plan: {pair[0]} and {pair[1]} share no calibration set that both were scored on in "
            f"{metric}. Name two others: --contrast A,B."
        )
    ids = {i for i in array.cell_ids_MDSR[[a, b]].ravel().tolist() if i}
    item_variance, num_tasks = _items(array, (a, b), e, difference_DS, items)
    return Contrast(
        model=array.model,
        metric=metric,
        methods=pair,
        known=known,
        pilot=pilot_of(difference_DS, item_variance, num_tasks),
        num_cells=len(ids),
        cells_per_pair=int(array.reads_data_M[[a, b]].sum()),
        cell_s=_seconds(cells, ids),
        why=why,
    )


def _items(
    array: ScoreArray, pair: tuple[int, int], e: int, difference_DS: np.ndarray, items: Items
) -> tuple[float, int]:
    """Return the variance of the mean difference that lies in the items, and of how many tasks."""
    places = np.argwhere(np.isfinite(difference_DS)).tolist()
    ids = [
        [next((i for i in array.cell_ids_MDSR[m, d, s] if i), "") for d, s in places] for m in pair
    ]
    d, s = places[0]
    scores = dict(zip(array.metrics, array.value_MDSE[pair[0], d, s].tolist(), strict=True))
    metric = array.metrics[e]
    metrics = [metric] if metric in items.scores else parts_of_mean(metric, items, scores)
    parts = []
    for part in metrics:
        wanted = [*ids[0], *ids[1]]
        value_CI, kept = items.of(part, wanted)
        if kept != wanted or value_CI.shape[1] < 2:
            return float("nan"), 1
        first_CI, second_CI = value_CI.astype(float).reshape(2, len(places), -1)
        groups = items.groups_of(part, wanted[0])
        parts.append(item_parts(first_CI - second_CI, [d for d, _ in places], groups))
    if not parts:
        return float("nan"), 1
    own, both = (mean_of_tasks([part[which] for part in parts]).variance for which in (0, 1))
    return max(0.0, own - both), len(parts)


def _seconds(cells: Sequence[ReadCell], ids: set[str]) -> float:
    """Return the mean time of a cell; NaN where no record has one."""
    timings = [cell.get("timings_s") for cell in cells if cell["cell_id"] in ids]
    known = [sum(own.values()) for own in timings if own]
    return float(np.mean(known)) if known else float("nan")
