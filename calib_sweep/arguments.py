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


def option(verb: str, arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Return what stands behind `--name` among `arguments`, and all other words."""
    rest, value = list(arguments), None
    for place, word in enumerate(arguments):
        if word.startswith(f"{name}="):
            value = word.removeprefix(f"{name}=")
            rest[place : place + 1] = []
        elif word == name:
            value = "".join(arguments[place + 1 : place + 2])
            rest[place : place + 2] = []
        if value is not None:
            break
    if value == "":
        raise ConfigError(
            f"{verb} {name}: expected a name behind it. Example: {name} results/both."
        )
    return value, rest
