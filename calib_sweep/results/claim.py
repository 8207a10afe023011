"""Claims: who is working on a cell, safe on NFS, taken over when the holder is dead.

A claim on a folder is the file `claim.<k>` with the highest k. Creating it is exclusive (a hard
link of a finished temporary file, which NFS does atomically), so of all who see that `claim.<k>`
is dead exactly one creates `claim.<k+1>`. Whoever looked before and after a claim was given back
could still create two of different k, so a new claim is kept only if no other one is alive then:
the later of two sees the earlier. The holder touches its file every `HEARTBEAT_S`. Whoever gets a
claim must look at the record again: the cell may have been finished between.

A holder is dead
- when its process is gone, where that can be seen: on the same host, at once;
- when its heartbeat is older than `STALE_S` by the file server's own clock;
- when its heartbeat has not changed while we watched for `STALE_S`, whatever clocks say.
A file that may not be read is judged by its heartbeat alone. What is no claim (empty, garbled, a
folder) is nobody's: claims appear whole or not at all.
"""

import errno
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from calib_sweep import valid_json
from calib_sweep.atomic import partial_name, server_time
from calib_sweep.processes import host_identity, process_mark
from calib_sweep.values import is_int

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
STALE_S = 120.0
GONE = (errno.ENOENT, errno.ESTALE)  # given back a moment ago; ESTALE: on NFS
NAME = re.compile("claim\\.(0|[1-9][0-9]*)")


@dataclass(frozen=True)
class Holder:
    """The process that a claim names."""

    host: str
    pid: int
    started: str | None


def _read_holder(path: Path) -> Holder | None:
    """Say who holds the claim at `path`; None where it is none. `OSError`: nobody can read it."""
    try:
        told: object = json.loads(path.read_bytes())
    except (IsADirectoryError, ValueError, RecursionError):
        return None
    if not valid_json.is_object(told):
        return None
    host, pid, started = (told.get(key, 0) for key in ("host", "pid", "started"))
    if not isinstance(host, str) or not isinstance(started, str | None):
        return None
    return Holder(host, pid, started) if is_int(pid, 1) and pid < 2**32 else None


def _this_process() -> Holder:
    return Holder(host_identity(), os.getpid(), process_mark(os.getpid()))


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

    @property
    def takes_over(self) -> bool:
        """Whether the holder before this one is dead."""
        return self.number > 0

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                if self._is_lost():
                    log.warning("%s is no longer ours: it was deleted or taken over", self.path)
                    return
                os.utime(self.path)
            except OSError as error:  # the file server is away
                log.warning("heartbeat of %s failed: %s", self.path, error)

    def _is_lost(self) -> bool:
        """Tell whether the file is gone, or another's: somebody deleted the folder meanwhile."""
        try:
            return _read_holder(self.path) != _this_process()
        except OSError as error:
            if error.errno not in GONE:
                raise
            return True

    def release(self) -> None:
        """Give the claim back, and clear away the claims of the dead before it."""
        self._stop.set()
        self._thread.join()
        if self._is_lost():
            return
        for number in [n for n in _numbers(self.folder) if n < self.number] + [self.number]:
            try:
                (self.folder / f"claim.{number}").unlink(missing_ok=True)
            except (IsADirectoryError, PermissionError) as error:  # not of our making
                log.warning("%s/claim.%d stays: %s", self.folder, number, error.strerror)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def _numbers(folder: Path) -> list[int]:
    names = (path.name for path in folder.glob("claim.*"))
    return sorted(int(match[1]) for name in names if (match := NAME.fullmatch(name)))


