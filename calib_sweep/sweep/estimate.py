"""Tell what a sweep costs: hours, memory of the device, disk.

`cost/` counts it. What cannot be counted before a run is named, and no time made up for it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from calib_sweep.analysis.formatting import duration, size
from calib_sweep.cell import Cell
from calib_sweep.errors import FETCH
from calib_sweep.parts.building import Builder
from calib_sweep.results.store import Store
from calib_sweep.sweep.cost.finished import Known, known_devices
from calib_sweep.sweep.cost.footprint import (
    CPU_PROCESS,
    Disk,
    checkpoint_bytes,
    device_memory,
    disk,
)
from calib_sweep.sweep.cost.jobs import (
    Job,
    jobs_of,
    of_use,
    places_of,
    seconds_of,
    set_of,
    shapes_of,
)
from calib_sweep.sweep.cost.parts import scored_of
from calib_sweep.sweep.cost.work import tools_among
from calib_sweep.wording import counted

FITTED, ALONE = 1.5, 2  # factors within which it is right: fitted to finished cells, and by itself


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
        known = of_use(known_devices(builder, store, shapes), jobs)
        lines += [*_describe_time(jobs, known), *_describe_asking(builder, todo)]
        lines += tools_among(builder, todo)
        lines += _describe_memory(jobs, known)
        lines += _describe_disk(jobs)
    lines += [text for cell in cells for text in store.conflicts(cell)]
    lines += [f"not checked: {note.replace(f' {FETCH}', '')}" for note in notes]
    lines += [FETCH] if any(FETCH in note for note in notes) else []  # once
    lines.append("every cell is valid" + (", as far as can be seen from here" if notes else ""))
    return "\n".join(lines)


def _describe_asking(builder: Builder, todo: Sequence[Cell]) -> Iterator[str]:
    """Say which sets the model draws: how long it takes depends on what it draws."""
    asking = [
        cell
        for cell in todo
        if cell.needs_data and builder.build("dataset", cell.config["dataset"]).needs_model
    ]
    if asking:
        num = counted(len({set_of(cell) for cell in asking}), "set")
        names = ", ".join(sorted({str(cell.dataset) for cell in asking}))
        yield f"besides: the model draws {num} ({names}), each when a cell first needs it"


def _describe_time(jobs: Sequence[Job], known: Sequence[Known]) -> Iterator[str]:
    places = places_of(jobs, known)
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
