"""Say what went wrong in words for the person who typed it, and with which exit code."""

from collections.abc import Iterable
from pathlib import Path

from calib_sweep.atomic import DISK_TROUBLES
from calib_sweep.errors import ConfigError, StoreError, printable
from calib_sweep.sweep.compose import GridError
from calib_sweep.sweep.mistakes import describe_hydra_error
from calib_sweep.sweep.plan import plan_cells, store_of

KEY_NOTE = "full_key: "
DONE, REFUSED, SOME_FAILED = 0, 1, 3  # exit codes


class SweepEnded(SystemExit):
    """Leaves Hydra with the exit code of a sweep, and says where its records are."""

    def __init__(self, exit_code: int, folder: Path) -> None:
        super().__init__(exit_code)
        self.exit_code, self.folder = exit_code, folder


def told(error: BaseException) -> ConfigError | None:
    """Return all of the user's mistakes behind `error`; None where it is another's fault."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError

    if isinstance(error, GridError):
        return ConfigError(*error.problems, *_further_problems(error))
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, HydraException | OmegaConfBaseException | MarkedYAMLError):
        return ConfigError(describe_hydra_error(error))
    # Hydra 1.4 lets through what its launchers and sweepers raise, with their key as a note.
    places = [note.removeprefix(KEY_NOTE) for note in getattr(error, "__notes__", ())]
    if own := next((place for place in places if place.startswith("hydra.")), None):
        return ConfigError(f"{own}: {error}")
    return None


def explain(error: BaseException) -> int | None:
    """Print an error that is the user's to fix and return the exit code; None for any other."""
    if isinstance(error, GridError):
        _print_problems("ConfigError", error.problems)
        # Importing the methods takes seconds, so what was typed wrong is told first.
        further = [text for text in _further_problems(error) if text not in error.problems]
        _print_problems("ConfigError", further)
    elif (mistake := told(error)) is not None:
        _print_problems("ConfigError", mistake.problems)
    elif isinstance(error, StoreError):
        _print_problems("StoreError", [str(error)])
    elif isinstance(error, OSError) and error.errno in DISK_TROUBLES:
        where = "" if error.filename is None else f": {error.filename}"
        remedy = (
            "Finished cells are kept. Free some disk space (or fix permissions), then run the same "
            "command again."
        )
        _print_problems("OSError", [f"{error.strerror}{where}. {remedy}"])
        return SOME_FAILED
    else:
        return None
    return REFUSED


def _print_problems(kind: str, problems: Iterable[str]) -> None:
    from calib_sweep.console import console

    for problem in problems:
        text = printable(f"{kind}: {problem}")
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _further_problems(error: GridError) -> list[str]:
    """Return what else is wrong with the values of a grid that mistakes kept from running."""
    from calib_sweep.sweep.check import build_problems

    if not error.composed:
        return []
    try:
        return build_problems(plan_cells(store_of(error.composed[0].config), error.composed))
    except ConfigError as further:
        return list(further.problems)