class Watch:
    """A memory of the claims of others as seen here, to know the dead whatever clocks say.

    `clock`: seconds that never step back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beats: dict[Path, tuple[int, float]] = {}  # the last one, when we first saw it
        self._alive: set[Path] = set()

    def is_dead(self, path: Path) -> bool:
        """Tell whether nobody holds the claim at `path` any more."""
        try:
            is_dead = self._is_dead(path)
        except OSError as error:
            if error.errno not in GONE:
                raise
            is_dead = True
        if is_dead:
            self._alive.discard(path)
        return is_dead

    def shows_life(self, path: Path) -> bool:
        """Tell whether we have seen the holder alive: its process, or its heart beating."""
        return path in self._alive

    def _is_dead(self, path: Path) -> bool:
        try:
            holder = _read_holder(path)
        except OSError as error:
            if error.errno in GONE:
                raise
            return self._is_silent(path)
        if holder is None:
            log.warning("%s is no claim: nobody is taken to hold it", path)
            return True
        if holder.host != host_identity():
            return self._is_silent(path)
        if process_mark(holder.pid) != holder.started:
            return True
        self._alive.add(path)
        return False

    def _is_silent(self, path: Path) -> bool:
        """Tell whether the heart stopped: the last beat is old, or none came while we watched."""
        beat, now = path.lstat().st_mtime_ns, self._clock()
        before, since = self._beats.setdefault(path, (beat, now))
        if beat != before:
            self._beats[path] = (beat, now)
            self._alive.add(path)
            return False
        return now - since > STALE_S or server_time(path.parent) - beat / 1e9 > STALE_S


def try_claim(folder: Path, watch: Watch | None = None) -> Claim | None:
    """Claim `folder` (created if missing), or return None when a living process holds it.

    None, too, where somebody deletes the empty folder between two steps: try again.
    `watch`: of who will try again. Without one a heartbeat in the future is taken for life.
    """
    try:
        return _try_claim(folder, watch or Watch())
    except OSError as error:  # mkdir finds a folder, and then that it is none
        if error.errno not in (*GONE, errno.EEXIST):
            raise
        if os.path.lexists(folder) and not folder.is_dir():
            raise
        return None


def _try_claim(folder: Path, watch: Watch) -> Claim | None:
    folder.mkdir(parents=True, exist_ok=True)
    numbers = _numbers(folder)
    number = numbers[-1] + 1 if numbers else 0
    if numbers and not watch.is_dead(folder / f"claim.{numbers[-1]}"):
        return None
    path = folder / f"claim.{number}"
    temporary = partial_name(path)
    try:  # by hand, as it need not be brought to the disk: a claim does not outlast its machine
        temporary.write_text(valid_json.dumps(asdict(_this_process())))
        os.link(temporary, path)
    except FileExistsError:
        return None
    finally:
        temporary.unlink(missing_ok=True)
    others = [folder / f"claim.{other}" for other in _numbers(folder) if other != number]
    if not all(map(watch.is_dead, others)):
        path.unlink()
        return None
    if numbers:
        log.info("%s: its last holder is gone, taken over", folder.name)
    return Claim(folder, number)


def clear_away(folder: Path) -> None:
    """Delete `folder`, which held claims on what is finished, unless a living process claims it."""
    watch = Watch()
    try:
        for path in [folder / f"claim.{number}" for number in _numbers(folder)]:
            if watch.is_dead(path):
                path.unlink(missing_ok=True)
        folder.rmdir()
    except OSError as error:
        if error.errno not in (*GONE, errno.ENOTEMPTY, errno.EEXIST):
            log.warning("%s stays: %s", folder, error.strerror)


def last_claim(folder: Path) -> Path | None:
    """Return the claim on `folder` that counts, of the living or the dead; None without one."""
    numbers = _numbers(folder)
    return folder / f"claim.{numbers[-1]}" if numbers else None


def holder_of(folder: Path) -> str | None:
    """Describe who claims `folder`, or died while claiming it; None where nobody can be named."""
    path = last_claim(folder)
    try:
        holder = None if path is None else _read_holder(path)
    except OSError:  # given back just now, or not ours to read
        return None
    return None if holder is None else f"process {holder.pid} on {holder.host.split('/')[0]}"
