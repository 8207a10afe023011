"""Measure what workers beside a command save: README's main job by one worker and by several.

    python benchmarks/workers.py                          twice each, one after the other in turn
    python benchmarks/workers.py --repeats 3 --workers 1 2 auto
    python benchmarks/workers.py --code ../old . --workers auto     two checkouts, in turn

Printed for each run: seconds by the clock, and of the processor (all processes of the command); and
for each kind its least seconds over those of the first one. Each run begins with an empty folder.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

MAIN_JOB = ["method=wanda,sparsegpt", "seed=range(5)"]


def main() -> None:
    parser = argparse.ArgumentParser(description="One worker and several")
    parser.add_argument("--workers", nargs="+", default=["1", "auto"], help="; '-': not typed")
    parser.add_argument("--code", type=Path, nargs="+", default=[Path(__file__).parents[1]])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--job", nargs="+", default=MAIN_JOB, help="words of a grid")
    arguments = parser.parse_args()
    kinds = list(product(arguments.code, arguments.workers))
    seconds: dict[tuple[Path, str], list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(arguments.repeats):
        for code, workers in kinds:
            wall_s, cpu_s = measure(code, workers, arguments.job)
            seconds[code, workers].append((wall_s, cpu_s))
            say(code, workers, f"{wall_s:.1f} s, {cpu_s:.1f} s of the processor")
    first = seconds[kinds[0]]
    for (code, workers), runs in seconds.items():
        wall, cpu = (min(r[k] for r in runs) / min(r[k] for r in first) for k in (0, 1))
        say(code, workers, f"{wall:.2f} of the first by the clock, {cpu:.2f} of the processor")


def measure(code: Path, workers: str, job: list[str]) -> tuple[float, float]:
    """Return the seconds of one run, by the clock and of the processor."""
    typed = [] if workers == "-" else [f"workers={workers}"]
    paths = [str(code.resolve()), str((code / "launchers").resolve())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory() as folder:
        before, start = cpu_seconds(), time.perf_counter()
        command = [sys.executable, "-m", "calib_sweep", *job, *typed]
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
        return time.perf_counter() - start, cpu_seconds() - before


def cpu_seconds() -> float:
    """Seconds of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def say(code: Path, workers: str, text: str) -> None:
    sys.stdout.write(f"{code} workers={workers}: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
