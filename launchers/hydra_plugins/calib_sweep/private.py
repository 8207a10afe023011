"""Folders and files beside results that others may write to, and that nobody else may put there."""

import os
import stat
from pathlib import Path

from calib_sweep.errors import ConfigError
from calib_sweep.wording import typed


def make_private(folder: Path, key: str) -> None:
    """Make `folder` one that only its owner, who runs this, can look into (mode 0700)."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(
            f"hydra.launcher.{key}={str(folder)!r}: expected a folder of your own, as jobs run "
            "code from there, but this one belongs to somebody else or is a link. "
            f"Example: {typed(f'hydra.launcher.{key}', f'{folder}-MY_NAME/%j')}."
        )
    folder.chmod(0o700)


def delete_pickles(folder: Path) -> None:
    """Delete what launchers of an earlier version left; what a link leads to is anybody's."""
    if folder.is_symlink():
        return
    for kind in ("task", "result"):
        for left_behind in folder.glob(f"*.{kind}.pkl"):
            left_behind.unlink(missing_ok=True)
