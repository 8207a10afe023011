"""Estimate what a sweep costs, from what finished cells of the same method took.

    seconds of a part = those of the finished cell x the ratio of what it grows with

load              weights
draw              nothing
describe, compress   weights x calibration tokens
evaluate          weights x the larger ratio of scored tokens and of items

Cells like the one in question are asked first; only where there are none are others scaled. Where
an amount cannot be seen before a run (all windows, all items), no time is made up.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from calib_sweep import valid_json
from calib_sweep.analysis.formatting import duration
from calib_sweep.cell import Cell, Config, digest, without_execution
from calib_sweep.errors import FETCH, ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.places import RECORD
from calib_sweep.results.reading import readable_records
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.wording import counted


@dataclass(frozen=True)
class Amount:
    """An amount of one kind that is scored."""

    settings: str  # digest of what says so: equal ones are the same amount
    number: int | None  # None: all that there is, which is not known here


@dataclass(frozen=True)
class Work:
    """All that the time of a cell depends on. Equal ones should take equally long."""

    method: str
    model: str  # digest of its configuration
    weights: int | None  # of its linear layers; None: not known here
    tokens: int  # of the calibration set; 0: none is needed
    windows: Amount  # tokens in them
    items: Amount  # of the tasks


NOTHING = Amount("", 0)

# What forward passes of half-precision models reach, in round numbers, to tell an hour from a week.
FLOP_PER_S = {"one data-centre GPU (100 TFLOP/s)": 1e14, "a CPU (0.5 TFLOP/s)": 5e11}


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
        lines += _describe_cost(builder, store, todo)
    lines += [text for cell in cells for text in store.conflicts(cell)]
    lines += [f"not checked: {note.replace(FETCH, '').strip()}" for note in notes]
    lines += [FETCH] if any(FETCH in note for note in notes) else []  # once
    lines.append("every cell is valid" + (", as far as can be seen from here" if notes else ""))
    return "\n".join(lines)


def _describe_cost(builder: Builder, store: Store, todo: Sequence[Cell]) -> list[str]:
    known = measured(store)
    cells_of: dict[Work, list[Cell]] = {}
    for cell in todo:
        num = num_weights(builder, cell.config["model"])
        work = work_of(cell.config, cell.method, needs_data=cell.needs_data, weights=num)
        cells_of.setdefault(work, []).append(cell)
    seconds = {work: predict(work, known) for work in cells_of}
    timed = {work: value for work, value in seconds.items() if value is not None}
    num = Counter({work: len(cells) for work, cells in cells_of.items()})
    lines = []
    if timed:
        total = sum(num[work] * value for work, value in timed.items())
        scaled = (
            ""
            if all(work in known for work in timed)
            else (", scaled by weights, calibration tokens, windows and items")
        )
        lines.append(
            f"time: about {duration(total)} of one worker for "
            f"{counted(sum(num[w] for w in timed), 'cell')}, as finished cells of the same method "
            f"took{scaled}"
        )
    untimed = [cell for work, cells in cells_of.items() if work not in timed for cell in cells]
    if untimed:
        lines.append(
            f"time: not known for {counted(len(untimed), 'cell')}, as no finished cell is like "
            f"{'it' if len(untimed) == 1 else 'them'}"
        )
        lines += _describe_flops(builder, untimed)
    return lines


def _describe_flops(builder: Builder, cells: Sequence[Cell]) -> Iterator[str]:
    """Say how long the forward passes of cells take at rates that hardware reaches."""
    known = [flop for cell in cells if (flop := _flops(builder, cell)) is not None]
    if total := sum(known):
        times = [f"{duration(total / rate)} on {what}" for what, rate in FLOP_PER_S.items()]
        yield (
            f"forward passes of {counted(len(known), 'cell')}: {total / 1e15:.3g} PFLOP, about "
            f"{', '.join(times)}; solving and tasks come on top"
        )


def measured(store: Store) -> dict[Work, dict[str, float]]:
    """Mean seconds of each part of finished cells, over all sweeps in results_dir.

    Of their models only what records tell: anybody's records are here, and a model can bring code.
    """
    records = list(_timed(store))
    weights = {
        _model(config): num
        for record, config, _ in records
        if isinstance(num := (record.get("compression") or {}).get("num_weights"), int) and num
    }
    found: dict[Work, list[Mapping[str, float]]] = {}
    for record, config, seconds in records:
        cell = record["cell"]
        needs_data, num = cell.get("dataset") is not None, weights.get(_model(config))
        try:
            work = work_of(config, cell["method"], needs_data=needs_data, weights=num)
        except (KeyError, TypeError, AttributeError):
            continue  # scored elsewhere, or by a version with other keys
        found.setdefault(work, []).append(seconds)
    return {
        work: {part: fmean(one.get(part, 0.0) for one in all_of) for part in all_of[0]}
        for work, all_of in found.items()
    }


def _timed(store: Store) -> Iterator[tuple[Record, Config, Mapping[str, float]]]:
    """Yield the records of finished cells that tell their configuration and seconds, with both."""
    for record in readable_records(sorted(store.results_dir.glob(f"*/*/{RECORD}"))):
        config, seconds = record.get("config"), record.get("timings_s")
        if record["status"] == "done" and config and seconds:
            yield record, config, seconds


def _model(config: Config) -> str:
    return digest(without_execution(config.get("model")))


def work_of(config: Config, method: str, *, needs_data: bool, weights: int | None) -> Work:
    """Return what the time of a cell with this configuration depends on."""
    evaluation, calibration = without_execution(config["evaluation"]), config["calibration"]
    return Work(
        method=method,
        model=_model(config),
        weights=weights,
        tokens=calibration["num_samples"] * calibration["seq_len"] if needs_data else 0,
        windows=_scored_tokens(evaluation["perplexity"]),
        items=_num_items(evaluation["zero_shot"]),
    )


def _scored_tokens(settings: Config | None) -> Amount:
    if settings is None:
        return NOTHING
    most = settings["max_windows"]
    known = None if most is None else len(settings["corpora"]) * most * settings["seq_len"]
    return Amount(digest(settings), known)


def _num_items(settings: Config | None) -> Amount:
    if settings is None:
        return NOTHING
    num_tasks = len(settings["tasks"]) + (settings.get("storycloze_path") is not None)
    most = settings["num_items"]
    return Amount(digest(settings), None if most is None else num_tasks * most)


def predict(work: Work, known: Mapping[Work, Mapping[str, float]]) -> float | None:
    """Seconds of a cell with this work; None where no finished cell of its method tells them."""
    if work in known:
        return sum(known[work].values())
    found = [
        seconds
        for other, parts in known.items()
        if other.method == work.method and (seconds := _scaled(parts, other, work)) is not None
    ]
    return fmean(found) if found else None


def _scaled(parts: Mapping[str, float], one: Work, other: Work) -> float | None:
    """Scale the seconds of `one`, whose parts took this long, to `other`."""
    weights = 1.0 if one.model == other.model else _ratio(one.weights, other.weights)
    tokens, scored = _ratio(one.tokens, other.tokens), _ratio_of_scoring(one, other)
    if weights is None or tokens is None or scored is None:
        return None
    grows = {"load": weights, "describe": weights * tokens, "compress": weights * tokens}
    grows |= {"evaluate": weights * scored}
    return sum(seconds * grows.get(part, 1.0) for part, seconds in parts.items())


def _ratio_of_scoring(one: Work, other: Work) -> float | None:
    pairs = [(one.windows, other.windows), (one.items, other.items)]
    ratios = [
        1.0 if a.settings == b.settings else _ratio(a.number, b.number)
        for a, b in pairs
        if (a, b) != (NOTHING, NOTHING)
    ]
    found = [ratio for ratio in ratios if ratio is not None]
    return max(found) if len(found) == len(ratios) else None


def _ratio(one: int | None, other: int | None) -> float | None:
    """Return how much larger `other` is; None where that cannot be said."""
    if one is None or other is None:
        return None
    if one == other:
        return 1.0
    return other / one if one else None


def num_weights(builder: Builder, model: Config) -> int | None:
    """Weights of the linear layers of a model; None if its configuration is not on this machine."""
    return _num_weights(builder, valid_json.dumps(model, sort_keys=True))


@cache
def _num_weights(builder: Builder, model: str) -> int | None:
    try:
        shapes = builder.build("model", json.loads(model)).linear_shapes()
    except ConfigError:
        return None
    return sum(num_out * num_in for _, num_out, num_in in shapes)


def _flops(builder: Builder, cell: Cell) -> float | None:
    """Return the FLOP of a cell's forward passes, 2 per weight and token; None if not known.

    Those of the method over its calibration set, and of perplexity, where its windows are counted.
    """
    num = num_weights(builder, cell.config["model"])
    if num is None:
        return None
    work = work_of(cell.config, cell.method, needs_data=cell.needs_data, weights=num)
    passes = builder.parts(cell).method.num_passes() if cell.needs_data else 0
    return 2.0 * num * (passes * work.tokens + (work.windows.number or 0))
