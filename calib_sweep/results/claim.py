"""Claims: who is working on a cell, safe on NFS, taken over when the holder is dead.

A claim on a folder is the file `claim.<k>` with the highest k. Creating it is exclusive (a hard
link of a finished temporary file, which NFS does atomically), so of all who see that `claim.<k>`
is dead exactly one creates `claim.<k+1>`. Whoever looked before and after a claim was given back
could still create two of different k, so a new claim is kept only if no other one is alive then:
the later of two sees the earlier. The holder touches its file every `HEARTBEAT_S`. A
holder is dead when its process is gone (same host: known at once) or when its heartbeat, compared
with the file server's own clock, is older than `STALE_S`. Whoever gets a claim must look at the
record again: the cell may have been finished between.
"""

import errno
import json
import logging
import os
import threading
from pathlib import Path

from calib_sweep.atomic import server_time, write_new
from calib_sweep.processes import host_identity, process_mark

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
STALE_S = 120.0


class Claim:
    """A claim held by this process on `folder`; use as a context manager or call `release`."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name=f"claim {folder.name}")
        self._thread.start()

    @property
    def path(self) -> Path:
        return self.folder / f"claim.{self.number}"

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                os.utime(self.path)
            except OSError as error:  # the claim was taken over, or the file server is away
                log.warning("heartbeat of %s failed: %s", self.path, error)

    def release(self) -> None:
        """Give the claim back, and clear away the claims of the dead before it."""
        self._stop.set()
        self._thread.join()
        for number in [n for n in _numbers(self.folder) if n < self.number] + [self.number]:
            (self.folder / f"claim.{number}").unlink(missing_ok=True)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def _numbers(folder: Path) -> list[int]:
    return sorted(
        int(path.suffix[1:]) for path in folder.glob("claim.*") if path.suffix[1:].isdigit()
    )


def _is_dead(path: Path) -> bool:
    try:
        holder = json.loads(path.read_text())
        beat = path.stat().st_mtime
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):  # given back a moment ago, ESTALE: on NFS
            return True
        raise
    if holder["host"] == host_identity():
        return process_mark(holder["pid"]) != holder["started"]
    return server_time(path.parent) - beat > STALE_S


def try_claim(folder: Path) -> Claim | None:
    """Claim `folder` (created if missing), or return None when a living process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = _numbers(folder)
    number = numbers[-1] + 1 if numbers else 0
    if numbers and not _is_dead(folder / f"claim.{numbers[-1]}"):
        return None
    holder = {
        "host": host_identity(),
        "pid": os.getpid(),
        "started": process_mark(os.getpid()),
    }
    try:
        write_new(folder / f"claim.{number}", json.dumps(holder))
    except FileExistsError:
        return None
    others = [folder / f"claim.{other}" for other in _numbers(folder) if other != number]
    if not all(map(_is_dead, others)):
        (folder / f"claim.{number}").unlink()
        return None
    if numbers:
        log.info("%s: its last holder is gone, taken over", folder.name)
    return Claim(folder, number)


def has_claims(folder: Path) -> bool:
    """Whether somebody claims `folder`, or died while claiming it."""
    return bool(_numbers(folder))


def holder_of(folder: Path) -> str | None:
    """Describe the living holder of `folder`, or None."""
    numbers = _numbers(folder)
    if not numbers or _is_dead(path := folder / f"claim.{numbers[-1]}"):
        return None
    holder = json.loads(path.read_text())
    return f"process {holder['pid']} on {holder['host'].split('/')[0]}"
