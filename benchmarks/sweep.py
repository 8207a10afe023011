"""Measure what a grid costs besides the work of its cells, and how that grows with their number.

    python benchmarks/sweep.py                       plan, skip, worker: 2,000 and 10,000 cells
    python benchmarks/sweep.py plan --cells 500      one part
    python benchmarks/sweep.py cells --cells 1000    real cells: a quarter of an hour

    plan     `check` of so many cells: seconds and peak memory of the command
    skip     the same grid typed again when all is done, with the report as it is
    worker   cells that do nothing but write a record as large as a real one: milliseconds and
             files opened a cell, for each part of a sweep; composing and the report are not in it
    cells    real cells of the miniature, in one process: milliseconds a cell beyond what its record
             says that it took, memory after a tenth of them and at the end, files a cell

With --folder /dev/shm nothing waits for a disk.
"""

import argparse
import copy
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import psutil

from calib_sweep import run
from calib_sweep.cell import Cell
from calib_sweep.cli import main as command_line
from calib_sweep.places import CONF
from calib_sweep.results.record import new_record, utc_now
from calib_sweep.results.store import Store
from calib_sweep.sweep.plan import Composed, compose_command_line, plan_cells
from calib_sweep.sweep.queue import Outlook, failures
from calib_sweep.sweep.worker import Worker
from calib_sweep.tracking.base import Trackers

