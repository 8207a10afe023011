"""Measure what a report costs: a made-up sweep is written to disk and reported on as a user would.

    python benchmarks/report.py --folder /tmp/sweeps             2,000 cells x 12 scores x 300 items
    python benchmarks/report.py --folder /tmp/sweeps --small     10 cells
    python benchmarks/report.py --folder /tmp/sweeps --settings 1000 2000 10000     as many cells,
                                                                 each with a setting of its own
Scores are those of a model with known variance components, answers are tossed around them. The
report runs in a process of its own: its wall-clock and CPU seconds and its peak memory are printed.
With `--settings` the CPU seconds should grow as the cells do, or slower.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from calib_sweep.seeding import stream

NUM_ITEMS, NUM_TASKS, NUM_CORPORA = 300, 10, 2


@dataclass(frozen=True)
class Size:
    """Numbers of models, methods, datasets, seeds."""

    models: int
    methods: int
    datasets: int
    seeds: int

    @property
    def cells(self) -> int:
        return self.models * self.methods * self.datasets * self.seeds


LARGE, SMALL = Size(10, 4, 5, 10), Size(1, 2, 1, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the sweep is written")
    parser.add_argument("--small", action="store_true", help="10 cells instead of 2,000")
    parser.add_argument("--settings", type=int, nargs="+", default=[], help="cells, all unlike")
    arguments = parser.parse_args()
    for num in arguments.settings:
        sweep = arguments.folder / f"settings{num}"
        if not sweep.exists():
            write_settings(sweep, num)
        report(sweep, num)
    if arguments.settings:
        return
    size = SMALL if arguments.small else LARGE
    sweep = arguments.folder / f"cells{size.cells}"
    if not sweep.exists():
        write_sweep(sweep, size)
    report(sweep, size.cells)


def report(sweep: Path, num_cells: int) -> None:
    measured = measure(sweep)
    print(f"{num_cells} cells: " + ", ".join(f"{k} {v:.1f}" for k, v in measured.items()))


def write_sweep(folder: Path, size: Size) -> None:
    """Records and items of a sweep with a dense cell for each model."""
    for model in range(size.models):
        draw = stream("benchmarks/report", model)
        difficulty_TI = draw.normal(0.7, 1.5, (NUM_TASKS, NUM_ITEMS))
        loss_CI = draw.normal(2.5, 0.4, (NUM_CORPORA, NUM_ITEMS))
        write_cell(
            folder, (f"model{model}", "dense", None, None), 0.5, difficulty_TI, loss_CI, draw
        )
        effect_M = draw.normal(0, 0.3, size.methods)
        effect_D = draw.normal(0, 0.1, size.datasets)
        effect_DS = draw.normal(0, 0.05, (size.datasets, size.seeds))
        for m, d, s in np.ndindex(size.methods, size.datasets, size.seeds):
            shift = effect_M[m] + effect_D[d] + effect_DS[d, s] + draw.normal(0, 0.03)
            cell = (f"model{model}", f"method{m}", f"text{d}", s)
            write_cell(folder, cell, float(shift), difficulty_TI, loss_CI, draw)


def write_settings(folder: Path, num: int) -> None:
    """A dense cell, and cells of one method, no two of which have the same setting."""
    draw = stream("benchmarks/report/settings", num)
    for index in range(num + 1):
        axes = {"model": "model0", "method": "method0", "dataset": "text0", "seed": 0}
        axes |= {"replicate": 0, "settings": {"method.sparsity": index / (num + 1)}}
        if index == 0:
            axes |= {"method": "dense", "dataset": None, "seed": None, "settings": {}}
        scores = {f"acc/task{t}": float(draw.normal(0.6, 0.02)) for t in range(NUM_TASKS)}
        scores |= {f"ppl/text{c}@2048": float(draw.normal(8, 0.1)) for c in range(NUM_CORPORA)}
        record = {"schema": 1, "cell_id": f"cell{index:06}", "status": "done", "cell": axes}
        path = folder / str(record["cell_id"]) / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record | {"scores": scores}))


def write_cell(
    folder: Path,
    cell: tuple[str, str, str | None, int | None],
    shift: float,
    difficulty_TI: np.ndarray,
    loss_CI: np.ndarray,
    draw: np.random.Generator,
) -> None:
    """One record with its items; `shift` makes all items easier."""
    model, method, dataset, seed = cell
    correct_TI = (difficulty_TI + shift + draw.logistic(size=difficulty_TI.shape) * 0.3 > 0) * 1.0
    nll_CI = loss_CI - 0.1 * shift + draw.normal(0, 0.02, loss_CI.shape)
    scores = {f"acc/task{t}": float(own.mean()) for t, own in enumerate(correct_TI)}
    scores["acc/mean"] = float(np.mean(list(scores.values())))
    scores |= {f"ppl/text{c}@2048": float(np.exp(own.mean())) for c, own in enumerate(nll_CI)}
    names = [f"task{t}" for t in range(NUM_TASKS)], [f"text{c}@2048" for c in range(NUM_CORPORA)]
    items = pd.DataFrame(
        {
            "kind": np.repeat(["task", "window"], [correct_TI.size, nll_CI.size]),
            "name": np.repeat([*names[0], *names[1]], NUM_ITEMS),
            "item": np.tile(np.arange(NUM_ITEMS), NUM_TASKS + NUM_CORPORA),
            "item_hash": [f"{i:064x}" for i in range(correct_TI.size + nll_CI.size)],
            "correct": np.concatenate([correct_TI.ravel(), np.full(nll_CI.size, np.nan)]),
            "nll": np.concatenate([np.full(correct_TI.size, np.nan), nll_CI.ravel()]),
        }
    )
    axes = {"model": model, "method": method, "dataset": dataset, "seed": seed, "replicate": 0}
    name = "-".join(map(str, axes.values()))
    stderr = {f"acc/task{t}": 0.025 for t in range(NUM_TASKS)}
    record = {"schema": 1, "cell_id": name, "status": "done", "cell": axes, "scores": scores}
    path = folder / name
    path.mkdir(parents=True)
    items.to_parquet(path / "items.parquet", index=False)
    (path / "record.json").write_text(json.dumps(record | {"stderr": stderr}))


def measure(sweep: Path) -> dict[str, float]:
    """Seconds and GiB of `calib-sweep report`."""
    command = [sys.executable, "-m", "calib_sweep", "report", str(sweep)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_gib": usage.ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    main()
