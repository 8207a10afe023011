"""Read what is typed behind a verb that takes folders of sweeps: the folders, and key=value."""

from collections.abc import Sequence
from pathlib import Path

from calib_sweep.errors import ConfigError


def folder_and_settings(verb: str, arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the one folder among `arguments`, whatever its name, and all other words."""
    folders, typed = folders_and_settings(arguments)
    if len(folders) != 1:
        given = " ".join(arguments) or "nothing"
        raise ConfigError(
            f"{verb} {given}: expected the folder of one sweep. "
            f"Example: python -m calib_sweep {verb} results/NAME."
        )
    return folders[0], typed


def folders_and_settings(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return all folders among `arguments`, whatever their names, and all other words."""
    is_folder = ["=" not in argument or Path(argument).is_dir() for argument in arguments]
    told = list(zip(arguments, is_folder, strict=True))
    return [Path(word) for word, is_one in told if is_one], [w for w, is_one in told if not is_one]
