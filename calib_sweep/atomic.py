"""Files and folders that appear whole or not at all, and are still whole after a power failure.

Each is written under another name beside its place, brought to the disk (fsync), put in its place
in one step, and the folder that holds its name is brought to the disk as well. What is written gets
the mode that the umask asks for, also where a library chose a narrower one.

The other name says who writes: `.NAME.HOST-PID-START.RANDOM.partial`. A killed writer leaves it
behind; `sweep_leftovers` deletes what no living process writes any more.
"""

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from calib_sweep.processes import host_identity, process_mark

log = logging.getLogger(__name__)

# A writer on another host whose file has not changed for so long is gone.
QUIET_S = 3600.0

_PARTIAL = re.compile(
    r"\..+\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<mark>[\d.]+)\.[0-9a-f]{8}\.partial"
)
_OF_EARLIER_VERSIONS = re.compile(r"\..+\.[0-9a-f]{32}")  # they do not say who writes
# What file systems answer that make no hard links, or have enough of them.
NO_LINKS = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EPERM)
# The machine's troubles, not the program's: the disk is full, over quota, gone, not ours, or other
# than expected.
DISK_TROUBLES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, *NO_LINKS)
DISK_TROUBLES += (errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
# What file systems answer that have no way to bring a folder to the disk.
_NO_SYNC_OF_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


def write(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Replace the file `path` by `content` in one step: a reader never sees a part.

    Not `durable`: it may be lost or cut by a power failure, so whoever reads it must be able to
    tell, and to make it again.
    """
    with replacing(path, durable=durable) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def write_new(path: Path, content: str | bytes) -> None:
    """Make the file `path`; `FileExistsError` where there is one already, which stays as it is.

    Of all who try at the same time exactly one succeeds, on NFS too: a hard link decides.
    """
    with _partial_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        _finish_file(partial, _mode_of(partial))
        _link(partial, path)
        partial.unlink()
    sync_folder(path.parent)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """`with replacing(path) as partial:` what the block writes to `partial` becomes `path`."""
    with _partial_file(path) as partial:
        mode = _mode_of(partial)
        yield partial
        _finish_file(partial, mode, durable=durable)
        partial.replace(path)
    if durable:
        sync_folder(path.parent)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """`with new_folder(path) as partial:` what the block writes into `partial` becomes `path`.

    A folder that is there already stays as it is: whoever was first wins.
    """
    with _partial_folder(path) as partial:
        yield partial
        _finish_folder(partial)
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():  # somebody else being first is fine, anything else is not
                raise
    sync_folder(path.parent)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Like `new_folder`, but a folder that is there already gives way to the new one."""
    with _partial_folder(path) as partial:
        yield partial
        _finish_folder(partial)
        with _partial_folder(path) as gone:
            if path.is_dir():
                path.rename(gone)  # an empty folder gives way
            partial.rename(path)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make the folder `path` with its parents, each of them there for good."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def _link(partial: Path, path: Path) -> None:
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        why = f"{error.strerror}, by a file system that makes no hard link here: it needs to"
        raise OSError(error.errno, why, str(path)) from error


def sync_folder(path: Path) -> None:
    """Bring the names in the folder `path` to the disk, where its file system can.

    One that this user may not list is somebody else's, and was there before.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC_OF_FOLDERS:
            raise
    finally:
        os.close(descriptor)


def server_time(folder: Path) -> float:
    """The file server's clock, read from a file written just now: hosts' own clocks may differ."""
    probe = partial_name(folder / "clock")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def partial_name(path: Path) -> Path:
    """A new name beside `path` for what is to become it, by which a leftover is known as one."""
    mark = process_mark(os.getpid())
    writer = f"{_host_code()}-{os.getpid()}-{mark}"
    return path.with_name(f".{path.name}.{writer}.{uuid.uuid4().hex[:8]}.partial")


def sweep_leftovers(folder: Path, quiet_s: float = QUIET_S) -> None:
    """Delete what writers that are gone left in `folder` (not what is in its folders).

    On this host they are gone when their process is, on others when nothing was written for
    `quiet_s` seconds by the file server's clock.
    """
    for path in sorted(folder.glob(".*")):
        try:
            if _is_left(path, quiet_s):
                shutil.rmtree(path) if _is_folder(path) else path.unlink()
                log.info("%s was left behind by a process that is gone: deleted", path)
        except FileNotFoundError:
            continue  # finished, or swept by another one
        except OSError as error:
            log.warning("%s was left behind and cannot be deleted: %s", path, error.strerror)


def _is_left(path: Path, quiet_s: float) -> bool:
    partial = _PARTIAL.fullmatch(path.name)
    if partial is None and not _OF_EARLIER_VERSIONS.fullmatch(path.name):
        return False
    if partial is not None and partial["host"] == _host_code():
        return process_mark(int(partial["pid"])) != partial["mark"]
    inside = path.rglob("*") if _is_folder(path) else ()
    written = max(one.lstat().st_mtime for one in (path, *inside))
    return server_time(path.parent) - written > quiet_s


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


@cache
def _host_code() -> str:
    return hashlib.sha256(host_identity().encode()).hexdigest()[:8]


@contextlib.contextmanager
def _partial_file(path: Path) -> Iterator[Path]:
    partial = partial_name(path)
    try:
        partial.touch()
        yield partial
    finally:  # after a failure, of a full disk most of all: leave no part behind
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _partial_folder(path: Path) -> Iterator[Path]:
    partial = partial_name(path)
    make_folder(path.parent)
    try:
        partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _finish_file(path: Path, mode: int, *, durable: bool = True) -> None:
    """Give a file the mode of any new file, and bring it to the disk if it is to be durable."""
    if _mode_of(path) != mode:  # some libraries make files that nobody else can read
        path.chmod(mode)
    if not durable:
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finish_folder(folder: Path) -> None:
    """Bring all that is in `folder` to the disk, with the modes of new files."""
    with _partial_file(folder / "mode") as fresh:
        mode = _mode_of(fresh)
    for place, _, names in os.walk(folder):
        for name in names:
            _finish_file(Path(place, name), mode)
        sync_folder(Path(place))
