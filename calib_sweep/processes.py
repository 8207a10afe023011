"""Tell processes apart, and whether one still lives: across hosts, reboots and reused pids."""

import gc
import signal
import socket
from pathlib import Path

import psutil

FULL_COLLECTION_AFTER = 200  # smaller ones; Python's own is 10


def host_identity() -> str:
    """Name the process table that a pid refers to: host, boot, and PID namespace if any."""
    parts = [socket.gethostname()]
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists():
        parts.append(boot.read_text().strip())
    if namespace.exists():
        parts.append(str(namespace.stat().st_ino))
    return "/".join(parts)


def process_mark(pid: int) -> str | None:
    """Return what tells a process from an earlier one of its pid; None when there is none.

    On Linux its start in clock ticks since boot: a start by the wall clock would move when the
    clock is set. A zombie is dead.
    """
    stat = Path(f"/proc/{pid}/stat")
    try:
        if Path("/proc/self/stat").exists():
            # A name is cut at 15 bytes, in the middle of a letter too, and may hold brackets.
            told = stat.read_text(encoding="utf-8", errors="replace")
            state, *rest = told.rpartition(")")[2].split()
            return None if state == "Z" else rest[18]
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return None if is_zombie else str(process.create_time())
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return None


def describe_exit(code: int) -> str:
    """Say how a child ended whose `returncode` this is."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def look_for_less_garbage() -> None:
    """Have Python look rarely for garbage among all that there is: mostly modules, which are none.

    Eight such searches take a fifth of the time in which a process imports what it needs.
    """
    gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTION_AFTER)
