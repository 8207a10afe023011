"""log.txt of a cell: what this package says while it runs, and the traceback of what ended it."""

import io
import logging
import os
import sysconfig
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from calib_sweep.errors import StoreError
from calib_sweep.sent_errors import frames_of

_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
_OURS = Path(__file__).parents[1]
_INSTALLED = ("purelib", "platlib")


@contextmanager
def log_to(path: Path) -> Generator[None]:
    """Append what this package logs meanwhile to `path`, which is on the disk at the end."""
    package = logging.getLogger("calib_sweep")
    with io.TextIOWrapper(open_log(path), encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(_FORMAT)
        handler.addFilter(_is_of_a_cell_here)
        package.addHandler(handler)
        try:
            yield
        except Exception:
            file.write(traceback.format_exc())
            raise
        finally:
            package.removeHandler(handler)
            file.flush()
            os.fsync(file.fileno())


def _is_of_a_cell_here(line: logging.LogRecord) -> bool:
    """Tell lines of a cell from those of the sweep, and of workers whose lines are shown here."""
    return line.process == os.getpid() and not line.name.startswith("calib_sweep.sweep.")


def open_log(path: Path) -> BinaryIO:
    """Open a log to append to; `StoreError` at a link: where it leads to may be anybody's."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    try:
        return os.fdopen(os.open(path, flags, 0o666), "ab")
    except OSError as error:
        if not path.is_symlink():
            raise
        raise StoreError(
            f"{path} is a link to {path.readlink()}, and a log is never written through a link. "
            "Find out who made it, delete it, then run the same command again."
        ) from error


def place_of(error: BaseException) -> str | None:
    """Return the place outside of this package where `error` came from, as "FILE:LINE", or None.

    The innermost one in somebody's own code; where there is none, in a library that was installed
    and that this package called, not in one that called it.
    """
    frames = [(Path(file), line) for file, line in frames_of(error) if Path(file).is_file()]
    called = takewhile(lambda frame: not frame[0].is_relative_to(_OURS), frames)
    others = [frame for frame in frames if not frame[0].is_relative_to(_OURS)]
    own = [one for one in others if not (_is_installed(one[0]) or _is_python(one[0]))]
    installed = [one for one in called if _is_installed(one[0])]
    return next((f"{file}:{line}" for file, line in own or installed), None)


def _is_installed(file: Path) -> bool:
    return any(file.is_relative_to(sysconfig.get_path(kind)) for kind in _INSTALLED)


def _is_python(file: Path) -> bool:
    return file.is_relative_to(sysconfig.get_path("stdlib"))
