"""Read what is typed behind a verb that takes folders of sweeps: the folders, and key=value."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from calib_sweep.errors import ConfigError
from calib_sweep.places import GRID, RECORDS
from calib_sweep.wording import meant

RESULTS = Path("results")  # results_dir, if it is not typed
MAX_NEAR = 3


class OptionParser(argparse.ArgumentParser):
    """Reads the options of a verb as they are spelled; what is wrong is told with an example."""

    def __init__(self, verb: str, example: str) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.verb, self.example = verb, example

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.verb}: {message}. {self.example}")


def folder_and_settings(verb: str, arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the one folder among `arguments`, whatever its name, and all other words."""
    folders, typed = folders_and_settings(verb, arguments)
    if len(folders) != 1:
        given = " ".join(arguments) or "nothing"
        raise ConfigError(
            f"{verb} {given}: expected the folder of one sweep. "
            f"Example: python -m calib_sweep {verb} results/NAME."
        )
    return folders[0], typed


def folders_and_settings(
    verb: str, arguments: Sequence[str], options: Collection[str] = ()
) -> tuple[list[Path], list[str]]:
    """Return all folders among `arguments`, whatever their names, and all other words.

    `options`: those that the verb takes; a word that looks like one is no folder.
    """
    if unknown := unknown_options(verb, arguments, options):
        raise ConfigError(*unknown)
    is_folder = ["=" not in argument or Path(argument).is_dir() for argument in arguments]
    told = list(zip(arguments, is_folder, strict=True))
    return [Path(word) for word, is_one in told if is_one], [w for w, is_one in told if not is_one]


def near_sweeps(folder: Path) -> str:
    """Return a sentence with the sweeps that were meant by `folder`, which is none."""
    near = [*sorted(folder.glob("*/")), RESULTS / folder.name]
    other = [path for path in near if path.absolute() != folder.absolute()]
    found = [str(path) for path in other if is_sweep(path)]
    return f" Did you mean {' or '.join(found[:MAX_NEAR])}?" if found else ""


def is_sweep(folder: Path) -> bool:
    """Tell whether a grid is kept in `folder`, or cells have left records there."""
    return any(any(folder.glob(pattern)) for pattern in (GRID, RECORDS))


def unknown_options(verb: str, words: Sequence[str], options: Collection[str]) -> list[str]:
    """Tell each word that looks like an option and is none, with the nearest one that there is."""
    found = []
    for word in words:
        name = word.partition("=")[0]
        if not name.startswith("-") or name in options or Path(word).is_dir():
            continue
        expected = f"one of the options {', '.join(options)}" if options else "no options"
        found.append(
            f"{verb} {word}: expected {expected}.{meant(name, options)} See {verb} --help."
        )
    return found


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
    if value == "" or (value or "").startswith("--"):
        raise ConfigError(f"{verb} {name}: expected a value behind it. See {verb} --help.")
    return value, rest
