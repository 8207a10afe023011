"""Read what is typed behind a verb that takes a sweep's folder: the folder, and key=value."""

from collections.abc import Sequence
from pathlib import Path

from calib_sweep.errors import ConfigError


def folder_and_settings(verb: str, arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the one folder among `arguments`, whatever its name, and all other words."""
    folders = [argument for argument in arguments if "=" not in argument or Path(argument).is_dir()]
    if len(folders) != 1:
        given = " ".join(arguments) or "nothing"
        raise ConfigError(
            f"{verb} {given}: expected the folder of one sweep. "
            f"Example: python -m calib_sweep {verb} results/NAME."
        )
    return Path(folders[0]), [argument for argument in arguments if argument != folders[0]]
