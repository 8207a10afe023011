"""Notes beside a cell that ranks which ran it were lost: one that kills them is not tried for ever.

A cell runs again after the first loss, and has failed after the second. Whoever finishes it, in
whatever way, takes the notes away. A group that is ended as a whole leaves none.
"""

import json
import logging
from contextlib import suppress
from pathlib import Path

from calib_sweep import atomic, valid_json
from calib_sweep.places import LOSS

log = logging.getLogger(__name__)

MOST = 2  # losses; after so many a cell has failed


def note_loss(folder: Path, run: str, reason: str) -> None:
    """Note that ranks were lost in `run`, the name of an attempt. The first to say so counts.

    A full disk, or a folder that is gone, keeps nobody from ending.
    """
    text = valid_json.dumps({"reason": reason})
    try:
        atomic.write_new(folder / LOSS.replace("*", run), text + "\n")
    except FileExistsError:
        return
    except OSError as error:
        log.warning("that ranks were lost (%s) cannot be noted in %s: %s", reason, folder, error)


def losses(folder: Path) -> list[str]:
    """Return why ranks were lost on the cell in `folder`, the first loss first."""
    found: list[tuple[int, str]] = []
    for path in folder.glob(LOSS):
        with suppress(FileNotFoundError):  # whoever has finished the cell takes them away
            found.append((path.stat().st_mtime_ns, _reason(path)))
    return [reason for _, reason in sorted(found)]


def _reason(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes())["reason"])
    except (ValueError, KeyError, TypeError):
        return f"{path.name} does not say why"


def forget_losses(folder: Path) -> None:
    """Take the notes away."""
    for path in folder.glob(LOSS):
        path.unlink(missing_ok=True)
