"""Kill a sweep at random moments and start it again; count what was lost, doubled or left behind.

    python benchmarks/kill_cycles.py --cycles 200            some ten minutes on two cores
    python benchmarks/kill_cycles.py --cycles 20 --seed 3

A small real sweep runs in one process or in two that share it. At a random moment one of them is
killed (kill -9) and the same command started again, until the sweep is done; then comes the next
sweep. Whenever one is done, the command is typed once more, and then must hold: exit code 0, one
finished record for every cell, scores equal to those of an undisturbed sweep byte for byte, and no
claim or half-written file anywhere. The moments depend on the seed, and on the machine's speed.

Imports take longer than the sweep, so they are made once, and processes are forked from there.
"""

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

from calib_sweep.__main__ import main as calib_sweep
from calib_sweep.seeding import stream

COMMAND = [
    *("-m", "method=magnitude,wanda,sparsegpt", "seed=0,1", "tracking=none"),
    *("calibration.num_samples=2", "calibration.seq_len=32", "num_threads=1"),
    *("evaluation.perplexity.max_windows=1", "evaluation.perplexity.seq_len=32"),
    *("evaluation.zero_shot=null", "analysis.num_resamples=1000", "workers=1"),
]
NUM_CELLS = 6  # dense, magnitude once as it needs no data, two methods with two seeds each
LIMIT_S = 120  # whatever takes longer waits for ever


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a sweep at random moments, start it again")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where sweeps are written; a temporary one")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    folder = Path(tempfile.mkdtemp(dir=arguments.folder, prefix="kill_cycles-"))
    start = time.monotonic()
    expected, seconds = undisturbed(folder / "undisturbed")
    draw = stream("benchmarks/kill_cycles", arguments.seed)
    problems: list[str] = []
    num_kills = num_sweeps = 0
    while num_kills < arguments.cycles and not problems:
        num_sweeps += 1
        sweep = folder / f"sweep{num_sweeps}"
        num_kills += disturb(sweep, draw, seconds, arguments.cycles - num_kills, problems)
        problems += flaws(sweep, expected)
        if not problems:
            shutil.rmtree(sweep)
        if sys.stderr.isatty():
            print(f"\r{num_kills} kills, {num_sweeps} sweeps", end="", file=sys.stderr)
    took = f"{time.monotonic() - start:.0f} s"
    print(f"\n{num_kills} kills in {num_sweeps} sweeps, {len(problems)} problems, {took}")
    if problems:
        print(*problems, f"kept: {folder}", sep="\n")
    else:
        shutil.rmtree(folder)
    return 1 if problems else 0


def undisturbed(folder: Path) -> tuple[dict[str, str], float]:
    """The scores of every cell, and the seconds that the sweep took, imports apart."""
    told = folder.with_suffix(".modules")
    assert ended(start_command(folder, report_to=told)) == 0, log_of(folder)
    for name in told.read_text().split():
        with suppress(Exception):  # some modules are there only once others ran
            importlib.import_module(name)
    shutil.rmtree(folder)
    start = time.monotonic()
    assert ended(start_command(folder)) == 0, log_of(folder)
    seconds = time.monotonic() - start
    scores = scores_in(folder)
    assert len(scores) == NUM_CELLS, scores.keys()
    return scores, seconds


def start_command(folder: Path, report_to: Path | None = None) -> int:
    """Fork a process that runs the command; returns its process id."""
    folder.mkdir(parents=True, exist_ok=True)
    if pid := os.fork():
        return pid
    code = 70
    try:
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(folder)
        sys.argv = ["calib-sweep", *COMMAND, f"results_dir={folder / 'results'}"]
        try:
            code = calib_sweep()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        if report_to is not None:
            report_to.write_text("\n".join(sys.modules))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(pid: int) -> int | None:
    """The exit code of the process; None when it was still running after `LIMIT_S`."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if (code := exit_code(pid)) is not None:
            return code
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def exit_code(pid: int) -> int | None:
    """The exit code of the process if it has ended."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def disturb(
    sweep: Path, draw: np.random.Generator, seconds: float, limit: int, problems: list[str]
) -> int:
    """Run a sweep to its end and kill a process of it again and again; returns how often."""
    running = [start_command(sweep) for _ in range(draw.integers(1, 3))]
    num_kills = 0
    while num_kills < limit:
        time.sleep(draw.uniform(0, seconds))
        victim = running.pop(draw.integers(len(running)))
        code = exit_code(victim)
        if code is not None:  # it was done before
            problems += [] if code == 0 else [f"exit code {code}: {log_of(sweep)}"]
            break
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        num_kills += 1
        running.append(start_command(sweep))
    codes = [ended(pid) for pid in running]
    codes.append(ended(start_command(sweep)))  # the next command sweeps what the killed left
    problems += [f"exit code {code}: {log_of(sweep)}" for code in codes if code != 0]
    return num_kills


def flaws(sweep: Path, expected: dict[str, str]) -> list[str]:
    """Return what is wrong with a sweep that was disturbed and is done."""
    found = scores_in(sweep)
    records = Counter(path.parent.name for path in sweep.rglob("record*.json"))
    left = [path for path in sweep.rglob("*") if path.name.startswith((".", "claim."))]
    return [
        *(f"{cell}: no finished record" for cell in expected.keys() - found.keys()),
        *(f"{cell}: not of this sweep" for cell in found.keys() - expected.keys()),
        *(f"{cell}: other scores" for cell in found if found[cell] != expected.get(cell)),
        *(f"{name}: {number} records" for name, number in records.items() if number != 1),
        *(f"left behind: {path}" for path in left),
    ]


def scores_in(folder: Path) -> dict[str, str]:
    """The scores of every finished cell below `folder`, as they stand in its record."""
    records = [json.loads(path.read_bytes()) for path in folder.rglob("record.json")]
    return {
        record["cell_id"]: json.dumps(record["scores"], sort_keys=True)
        for record in records
        if record["status"] == "done"
    }


def log_of(folder: Path) -> str:
    """The end of what the processes wrote."""
    return (folder / "log.txt").read_text()[-3000:]


if __name__ == "__main__":
    sys.exit(main())
