"""Options of verbs that take a grid's way through Hydra: what they are, and what they mean.

work     --max-cells N    --for SECONDS    --wait SECONDS    --trust    --skip-failed
rm       --force
rerun    --force
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from calib_sweep.arguments import option
from calib_sweep.errors import ConfigError, collected
from calib_sweep.sweep.points import read_options

MAX_CELLS, FOR, WAIT = "--max-cells", "--for", "--wait"
TRUST, SKIP_FAILED, FORCE = FLAGS = "--trust", "--skip-failed", "--force"
NUMBERS = {
    MAX_CELLS: ("a whole number >= 1. Example: --max-cells 4.", 1, True),
    FOR: ("seconds >= 0. Example: --for 3600.", 0, False),
    WAIT: ("seconds >= 0. Example: --wait 600.", 0, False),
}
OPTIONS = {"work": (*NUMBERS, TRUST, SKIP_FAILED), "rm": (FORCE,), "rerun": (FORCE,)}


def split_options(verb: str | None, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the options of `verb` among `arguments`, each as one word, and all other words."""
    found, rest = [], list(arguments)
    for name in OPTIONS.get(verb or "", ()):
        if name in FLAGS:
            found += [name] if name in rest else []
            rest = [word for word in rest if word != name]
            continue
        value, rest = option(str(verb), rest, name)
        found += [f"{name}={value}"] if value is not None else []
    with collected() as problems:
        for word in found:
            problems.of(_number, word)
        if verb in OPTIONS:
            problems.of(read_options, rest, OPTIONS[verb])
    return found, rest


def _number(word: str) -> float | None:
    """Return the number behind an option; None for one without."""
    name, _, text = word.partition("=")
    if name not in NUMBERS:
        return None
    expected, least, is_whole = NUMBERS[name]
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= least and (number.is_integer() or not is_whole)):
        raise ConfigError(f"work {name} {text}: expected {expected}")
    return number


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a worker takes on; at first all there is, until it is settled."""

    max_cells: int | None = None  # of one worker
    until: float | None = None  # takes no cell after this moment, in seconds since 1970
    wait_s: float = 0.0  # for another grid, once all cells are settled

    @classmethod
    def of(cls, options: Sequence[str]) -> "Limits":
        """Return what `split_options` found."""
        told = {word.partition("=")[0]: _number(word) for word in options}
        most, seconds = told.get(MAX_CELLS), told.get(FOR)
        return cls(
            max_cells=None if most is None else int(most),
            until=None if seconds is None else time.time() + seconds,
            wait_s=told.get(WAIT) or 0.0,
        )

    def least(self, max_cells: int | None) -> int | None:
        """Return the smaller of `max_cells`, which a launcher gives a worker, and our own limit."""
        return min((most for most in (max_cells, self.max_cells) if most), default=None)

    @property
    def are_set(self) -> bool:
        """Tell whether cells may be left when a worker ends."""
        return self.max_cells is not None or self.until is not None

    @property
    def is_over(self) -> bool:
        return self.until is not None and time.time() >= self.until
