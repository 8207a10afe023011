"""The points of a grid: what was typed, split into lists of overrides without sweeps.

Points are counted before any is made, so that a range of a billion seeds is refused at once.
"""

import itertools
import math
import re
from argparse import Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr
from functools import cache
from io import StringIO
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, OverrideType, RangeSweep, ValueType
from hydra.errors import HydraException

from calib_sweep import wording
from calib_sweep.errors import ConfigError, collected
from calib_sweep.sweep.mistakes import READABLE

MAX_POINTS = 100_000

Point = list[str]


def split_points(overrides: Sequence[Override]) -> list[Point]:
    """All combinations of the values typed; `ConfigError` where they are too many, or no values."""
    with collected() as problems:
        counts = [problems.of(_num_values, override) for override in overrides]
    # Of a key that is typed twice the last values count.
    num = dict(zip((o.get_key_element() for o in overrides), counts, strict=True))
    total = math.prod(num.values())
    if total > MAX_POINTS:
        factors = " x ".join(f"{count:,} ({key})" for key, count in num.items() if count > 1)
        raise ConfigError(
            f"the grid has {total:,} points ({factors}): expected at most {MAX_POINTS:,}. Type "
            "fewer values, or several commands, each with a sweep_name of its own."
        )
    words = {override.get_key_element(): _words(override) for override in overrides}
    return [list(point) for point in itertools.product(*words.values())]


def _words(override: Override) -> list[str]:
    """One override for each value; a plain one stays as it was typed, to be told as it was."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={text}" for text in override.sweep_string_iterator()]


def _num_values(override: Override) -> int:
    typed, value, key = override.input_line, override.value(), override.get_key_element()
    if not override.is_sweep_override():
        return 1
    if isinstance(value, RangeSweep):
        return _length(value, str(typed))
    if override.is_interval_sweep():
        raise ConfigError(
            f"{typed}: expected values that can be counted. Example: {key}=0.5,0.6, or "
            f"'{key}=range(0,10,2)'."
        )
    num = sum(1 for _ in override.sweep_iterator())
    if num == 0 and isinstance(override._value, Glob):
        raise ConfigError(f"{typed}: expected a pattern that fits a name. --help lists the names.")
    return num


def _length(sweep: RangeSweep, typed: str) -> int:
    start, stop, step = (float(value or 0) for value in (sweep.start, sweep.stop, sweep.step))
    if step == 0 or not all(map(math.isfinite, (start, stop, step))):
        key = typed.partition("=")[0]
        raise ConfigError(
            f"{typed}: expected finite ends and a step that is not 0. Example: "
            f"'{key}=range(0,10,2)' is 0, 2, 4, 6 and 8."
        )
    return max(0, math.ceil((stop - start) / step))


def read_options(arguments: Sequence[str], of_verb: Sequence[str] = ()) -> Namespace:
    """Hydra's own options and, as `overrides`, all other words, in any order.

    `of_verb`: options that are taken out already; they are told where an unknown one is found.
    """
    said = StringIO()
    try:
        with redirect_stderr(said):
            return get_args_parser().parse_intermixed_args(list(arguments))
    except SystemExit:
        reason = said.getvalue().strip().rpartition("error: ")[2]
        words = [word.partition("=")[0] for word in reason.split() if word.startswith("--")]
        near = "".join(wording.meant(word, of_verb) for word in words)
        own = f"one of {', '.join(of_verb)}, " if of_verb else ""
        raise ConfigError(
            f"{reason}: expected key=value, {own}or an option that --hydra-help lists.{near}"
        ) from None


def parse_words(words: Sequence[str], loader: ConfigLoader) -> list[Override]:
    """Parse what was typed; `ConfigError` names every word that cannot be read."""
    parser = OverridesParser.create(config_loader=loader)
    with collected() as problems:
        overrides = [problems.of(_parse_word, parser, word) for word in words]
    return overrides


def _parse_word(parser: OverridesParser, word: str) -> Override:
    try:
        override = parser.parse_overrides([word])[0]
        if "[" in override.key_or_group:  # which Hydra 1.4 takes for a dot
            raise HydraException
        return override
    except HydraException:
        if "=" not in word and Path(word).is_dir():
            raise ConfigError(
                f"{word!r} is a folder: expected key=value. The folder of a sweep is named by "
                f"results_dir and sweep_name. Example: sweep_name={Path(word).name}."
            ) from None
        raise ConfigError(f"{word!r} cannot be read as key=value. {_remedy(word)}") from None


def _remedy(word: str) -> str:
    """Say how to type the text after the key, and how a list or a range, if it looks like one."""
    key, _, value = word.partition("=")
    if not value or "[" in key or not _is_readable(f'{key}="text"'):
        return "A key is names with dots between them. Example: method.sparsity=0.5."
    quoted = f"Quote such text for Hydra and for the shell: {wording.typed(key, value)}."
    return f"{READABLE} {quoted}" if "," in value or "(" in value else quoted


def _is_readable(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return False
    return True


@cache
def parse(word: str) -> Override:
    """Parse a word without a sweep, once: Hydra's grammar takes milliseconds, a number nothing."""
    number = re.fullmatch(r"([A-Za-z_][\w.]*)=(0|[1-9]\d{0,17})", word)
    if number is None:
        return OverridesParser.create().parse_override(word)
    key, value = number.groups()
    return Override(OverrideType.CHANGE, key, ValueType.ELEMENT, int(value), None, word)


def largest_seeds(points: Sequence[Point]) -> list[Point]:
    """Return the point with the largest seed of all those that are otherwise equal."""
    largest: dict[tuple[str, ...], tuple[int, Point]] = {}
    for point in points:
        rest = tuple(word for word in point if not word.startswith("seed="))
        seed = max((_seed(word) for word in point if word not in rest), default=-1)
        if rest not in largest or seed > largest[rest][0]:
            largest[rest] = (seed, point)
    return [point for _, point in largest.values()]


def _seed(word: str) -> int:
    value = word.removeprefix("seed=")
    return int(value) if value.isascii() and value.isdigit() else -1
