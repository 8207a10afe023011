"""Tell what a sweep costs: hours, memory of the device, disk.

Cells like those that are finished take as long as these did. The others cost what the cost model
says (`cost/`), at the rates of the device that finished cells last, fitted to all that finished on
it; where none did, at the rates of one H200 and of one core of a CPU. What cannot be counted before
a run is named, and no time made up for it.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from calib_sweep import valid_json
from calib_sweep.analysis.formatting import duration, size
from calib_sweep.cell import Cell, Config, digest
from calib_sweep.errors import FETCH, ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.results.store import Store
from calib_sweep.sweep.cost.amounts import Shape, shape_of
from calib_sweep.sweep.cost.finished import LOAD, Alike, Known, alike, known_devices, model_key
from calib_sweep.sweep.cost.footprint import (
    CPU_PROCESS,
    Disk,
    checkpoint_bytes,
    device_memory,
    disk,
)
from calib_sweep.sweep.cost.parts import DESCRIBE, PARTS, parts_of, scored_of
from calib_sweep.sweep.cost.rates import CPU, GPU, Rates
from calib_sweep.sweep.cost.work import tools_among, work_of
from calib_sweep.wording import counted

if TYPE_CHECKING:
    from calib_sweep.method.base import Work

Place = tuple[str, Rates, Known | None, bool]  # its name, and whether it is a GPU

FITTED, ALONE = 1.5, 2  # factors within which it is right: fitted to finished cells, and by itself


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


def describe_plan(
    builder: Builder, store: Store, cells: Sequence[Cell], notes: Sequence[str]
) -> str:
    """Say how many cells there are and are done, what the rest costs, and what was not checked."""
    dense = [cell for cell in cells if cell.is_dense]
    todo = [cell for cell in cells if not store.is_done(cell)]
    lines = [
        f"sweep {store.sweep_name}: {counted(len(cells) - len(dense), 'cell')} and {len(dense)} "
        f"dense, {len(cells) - len(todo):,} done, {len(todo):,} to run"
    ]
    if todo:
        shapes = shapes_of(builder, cells)
        jobs = jobs_of(builder, todo, shapes)
        known = _of_use(known_devices(builder, store, shapes), jobs)
        lines += [*_describe_time(jobs, known), *_describe_asking(builder, todo)]
        lines += tools_among(builder, todo)
        lines += _describe_memory(jobs, known)
        lines += _describe_disk(jobs)
    lines += [text for cell in cells for text in store.conflicts(cell)]
    lines += [f"not checked: {note.replace(f' {FETCH}', '')}" for note in notes]
    lines += [FETCH] if any(FETCH in note for note in notes) else []  # once
    lines.append("every cell is valid" + (", as far as can be seen from here" if notes else ""))
    return "\n".join(lines)


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
        new = {_set_of(cell) for cell in own if cell.needs_data} - drawn
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
    known = _of_use(known_devices(builder, store, shapes), jobs)
    _, rates, one, on_gpu = _places(jobs, known)[0]
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


def _of_use(known: Sequence[Known], jobs: Sequence[Job]) -> list[Known]:
    """Return the devices of which something is known for these cells."""
    keys = {job.key for job in jobs}
    return [one for one in known if one.rates.num_cells or not keys.isdisjoint(one.seconds)]


def _describe_asking(builder: Builder, todo: Sequence[Cell]) -> Iterator[str]:
    """Say which sets the model draws: how long it takes depends on what it draws."""
    asking = [
        cell
        for cell in todo
        if cell.needs_data and builder.build("dataset", cell.config["dataset"]).needs_model
    ]
    if asking:
        num = counted(len({_set_of(cell) for cell in asking}), "set")
        names = ", ".join(sorted({str(cell.dataset) for cell in asking}))
        yield f"besides: the model draws {num} ({names}), each when a cell first needs it"


def _places(jobs: Sequence[Job], known: Sequence[Known]) -> list[Place]:
    """Return where the cells may run: on the device that is known, else on what suits them."""
    if known:
        return [(one.device.words, one.rates, one, one.device.on_gpu) for one in known[:1]]
    on_cpu = all(job.cell.config["model"].get("device") == "cpu" for job in jobs)
    return [(r.name, r, None, r is GPU) for r in ([CPU] if on_cpu else [GPU, CPU])]


def _describe_time(jobs: Sequence[Job], known: Sequence[Known]) -> Iterator[str]:
    places = _places(jobs, known)
    told, untold = [], []
    for words, rates, one, on_gpu in places:
        found = [(job, seconds_of(job, rates, one, on_gpu=on_gpu)) for job in jobs]
        told.append((words, sum(seconds or 0.0 for _, seconds in found)))
        untold = [job for job, seconds in found if seconds is None]
    num = Counter({True: 0, False: 0})
    for job in jobs:
        num[bool(known and job.key in known[0].seconds)] += len(job.cells)
    num[False] -= sum(len(job.cells) for job in untold)
    if num.total():
        times = ", ".join(f"{duration(seconds)} on {words}" for words, seconds in told)
        yield f"time: about {times}, by one worker; {_basis(num, known)}"
    models = Counter({job.cell.model: 0 for job in untold})
    for job in untold:
        models[job.cell.model] += len(job.cells)
    for model, number in models.items():
        yield (
            f"time, memory and dense references: not known for {counted(number, 'cell')} of "
            f"{model}, as its configuration is not on this machine"
        )
    unknown = {name for job in jobs for name in _uncounted(job)}
    if unknown:
        yield f"not counted, as nobody knows their size here: {', '.join(sorted(unknown))}"


def _basis(num: Mapping[bool, int], known: Sequence[Known]) -> str:
    """Say from what the time is told, and how sure it is."""
    if not known:
        return (
            f"by the cost model alone, right within a factor of {ALONE}: one finished cell of any "
            "size fits it to a machine"
        )
    notes = [f"{counted(num[True], 'cell')} as finished ones like them"] if num[True] else []
    if num[False]:
        fitted = counted(known[0].rates.num_cells, "finished cell")
        notes.append(
            f"{counted(num[False], 'cell')} by the cost model fitted to {fitted}, right within a "
            f"factor of {FITTED}"
            if known[0].rates.num_cells
            else f"{counted(num[False], 'cell')} by the cost model alone, right within a factor of "
            f"{ALONE}"
        )
    return ", ".join(notes)


def _uncounted(job: Job) -> list[str]:
    scored = scored_of(job.cell.config["evaluation"]).values()
    return [name for one, _ in scored for name in one.unknown]


def _describe_memory(jobs: Sequence[Job], known: Sequence[Known]) -> Iterator[str]:
    """Say what the cell that needs most needs, of the model's kind of device."""
    on_gpu = not known or known[0].device.on_gpu
    found = [
        (device_memory(job.cell.config, job.work, job.shape, on_gpu=on_gpu), job)
        for job in jobs
        if job.shape is not None
    ]
    if not found:
        return
    most, job = max(found, key=lambda pair: pair[0].total)
    parts = {key: value for key, value in most._asdict().items() if value > 0.005 * most.total}
    detail = ", ".join(f"{key} {size(value)}" for key, value in parts.items())
    peak = known[0].peak_bytes.get(job.key) if known else None
    device = "of the device" if on_gpu else f"beside {size(CPU_PROCESS)} of Python"
    yield (
        f"memory: about {size(most.total)} {device} ({detail})"
        + f", for {job.key.method} on {job.cell.model}"
        + (f"; finished cells like it reached {size(peak)}" if peak else "")
    )