NUM_ALONE = 100
METHODS = ("wanda", "sparsegpt", "gptq", "awq")
# Cells that take as little as real ones can: short sets, one corpus.
SMALL = (
    *("method=wanda", "calibration.design=independent", "calibration.num_samples=2"),
    *("dense_perplexity=false", "evaluation.zero_shot=null", "evaluation.divergence=null"),
    *("num_threads=1", "workers=1", "tracking=none"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a grid costs besides its cells")
    parts = {"plan": plan, "skip": skip, "worker": worker, "cells": real_cells}
    parser.add_argument("parts", nargs="*", default=[], help=f"of {', '.join(parts)}")
    parser.add_argument("--cells", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--folder", type=Path, help="where sweeps are written; a temporary one")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(parts):
        parser.error(f"{', '.join(sorted(unknown))}: expected {', '.join(parts)}")
    for part in arguments.parts or ["plan", "skip", "worker"]:
        for number in arguments.cells:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                parts[part](Path(folder), number)


def say(number: int, part: str, text: str) -> None:
    print(f"{number:6,} cells  {part:26} {text}", flush=True)


def grid(folder: Path, number: int) -> list[str]:
    """The words of a grid of about so many cells."""
    seeds = -(-number // len(METHODS))
    words = [f"method={','.join(METHODS)}", "calibration.design=independent", "tracking=none"]
    return [*words, f"seed=range({seeds})", f"results_dir={folder}", "sweep_name=grid"]


def plan(folder: Path, number: int) -> None:
    command(number, "check", ["check", "-m", *grid(folder, number)])


def skip(folder: Path, number: int) -> None:
    """A grid of finished cells, typed twice: the first time writes the report."""
    words = grid(folder, number)
    points = compose_command_line(CONF, [word for word in words if "results_dir" not in word])
    store = Store(folder, "grid")
    for cell in plan_cells(store, points):
        write_record(cell, store)
    for part in ("first report of all", "typed again"):
        command(number, part, ["-m", *words])


def command(number: int, part: str, words: Sequence[str]) -> None:
    """Print seconds and peak memory of a command of a process of its own."""
    root = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join([str(root), str(root / "launchers")])
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "calib_sweep", *words],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(said)
    own = re.search(r"done, \d+ failed, (.*)", said)
    before = f", {own[1]} of it before the report" if own else ""
    cpu_s = used.ru_utime + used.ru_stime
    text = f"{seconds:7.1f} s ({cpu_s:.1f} s of the processor{before})"
    say(number, part, f"{text}, {used.ru_maxrss / 1024:,.0f} MiB")


def worker(folder: Path, number: int) -> None:
    """Each part of a sweep by itself."""
    run.run_cell = write_record
    points, store = make_points(number), Store(folder, "overhead")
    with measuring("plan", number, store.folder):
        cells = plan_cells(store, points)
    with measuring("the records alone", NUM_ALONE, store.folder):  # what the cells themselves do
        for cell in cells[:NUM_ALONE]:
            write_record(cell, Store(folder, "beside"))
    with measuring("look for records", number, store.folder):
        found_records(store, cells)
    with measuring("worker", number, store.folder):
        Worker(cells, store, Trackers(by_name={}))()
    with measuring("plan again", number, store.folder):
        plan_cells(store, points)
    with measuring("look for records again", number, store.folder):
        assert len(found_records(store, cells)) == len(cells)
    with measuring("see that nothing is left", number, store.folder):
        assert not Outlook(store, {}).unsettled(cells)


def write_record(cell: Cell, store: Store, *_: object) -> dict[str, object]:
    """Take the place of `run_cell`."""
    store.cell_folder(cell).mkdir(parents=True, exist_ok=True)
    scores = {f"acc/task{number}": 0.5 for number in range(40)}
    record = new_record(cell) | {"status": "done", "scores": scores, "finished_at": utc_now()}
    store.write(cell, record)
    return record


def make_points(number: int) -> list[Composed]:
    """The points of a grid over seeds, copied from one that Hydra composed."""
    (point,) = compose_command_line(CONF, ["method=wanda", "dataset=mini_web"])
    configs = [copy.deepcopy(point.config) | {"seed": seed} for seed in range(number)]
    return [Composed(config, point.choices, {}) for config in configs]


def found_records(store: Store, cells: Sequence[Cell]) -> list[tuple[Cell, Mapping[str, Any]]]:
    """As a sweep begins."""
    found = [(cell, record) for cell in cells if (record := store.find(cell)) is not None]
    failures(found)
    return [(cell, record) for cell, record in found if store.completes(cell, record)]


@contextmanager
def measuring(part: str, number: int, sweep: Path) -> Iterator[None]:
    """Print what the block takes for each of `number` cells."""
    opened: Counter[str] = Counter()
    is_over = False

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and not is_over and str(arguments[0]).startswith(str(sweep)):
            name = Path(str(arguments[0])).name
            is_read = not str(arguments[1]).startswith("w")
            kind = "records" if name == "record.json" else "claims" if "claim." in name else "rest"
            opened[kind if is_read else "written"] += 1

    sys.addaudithook(listen)  # cannot be taken away
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds, is_over = time.perf_counter() - start, True
        counts = ", ".join(f"{kind} {count / number:.1f}" for kind, count in sorted(opened.items()))
        say(number, part, f"{1e3 * seconds / number:7.2f} ms  {counts}")


def real_cells(folder: Path, number: int) -> None:
    """Cells of the miniature by one worker of this process, from record to record."""
    own_s: list[float] = []  # of each cell, beyond its work
    memory: list[int] = []
    run_cell, last = run.run_cell, [0.0]

    def timed(*arguments: Any) -> Any:
        record = run_cell(*arguments)
        now, start = time.perf_counter(), last[0]
        own_s.append(now - start - sum(record["timings_s"].values()))
        memory.append(psutil.Process().memory_info().rss)
        last[0] = now
        return record

    run.run_cell = timed
    words = [*SMALL, f"seed=range({number})", f"results_dir={folder}", "sweep_name=cells"]
    typed, sys.argv = sys.argv, ["calib_sweep", "-m", *words]
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
        try:
            code = command_line()
        except SystemExit as ended:  # as a sweep does
            code = ended.code
    run.run_cell, sys.argv = run_cell, typed
    if code:
        sys.exit(said.getvalue())
    files = sum(len(names) for _, _, names in os.walk(folder / "cells" / "report"))
    files = sum(len(names) for _, _, names in os.walk(folder / "cells")) - files
    beyond = sorted(own_s[2:])  # the dense cell, and all that is loaded for the next one
    tenth = memory[len(memory) // 10] / 2**20
    text = f"{1e3 * beyond[len(beyond) // 2]:7.1f} ms a cell beyond its work (median; mean "
    text += f"{1e3 * sum(beyond) / len(beyond):.1f}), {tenth:,.0f} MiB after a tenth, "
    text += f"{memory[-1] / 2**20:,.0f} at the end, {files / len(memory):.1f} files a cell"
    say(number, "real cells", text)


if __name__ == "__main__":
    main()
