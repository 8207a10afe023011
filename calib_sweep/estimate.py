"""What a sweep may cost: from the records of equal cells where there are any, else in FLOPs."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from calib_sweep.analysis.wording import duration
from calib_sweep.cell import Cell
from calib_sweep.check import build_parts
from calib_sweep.errors import UnavailableError
from calib_sweep.results.reading import RECORD, readable_records
from calib_sweep.results.store import Store


def describe_plan(store: Store, cells: Sequence[Cell], notes: Sequence[str]) -> str:
    """How many cells, how many are done, what the rest may cost, what was not checked."""
    dense = [cell for cell in cells if cell.is_dense]
    todo = [cell for cell in cells if not store.is_done(cell)]
    lines = [
        f"sweep {store.sweep_name}: {len(cells) - len(dense):,} cells and {len(dense)} dense, "
        f"{len(cells) - len(todo):,} done, {len(todo):,} to run"
    ]
    if todo:
        lines += _describe_cost(store, todo)
    lines += [text for cell in cells for text in store.conflicts(cell)]
    lines += [f"not checked: {note}" for note in notes]
    lines.append("every cell is valid" + (", as far as can be seen from here" if notes else ""))
    return "\n".join(lines)


def _describe_cost(store: Store, todo: Sequence[Cell]) -> list[str]:
    seconds = measured_seconds(store)
    known = [seconds[key] for cell in todo if (key := (cell.model, cell.method)) in seconds]
    lines = []
    if known:
        lines.append(
            f"time: about {duration(sum(known))} of one worker for {len(known):,} cells, "
            "as finished cells of the same model and method took"
        )
    unknown = [cell for cell in todo if (cell.model, cell.method) not in seconds]
    num_weights = cache(_num_weights)  # of a model that many cells share
    flops = [_walk_flops(cell, num_weights) for cell in unknown if cell.needs_data]
    if any(flops):
        lines.append(
            f"compression: about {sum(f or 0 for f in flops) / 1e15:.3g} PFLOP of forward passes "
            f"in {sum(f is not None for f in flops):,} cells that have no finished equal"
        )
    return lines


def measured_seconds(store: Store) -> dict[tuple[str, str], float]:
    """Mean seconds of a finished cell per (model, method), over all sweeps in results_dir."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for record in readable_records(sorted(store.results_dir.glob(f"*/*/{RECORD}"))):
        if record["status"] == "done" and record.get("timings_s"):
            key = (record["cell"]["model"], record["cell"]["method"])
            seconds.setdefault(key, []).append(sum(record["timings_s"].values()))
    return {key: sum(values) / len(values) for key, values in seconds.items()}


def _walk_flops(cell: Cell, num_weights: Callable[[Any], int | None]) -> float | None:
    """The method's forward passes, 2 FLOP per weight and token; None if not known here."""
    parts = build_parts(cell)
    num = num_weights(parts.model)
    calibration = cell.config["calibration"]
    tokens = calibration["num_samples"] * calibration["seq_len"]
    return None if num is None else parts.method.num_passes() * 2 * num * tokens


def _num_weights(model: Any) -> int | None:
    """Weights of the linear layers of a model; None if its configuration is not on this machine."""
    try:
        return sum(num_out * num_in for _, num_out, num_in in model.linear_shapes())
    except UnavailableError:
        return None
