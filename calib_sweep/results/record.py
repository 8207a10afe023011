"""The record: everything that one cell leaves behind, and the environment it ran in.

The fields of `record.json`, schema 1:
    schema, cell_id, status ("done" | "failed"),
    cell {model, method, dataset, seed, replicate, settings}, config (resolved),
    inputs (hashes of the local files read, and of code that is not ours: "method.code"),
    files (SHA-256 of each file beside the record that it stands for),
    calibration, compression, scores, stderr, versions (of tasks), timings_s,
    peak_memory_bytes, environment,
    error (null or {type, message, where}), finished_at (UTC).

A failed record may have scores: of a cell that was scored and whose files could not all be written.
No reader counts them; the cell runs again.
"""

import importlib.metadata
import os
import platform
import subprocess
import traceback
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from calib_sweep.cell import Cell

SCHEMA = 1
STATUSES = ("done", "failed")
PACKAGES = (
    "calib-sweep",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "lm-eval",
    "numpy",
    "accelerate",
)


def new_record(cell: Cell) -> dict[str, Any]:
    """The part of a record that is known before any work starts."""
    return {
        "schema": SCHEMA,
        "cell_id": cell.id,
        "status": "failed",
        "cell": cell.axes() | {"settings": dict(cell.settings)},
        "config": cell.config,
        "inputs": {},
        "files": {},
        "calibration": None,
        "compression": None,
        "scores": {},
        "stderr": {},
        "versions": {},
        "timings_s": {},
        "peak_memory_bytes": None,
        "environment": describe_environment(),
        "error": None,
        "finished_at": None,
    }


def describe_error(error: BaseException) -> dict[str, str]:
    """Type, message and traceback of what ended a cell."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "where": "".join(traceback.format_exception(error)),
    }


def utc_now() -> str:
    """The time now, in UTC, ISO 8601 with microseconds: its order as text is its order in time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@cache
def describe_environment() -> dict[str, Any]:
    """Versions, machine and git state of this process."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "versions": versions,
        "git": _git_state(Path(__file__).parent),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_state(folder: Path) -> str | None:
    """Commit of the checkout that runs, "+dirty" when files differ; None outside of one."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+dirty"]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def describe_device(device: str) -> dict[str, Any]:
    """What computed: `device` is a torch device string."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return {"device": name, "num_threads": torch.get_num_threads()}


def start_peak_memory(device: str) -> None:
    """Forget earlier cells' peaks, where the device can."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: str) -> int:
    """Peak device memory since `start_peak_memory` on a GPU, else peak memory of the process."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    import resource

    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib if platform.system() == "Darwin" else kib * 1024
