"""Measure what packing short cells into SLURM jobs saves: the start of a process, and of a model.

    python benchmarks/slurm_packing.py --mini                 a throw-away SLURM of this machine
    python benchmarks/slurm_packing.py --launcher partition=cpu --cells 64 --parallel 16

Cells of the miniature model sleep for --seconds and do little else. Of each packing is printed how
many jobs it makes, the seconds by the clock until the command is done, those over the first one's,
and the seconds of jobs a cell: what it costs in the queue of a cluster.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod

HERE = Path(__file__).resolve().parent
PACKINGS = ["cells_per_worker=1", "cells_per_worker=4", "minutes_per_worker=1"]
SMALL = ["calibration.num_samples=2", "calibration.seq_len=32", "evaluation.zero_shot=null"]
SMALL += ["evaluation.divergence=null", "evaluation.perplexity.max_windows=1", "tracking=none"]


@dataclass(frozen=True, kw_only=True)
class Sleeper(LayerMethod):
    """Changes nothing. A cell of the miniature model sleeps for `seconds` in all its layers."""

    seconds: float
    num_layers: int

    def compress_weight(self, weight_OI: Tensor, statistic: object) -> CompressedWeight:
        time.sleep(self.seconds / self.num_layers)
        return CompressedWeight(weight_OI=weight_OI)


def main() -> None:
    parser = argparse.ArgumentParser(description="Short cells, packed and not")
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=1.0, help="that a cell sleeps")
    parser.add_argument("--parallel", type=int, default=2, help="jobs at a time")
    parser.add_argument("--packing", nargs="+", default=PACKINGS)
    parser.add_argument("--launcher", nargs="*", default=[], help="KEY=VALUE of hydra.launcher")
    parser.add_argument("--mini", action="store_true", help="start a SLURM of this machine")
    arguments = parser.parse_args()
    first = None
    with mini_slurm() if arguments.mini else contextlib.nullcontext({}) as slurm:
        for packing in arguments.packing:
            wall_s, jobs_s = measure(arguments, packing, slurm)
            first = first or wall_s
            print(
                f"{packing:24} {len(jobs_s):3} jobs, {wall_s:6.1f} s ({wall_s / first:.2f} of the "
                f"first), {sum(jobs_s) / arguments.cells:5.1f} s of jobs a cell",
                flush=True,
            )


def measure(
    arguments: argparse.Namespace, packing: str, slurm: dict[str, str]
) -> tuple[float, list[float]]:
    """Return the seconds of one run by the clock, and of each of its jobs."""
    launcher = [packing, f"array_parallelism={arguments.parallel}", "poll_s=0.5", "cpus_per_task=1"]
    grid = ["-m", "method=sleeper", f"replicate=range({arguments.cells})", *SMALL]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [f"hydra.launcher.{word}" for word in (*launcher, *arguments.launcher)]
        command = [sys.executable, "-m", "calib_sweep", *grid, "hydra/launcher=slurm", *words]
        start = time.perf_counter()
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(folder, arguments.seconds) | slurm,
            capture_output=True,
            text=True,
        )
        wall_s = time.perf_counter() - start
        assert done.returncode == 0, done.stderr[-3000:]
        logs = folder.glob("results/default/.submitit/*/*_log.out")
        return wall_s, [duration_s(log) for log in logs]


def duration_s(log: Path) -> float:
    """Seconds of a job from when Python had started to its last line, by its log."""
    moments = re.findall(r"submitit \w+ \((.*?),\d+\)", log.read_text())
    first, last = (datetime.fromisoformat(moments[place]) for place in (0, -1))
    return (last - first).total_seconds()


def environment(folder: Path, seconds: float) -> dict[str, str]:
    """Return what a command and its jobs need to know of method=sleeper."""
    method = folder / "conf/method/sleeper.yaml"
    method.parent.mkdir(parents=True)
    target = "_target_: slurm_packing.Sleeper"
    method.write_text(f"{target}\nseconds: {seconds}\nnum_layers: 42\n")
    paths = [str(HERE), str(HERE.parent), str(HERE.parent / "launchers")]
    path = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "CALIB_SWEEP_CONF": str(folder / "conf")}


@contextlib.contextmanager
def mini_slurm() -> Iterator[dict[str, str]]:
    """Start the SLURM of the tests; yield what makes its commands talk to it."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from helpers.mini_slurm import MiniSlurm

    with tempfile.TemporaryDirectory() as folder, MiniSlurm(Path(folder), num_cpus=8) as slurm:
        yield slurm.environment


if __name__ == "__main__":
    main()
