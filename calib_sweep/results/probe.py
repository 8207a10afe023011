"""Try in a folder what workers rely on, before one of them does: not every file system can do it.

write and sync    a file appears whole, brought to the disk, and is seen by whoever lists the folder
new name          of all who make a file that must be new, one succeeds
hard link         to a new name; refused where the name is taken: claims and records are made so
rename            a file over another one, and a folder to a new name, in one step
append            to the end of a file: logs
set time          of a file, without writing it: heartbeats

Object storage that is mounted as a folder lacks hard links, mostly renames, too. NFS has all of it;
what else is assumed there is in docs/cluster.md.
"""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from calib_sweep import atomic

MOUNTS = Path("/proc/self/mountinfo")
LONG_AGO = 1_000_000_000  # seconds since 1970
REMEDY = (
    "Object storage has no names that only one process can make, and no renames in one step, "
    "however it is mounted. Type results_dir=FOLDER for one on a local disk, NFS, Lustre or GPFS, "
    "and copy what comes out to the bucket: rclone copy results BUCKET:results."
)


def failures(place: Path) -> dict[str, str]:
    """Return what the file system of the folder `place` cannot do, each with what it said."""
    room = atomic.partial_name(place / "probe")  # so that it goes, too, if we are killed here
    room.mkdir()
    found: dict[str, str] = {}
    try:
        for name, attempt in PROBES.items():
            try:
                attempt(room)
            except OSError as error:
                found[name] = error.strerror or str(error)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return found


def _write(room: Path) -> None:
    atomic.write(room / "written", "whole")
    atomic.sync_folder(room)
    if "written" not in os.listdir(room) or (room / "written").read_text() != "whole":  # noqa: PTH208
        raise OSError(errno.EIO, "what was written is not there to be read")


def _new_name(room: Path) -> None:
    _refused_twice(lambda: (room / "new").touch(exist_ok=False))


def _link(room: Path) -> None:
    _refused_twice(lambda: atomic.write_new(room / "linked", "once"))


def _refused_twice(make: Callable[[], None]) -> None:
    make()
    try:
        make()
    except FileExistsError:
        return
    raise OSError(errno.EIO, "a name that was taken was made again")


def _rename(room: Path) -> None:
    for text in ("first", "second"):
        atomic.write(room / "renamed", text)
    if (room / "renamed").read_text() != "second":
        raise OSError(errno.EIO, "a file that was renamed did not take the place of another")
    with atomic.new_folder(room / "folder") as partial:
        (partial / "inside").touch()
    if not (room / "folder/inside").exists():
        raise OSError(errno.EIO, "a folder that was renamed came without what was in it")


def _append(room: Path) -> None:
    for text in ("first ", "second"):
        with (room / "log").open("a") as log:
            log.write(text)
    if (room / "log").read_text() != "first second":
        raise OSError(errno.EIO, "what was appended did not come after what was there")


def _set_time(room: Path) -> None:
    path = room / "beat"
    path.touch()
    os.utime(path, (LONG_AGO, LONG_AGO))
    if path.stat().st_mtime != LONG_AGO:
        raise OSError(errno.EIO, "a file kept another time than the one it was given")


PROBES: dict[str, Callable[[Path], None]] = {
    "write and sync": _write,
    "new name": _new_name,
    "hard link": _link,
    "rename": _rename,
    "append": _append,
    "set time": _set_time,
}


def describe_mount(place: Path, mounts: Path = MOUNTS) -> str:
    """Name the kind of file system that `place` lies on, and where it is mounted."""
    found = (Path("/"), "a file system")
    try:
        lines = mounts.read_bytes().split(b"\n")
    except OSError:  # not Linux
        return found[1]
    for line in filter(None, lines):
        before, _, after = line.partition(b" - ")
        point = Path(_unescaped(before.split(b" ")[4]))
        kind, source, *_ = map(_unescaped, after.split(b" "))
        if place.is_relative_to(point) and len(point.parts) >= len(found[0].parts):
            found = (point, f"{kind} ({source}, mounted at {point})")
    return found[1]


def _unescaped(field: bytes) -> str:
    """Read what the kernel wrote: a space as \\040, any other letter as its bytes."""
    return os.fsdecode(field.decode("unicode_escape").encode("latin-1"))
