"""The command line: Hydra runs the grid; a first word without '=' is a verb, see `usage`.

Nothing heavy is imported here: --help and --cfg job answer at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import hydra
from omegaconf import DictConfig

from calib_sweep import __version__, usage
from calib_sweep.completion import complete
from calib_sweep.errors import ConfigError
from calib_sweep.interruption import interruptible, raise_if_told
from calib_sweep.places import CONF
from calib_sweep.sweep.handover import hand_over

GRID_VERBS = (  # the same overrides as a run
    *("check", "prefetch", "inspect", "rescore", "add"),
    *("rm", "rerun"),
)
WORK = "work"  # the folder of a sweep, and who works there
FOLDER_VERBS = {  # a sweep's folder; the module whose main(arguments) does it
    "report": "calib_sweep.analysis.commands.report",
    "compare": "calib_sweep.analysis.commands.compare",
    "import": "calib_sweep.analysis.commands.import_scores",
    "dashboard": "calib_sweep.tracking.dashboard",
    "ls": "calib_sweep.sweep.listing",
    "merge": "calib_sweep.sweep.merging",
    "sync": "calib_sweep.tracking.sync",
    "gate": "calib_sweep.analysis.commands.gate",
    "plan": "calib_sweep.analysis.commands.plan",
    "export": "calib_sweep.dataset.release.export",
    "status": "calib_sweep.sweep.status",
    "doctor": "calib_sweep.doctor",
}
VERBS = [*GRID_VERBS, WORK, *FOLDER_VERBS]

FULL_ERROR = "HYDRA_FULL_ERROR"  # a variable of Hydra's


# Hydra 1.3 asks which version's defaults are meant; 1.4 has one set of them, and warns if told.
DEFAULTS = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


@hydra.main(**DEFAULTS, config_path=str(CONF), config_name="config")
def run_grid(config: DictConfig) -> None:
    """Only reached with another sweeper or hydra.mode=RUN: refuse rather than half-work."""
    raise ConfigError(
        "hydra/sweeper: expected grid or adaptive, the sweepers of this package. Leave out "
        "hydra.mode, and hydra/sweeper for a grid."
    )


def main() -> int:
    """Run the command line; returns the exit code."""
    verb, arguments = split_verb(sys.argv[1:])
    if asked := _asked(verb, arguments):
        from calib_sweep.console import write

        write(asked)
        return 0
    # Let exceptions reach us: a user's mistake is told in our own words, all mistakes at once.
    os.environ[FULL_ERROR] = "1"
    if {"-sc", "--shell-completion"} & set(arguments):
        return complete(run_grid, VERBS, [WORK, *FOLDER_VERBS])
    if verb in FOLDER_VERBS:
        return _reporting(lambda: import_module(FOLDER_VERBS[verb]).main(arguments))
    typed = None if verb == WORK else arguments
    return _reporting(lambda: compose_and_run(verb, arguments), verb, typed)


def _asked(verb: str | None, arguments: Sequence[str]) -> str | None:
    """Return the text that is asked for instead of any work."""
    if {"--help", "-h"} & set(arguments):
        return usage.VERBS.get(verb or "") or usage.program_help()
    return f"calib-sweep {__version__}\n" if "--version" in arguments else None


def compose_and_run(verb: str | None, arguments: Sequence[str]) -> object:
    """Hand over to Hydra, which hands over to the sweeper."""
    if verb not in (None, WORK, *GRID_VERBS):
        near = "".join(f" Did you mean {word}?" for word in get_close_matches(verb, VERBS, n=1))
        known = ", ".join(VERBS)
        raise ConfigError(f"{verb!r}: expected a verb ({known}) or key=value.{near}")
    from calib_sweep.sweep.limits import split_options

    options, words = split_options(verb, arguments)
    if verb == WORK:
        from calib_sweep.sweep.kept import words_of

        words = words_of(words)
    sys.argv[1:] = hand_over(CONF, verb or "run", words, options)
    return run_grid()


def split_verb(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Split off the verb: a first argument that is no override and no option."""
    first = arguments[0] if arguments else ""
    if not first or "=" in first or first[0] in "-+~":
        return None, arguments
    return first, arguments[1:]


def _reporting(
    action: Callable[[], object], verb: str | None = None, typed: Sequence[str] | None = None
) -> int:
    """Run `action` in words for the person who typed it."""
    return interruptible(lambda: _explaining(action, verb, typed))


def _explaining(action: Callable[[], object], verb: str | None, typed: Sequence[str] | None) -> int:
    """Run `action`; a mistake of the user's is printed without a traceback, and the code is 1.

    `typed`: the words behind `verb` that are composed to a grid; None where there is none.
    """
    try:
        _require_current_folder()
        code = action()
        return code if isinstance(code, int) else 0
    except Exception as error:  # decided below: ours to explain, or a bug to let fly
        raise_if_told()  # whatever a library made of the signal
        from calib_sweep.sweep.explain import explain

        code = explain(error if typed is None else all_mistakes(error, verb, typed))
        if code is None:
            raise
        return code


def _require_current_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "the current folder has been deleted. Type cd and a folder that exists."
        ) from error


def all_mistakes(error: Exception, verb: str | None, typed: Sequence[str]) -> Exception:
    """Hydra stops at the first mistake of a command line; return one error that names them all."""
    from hydra.errors import HydraException

    if not isinstance(error, HydraException | ValueError):
        return error
    from calib_sweep.sweep.limits import split_options
    from calib_sweep.sweep.plan import compose_command_line

    try:
        compose_command_line(CONF, split_options(verb, typed)[1])
    except (ConfigError, HydraException) as all_mistakes:
        return all_mistakes
    return error
