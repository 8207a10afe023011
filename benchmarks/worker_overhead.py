"""Measure what a cell costs besides its own work: plan, claims, records, progress, a sweep's end.

    python benchmarks/worker_overhead.py                   1,000 and 10,000 cells, one worker
    python benchmarks/worker_overhead.py --cells 200

Cells do nothing but write their record, as large as a real one; what that takes is printed as well.
Printed for each part: milliseconds and files opened per cell. Composing by Hydra and the report are
not part of it. With --folder /dev/shm nothing waits for a disk.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from calib_sweep import run
from calib_sweep.cell import Cell
from calib_sweep.places import CONF
from calib_sweep.results.record import new_record, utc_now
from calib_sweep.results.store import Store
from calib_sweep.sweep.plan import Composed, compose_command_line, plan_cells
from calib_sweep.sweep.queue import Outlook, failures
from calib_sweep.sweep.worker import Worker
from calib_sweep.tracking.base import Trackers

NUM_ALONE = 100


def main() -> None:
    parser = argparse.ArgumentParser(description="What a cell costs besides its own work")
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--folder", type=Path, help="where the sweep is written; a temporary one")
    arguments = parser.parse_args()
    run.run_cell = write_record
    for number in arguments.cells:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            measure(Path(folder), number)


def write_record(cell: Cell, store: Store, *_: object) -> dict[str, object]:
    """Take the place of `run_cell`."""
    store.cell_folder(cell).mkdir(parents=True, exist_ok=True)
    scores = {f"acc/task{number}": 0.5 for number in range(40)}
    record = new_record(cell) | {"status": "done", "scores": scores, "finished_at": utc_now()}
    store.write(cell, record)
    return record


def measure(folder: Path, number: int) -> None:
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
        print(f"{number:6,} cells  {part:26} {1e3 * seconds / number:7.2f} ms  {counts}")


if __name__ == "__main__":
    main()
