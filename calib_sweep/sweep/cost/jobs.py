"""What cells cost: those that cost the same are a job, and each device has its rates.

Cells like those that are finished take as long as these did. The others cost what the cost model
says, at the rates of the device that finished cells last, fitted to all that finished on it; where
none did, at the rates of one H200 and of one core of a CPU.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from calib_sweep import valid_json
from calib_sweep.cell import Cell, Config, digest
from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.results.store import Store
from calib_sweep.sweep.cost.amounts import Shape, shape_of
from calib_sweep.sweep.cost.finished import LOAD, Alike, Known, alike, known_devices, model_key
from calib_sweep.sweep.cost.parts import DESCRIBE, PARTS, parts_of
from calib_sweep.sweep.cost.rates import CPU, GPU, Rates
from calib_sweep.sweep.cost.work import work_of

if TYPE_CHECKING:
    from calib_sweep.method.base import Work

Place = tuple[str, Rates, Known | None, bool]  # its name, and whether it is a GPU


@dataclass(frozen=True)
class Job:
    """Cells that cost the same."""

    key: Alike
    cells: Sequence[Cell]
    work: "Work"
    shape: Shape | None  # None: the configuration of the model is not on this machine
    num_sets: int  # calibration sets that no job before it draws

    @property
    def cell(self) -> Cell:
        return self.cells[0]


def shapes_of(builder: Builder, cells: Sequence[Cell]) -> dict[str, Shape | None]:
    """Return the shape of each model of a plan; None if its configuration is not here."""
    models = {model_key(cell.config): cell.config["model"] for cell in cells}
    return {key: shape_here(builder, model) for key, model in models.items()}


def shape_here(builder: Builder, model: Config) -> Shape | None:
    """Return the shape of a model; None if its configuration is not on this machine."""
    return _shape(builder, valid_json.dumps(model, sort_keys=True))


@cache
def _shape(builder: Builder, model: str) -> Shape | None:
    try:
        return shape_of(builder.build("model", json.loads(model)))
    except ConfigError:
        return None


def jobs_of(
    builder: Builder, cells: Sequence[Cell], shapes: Mapping[str, Shape | None]
) -> list[Job]:
    """Group cells that cost the same."""
    groups: dict[tuple[Alike, str], list[Cell]] = {}
    works: dict[str, Work] = {}
    for cell in cells:
        method = digest([cell.config.get(key) for key in ("method", "activations")])
        if method not in works:
            works[method] = work_of(builder, cell.config)
        key = alike(cell.config, cell.method, works[method])
        groups.setdefault((key, digest(cell.config["walk"])), []).append(cell)
    jobs, drawn = [], set[str]()
    for (key, _), own in groups.items():
        new = {set_of(cell) for cell in own if cell.needs_data} - drawn
        jobs.append(Job(key, own, key.work, shapes[key.model], len(new)))
        drawn |= new
    return jobs


def seconds_of(job: Job, rates: Rates, known: Known | None, *, on_gpu: bool) -> float | None:
    """Seconds of all cells of a job on one worker; None where they cannot be told."""
    done = known.seconds.get(job.key, {}) if known else {}
    if not done and job.shape is None:
        return None
    predicted = {}
    if job.shape is not None:
        sizes = {"needs_data": job.work.passes > 0, "on_gpu": on_gpu}
        parts = parts_of(job.cell.config, job.work, job.shape, **sizes)
        predicted = {p: rates.predict(p, job.key.method, parts[p]) for p in PARTS}
    each = {**predicted, **{part: took for part, took in done.items() if part != LOAD}}
    describe = each.pop(DESCRIBE, 0.0)
    return len(job.cells) * sum(each.values()) + job.num_sets * describe


def expected_seconds(builder: Builder, store: Store, cells: Sequence[Cell]) -> float | None:
    """Seconds of all `cells` on one worker; None where that of some cannot be told."""
    shapes = shapes_of(builder, cells)
    jobs = jobs_of(builder, cells, shapes)
    known = of_use(known_devices(builder, store, shapes), jobs)
    _, rates, one, on_gpu = places_of(jobs, known)[0]
    found = [seconds_of(job, rates, one, on_gpu=on_gpu) for job in jobs]
    return None if None in found else sum(seconds or 0.0 for seconds in found)


def default_seconds(builder: Builder, cell: Cell) -> float | None:
    """Seconds of a cell at default rates; None where that cannot be told."""
    import torch

    config = cell.config
    try:
        shape = shape_here(builder, config["model"])
        work = work_of(builder, config)
        on_gpu = config["model"].get("device") != "cpu" and torch.cuda.is_available()
        sizes = {"needs_data": cell.needs_data, "on_gpu": on_gpu}
        parts = parts_of(config, work, shape, **sizes) if shape else {}
    except (ConfigError, KeyError, TypeError, AttributeError):
        return None  # an evaluation of somebody's own, say
    rates = GPU if on_gpu else CPU
    return sum(rates.predict(part, cell.method, a) for part, a in parts.items()) or None


def of_use(known: Sequence[Known], jobs: Sequence[Job]) -> list[Known]:
    """Return the devices of which something is known for these cells."""
    keys = {job.key for job in jobs}
    return [one for one in known if one.rates.num_cells or not keys.isdisjoint(one.seconds)]


def places_of(jobs: Sequence[Job], known: Sequence[Known]) -> list[Place]:
    """Return where the cells may run: on the device that is known, else on what suits them."""
    if known:
        return [(one.device.words, one.rates, one, one.device.on_gpu) for one in known[:1]]
    on_cpu = all(job.cell.config["model"].get("device") == "cpu" for job in jobs)
    return [(r.name, r, None, r is GPU) for r in ([CPU] if on_cpu else [GPU, CPU])]


def num_weights(builder: Builder, model: Config) -> int | None:
    """Weights of the linear layers of a model; None if its configuration is not on this machine."""
    shape = shape_here(builder, model)
    return None if shape is None else shape.weights


def set_of(cell: Cell) -> str:
    config = cell.config
    keys = ("model", "dataset", "calibration", "seed")
    return digest([config[key] for key in keys])
