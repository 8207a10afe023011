"""Processes that are ranks: started with the names that a launcher gives them, found, killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from helpers.repository import ROOT
from helpers.sweeping import wait_until
from hydra_plugins.calib_sweep.ranks_of import ranks_of

PYTHONPATH = os.pathsep.join(map(str, (ROOT, ROOT / "launchers", ROOT / "tests")))


@contextmanager
def started(count: int, *arguments: object, cwd: Path) -> Iterator[list[subprocess.Popen]]:
    """`python ARGUMENTS` as so many ranks; whatever happens, none is left at the end."""
    base = {**os.environ, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"}
    kept, environments = ranks_of(base, count)
    processes = []
    try:
        for rank, environment in enumerate(environments):
            with (cwd / f"output.{rank}").open("wb") as output:
                command = [sys.executable, *map(str, arguments)]
                started = subprocess.Popen(
                    command, cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
                )
                processes.append(started)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
        del kept


def codes(processes: list[subprocess.Popen], timeout_s: float) -> list[int]:
    """Exit codes of all that end in that time."""
    wait_until(lambda: all(p.poll() is not None for p in processes), timeout_s)
    return [process.returncode for process in processes]


def rank_pids(cwd: Path) -> dict[int, int]:
    """Process ids of the ranks that run in `cwd`, whoever started them."""
    found = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if (process / "cwd").readlink() != cwd:
                continue
            text = (process / "environ").read_text()
            names = dict(word.split("=", 1) for word in text.split("\0") if "=" in word)
            rank = names.get("RANK", names.get("SLURM_PROCID"))
            if rank is not None and "python" in (process / "cmdline").read_text():
                found[int(rank)] = int(process.name)
    return found


def kill_a_rank(cwd: Path, rank: int, number: int = signal.SIGKILL) -> None:
    """Send a rank a signal."""
    os.kill(rank_pids(cwd)[rank], number)
