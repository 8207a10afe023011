"""What the W&B mirror costs: a cell's share, with and without artifacts, and `sync` of many runs.

    python benchmarks/mirror.py [--runs 200] [--latency 0.05]

The client is W&B's own. The server is the tests' one on the loopback device, which answers each
request after `--latency` seconds, as one far away would. Cells are made up; eight of them share a
calibration set of 32 x 512 tokens.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import os

import numpy as np
from helpers.calibrated_cells import make_calibrated_cell
from helpers.wandb_server import Server, serving

from calib_sweep.tracking import client_process, sync
from calib_sweep.tracking.mirrored import ITEM_SCORES, SET, run_id
from calib_sweep.tracking.wandb import WandbTracking

CELLS_OF_A_SET = 8


def make_cells(sweep: Path, num_runs: int) -> list[Path]:
    """Write finished cells below `sweep`; return their folders."""
    draw = np.random.default_rng(0)
    for number in range(num_runs):
        if number % CELLS_OF_A_SET == 0:
            rows = draw.integers(0, 1000, size=(32, 512))
        seed, method = divmod(number, CELLS_OF_A_SET)
        make_calibrated_cell(sweep, number, rows, seed, method=f"m{method}", seed=seed)
    return sorted(path.parent for path in sweep.glob("*/record.json"))


def seconds_a_cell(folders: list[Path], kinds: list[str]) -> float:
    """Mirror each cell, one after the other; return the median, without the client's start."""
    settings = {"project": "p", "entity": None, "mode": "auto", "tags": [], "timeout_s": 600}
    tracking = WandbTracking(**settings, artifacts=kinds)
    spent = []
    for folder in folders:
        start = time.perf_counter()
        tracking.mirror_cell(folder, folder.name, folder.name)
        spent.append(time.perf_counter() - start)
    client_process.end()
    return median(spent[1:])


def seconds_of_sync(sweep: Path, at_once: int) -> float:
    """Bring all cells over, by so many clients at once."""
    for mark in sweep.glob("*/wandb.json"):
        mark.unlink()
    sync.MAX_AT_ONCE = at_once
    start = time.perf_counter()
    assert sync.main([str(sweep), "tracking.wandb.timeout_s=600"]) == sync.DONE
    return time.perf_counter() - start


def require_whole(server: Server, folders: list[Path]) -> None:
    """Every cell is one run, and every set one artifact."""
    ids = {run_id(folder.parent.name, f"{n:012x}") for n, folder in enumerate(folders)}
    assert ids <= server.runs.keys()
    assert len(server.artifacts.of_type(SET)) == -(-len(folders) // CELLS_OF_A_SET)
    assert len({one.name for one in server.artifacts.of_type(ITEM_SCORES)}) >= len(folders)


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds of each answer")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, serving() as server:
        os.environ.update(server.environment(Path(place)))
        server.latency_s = asked.latency
        folders = make_cells(Path(place) / "results" / "many", asked.runs)
        for kinds in ([], [ITEM_SCORES], [SET, ITEM_SCORES]):
            took_s = seconds_a_cell(folders[:12], kinds)
            print(f"a cell, artifacts {kinds}: {took_s:.2f} s")
        for at_once in (1, 8):
            took_s = seconds_of_sync(folders[0].parent, at_once)
            print(f"sync of {len(folders)} runs by {at_once} clients: {took_s:.1f} s")
        require_whole(server, folders)


if __name__ == "__main__":
    main()
