"""Folders and files beside results that others may write to, and that nobody else may put there."""

import os
import stat
from pathlib import Path

from calib_sweep.errors import ConfigError
from calib_sweep.wording import typed

KEY = "hydra.launcher.submitit_folder"


def make_private(folder: Path) -> None:
    """Make `folder` one that only its owner, who runs this, can look into (mode 0700)."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(
            f"{KEY}={str(folder)!r}: expected a folder of your own, as jobs run "
            "code from there, but this one belongs to somebody else or is a link. "
            f"Example: {typed(KEY, f'{folder}-MY_NAME/%j')}."
        )
    folder.chmod(0o700)
