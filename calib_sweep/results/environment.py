"""The environment of a cell: versions, machine, git state, device, peak memory."""

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import NotRequired, TypedDict

PACKAGES = (
    "calib-sweep",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "lm-eval",
    "numpy",
    "accelerate",
    "compressed-tensors",
    "llmcompressor",
)


class Environment(TypedDict):
    """Of the process; of the device and the model too, once the model is scored."""

    python: str
    platform: str
    processor: str
    versions: dict[str, str | None]  # by package; null: not installed
    git: str | None  # commit of the checkout that runs, "+dirty" when files differ
    device: NotRequired[str]
    num_threads: NotRequired[int]
    model_commit: NotRequired[str | None]  # on the hub


class Device(TypedDict):
    """The device that computed."""

    device: str
    num_threads: int


@cache
def describe_environment() -> Environment:
    """Return versions, machine and git state of this process."""
    versions: dict[str, str | None] = {}
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
    """Return the commit of the checkout that runs; None outside of one."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+dirty"]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def describe_device(device: str) -> Device:
    """Name what computed; `device` is a torch device string."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return {"device": name, "num_threads": torch.get_num_threads()}


def start_peak_memory(device: str) -> None:
    """Forget earlier cells' peaks, where the device can."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: str) -> int:
    """Return the peak since `start_peak_memory` on a GPU, else that of the process's memory."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    import resource

    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib if platform.system() == "Darwin" else kib * 1024
