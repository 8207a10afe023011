"""Whose grids a worker runs: one that another user has kept must not run code of theirs unasked.

A folder that several people share holds grids of all of them. What a grid can make a worker run
besides this package is refused until the person who starts the worker says --trust.
"""

import os
from collections.abc import Iterable, Iterator

from calib_sweep.cell import PACKAGE, TARGET
from calib_sweep.errors import ConfigError
from calib_sweep.results.grids import Grid
from calib_sweep.settings import text_of
from calib_sweep.sweep.limits import TRUST

ALLOWING = ("trust_remote_code", "trust_task_code")  # true: code that comes with a model or a task
COMMAND = "command"  # of method=external: a program with its arguments


def require_trusted(found: Iterable[Grid]) -> None:
    """Raise `ConfigError` for code in grids that another user has kept."""
    own = os.geteuid()
    code: dict[tuple[int, str], None] = {}
    for grid in (grid for grid in found if grid.owner != own):
        for cell in grid.cells:
            code |= {(grid.owner, text): None for text in foreign_code(cell.config)}
    if code:
        raise ConfigError(
            *(
                f"work: user {owner} has kept a grid here that runs {text}, code that is not of "
                f"this package. If you trust it, type {TRUST}, too."
                for owner, text in code
            )
        )


def foreign_code(value: object, key: str = "") -> Iterator[str]:
    """Yield each setting in a configuration that has code run which is not of this package."""
    name = key.rpartition(".")[2]
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for inner, item in items:
            yield from foreign_code(item, f"{key}.{inner}" if key else str(inner))
    elif (
        (name in ALLOWING and value is not False)
        or (name == COMMAND and value is not None)
        or (name == TARGET and not str(value).startswith(f"{PACKAGE}."))
    ):
        yield f"{key}={text_of(value)}"