def _describe_disk(jobs: Sequence[Job]) -> Iterator[str]:
    total = Disk(0.0, 0.0, 0.0, 0.0)
    for job in jobs:
        one = disk(job.cell.config, job.work, job.shape)
        num = len(job.cells)
        reference = one.reference if job.cell.is_dense else 0.0
        total = Disk(
            total.records + num * one.records,
            total.reference + num * reference,
            total.calibration + job.num_sets * one.calibration,
            total.model + num * one.model,
        )
    words = {
        "records": total.records,
        "dense references": total.reference,
        "calibration sets": total.calibration,
        "models": total.model,
    }
    detail = ", ".join(f"{name} {size(value)}" for name, value in words.items() if value)
    yield f"disk: about {size(sum(total))} ({detail})"
    kept = [checkpoint_bytes(j.cell.config, j.work, j.shape) for j in jobs if j.shape is not None]
    if largest := max(kept, default=0.0):
        yield f"besides, for the checkpoint of each cell that runs: up to {size(largest)}"


def _set_of(cell: Cell) -> str:
    config = cell.config
    keys = ("model", "dataset", "calibration", "seed")
    return digest([config[key] for key in keys])


def num_weights(builder: Builder, model: Config) -> int | None:
    """Weights of the linear layers of a model; None if its configuration is not on this machine."""
    shape = shape_here(builder, model)
    return None if shape is None else shape.weights
