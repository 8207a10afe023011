"""What this machine lends to this process: cores and memory, also inside of a container.

A control group of Linux may allow less than the machine has. Version 2 of the interface names it in
`cpu.max` and `memory.max`, version 1 in `cpu.cfs_quota_us` and `memory.limit_in_bytes`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def num_cores(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Return how many cores this process may keep busy; at least 1."""
    try:
        visible = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has none
        visible = os.cpu_count() or 1
    quotas = [quota for folder in _groups("cpu", proc, groups) if (quota := _quota(folder))]
    return max(1, int(min([visible, *quotas])))


def free_memory(proc: Path = PROC, groups: Path = GROUPS) -> int:
    """Return how many bytes more this process and its children may take."""
    rooms = [_room(folder) for folder in _groups("memory", proc, groups)]
    return min([psutil.virtual_memory().available, *(room for room in rooms if room is not None)])


def _groups(controller: str, proc: Path, groups: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, and of all groups around them.

    Inside of a container the path may be one that only the host knows: then its root counts.
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = groups / controller if names else groups
        inside = root / path.lstrip("/")
        yield from (folder for folder in [inside, *inside.parents] if folder.is_relative_to(root))


def _quota(folder: Path) -> float | None:
    """Return the cores that a control group allows; None where it sets no limit."""
    limit, _, period = _text(folder / "cpu.max").partition(" ")
    if not limit:
        limit, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    return int(limit) / int(period) if limit.isdigit() and period.isdigit() else None


def _room(folder: Path) -> int | None:
    """Return the bytes that a control group still allows; None where it sets no limit.

    What is kept of files, and is given up when memory is short, counts as free.
    """
    for names in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, used = (_text(folder / name) for name in names)
        if limit.isdigit() and used.isdigit():
            stat = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
            return int(limit) - int(used) + int(stat.get("inactive_file", 0))
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
