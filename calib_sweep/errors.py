"""Errors for the person typing: key, value, what is accepted, what to type.

`ConfigError` is something the user can fix before anything starts. `StoreError` is results at risk.
Everything else is a bug of ours and is left to fly.
"""

import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Control characters, all but tab and newline; what turns the direction of text; half characters.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Write out control characters, as \\x1b: what others typed or sent commands no terminal."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class ConfigError(Exception):
    """A setting the user can fix. `problems` holds one message per mistake, all found at once."""

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


# The remedy of an `UnavailableError`. The verb prefetch itself gives another.
FETCH = (
    "Run 'python -m calib_sweep prefetch' with the same settings, and the same HF_HOME, where "
    "there is a connection."
)


class UnavailableError(ConfigError):
    """Something is on the hub but not on this machine: an error in a run, a note in a check."""


class StoreError(Exception):
    """Results on disk are at risk; nothing was overwritten."""


class WorkerLostError(Exception):
    """A worker process ended without a result; its cell is not done and can be run again."""


class RanksLostError(Exception):
    """Ranks that shared a cell were lost while they ran it, twice."""


def require(ok: bool, key: str, value: object, expected: str, remedy: str) -> None:
    """Raise `ConfigError` naming key, value, what is accepted and what to type, unless `ok`."""
    if not ok:
        raise ConfigError(f"{key}={value!r}: expected {expected}. {remedy}")


class Problems:
    """The `ConfigError`s of several calls; what is merely not on this machine goes to `notes`."""

    def __init__(self, notes: dict[str, None] | None = None) -> None:
        self.errors: list[ConfigError] = []
        self.notes = notes

    def of(self, function: Callable[P, T], *arguments: P.args, **settings: P.kwargs) -> T | Any:
        """Call `function`; keep its `ConfigError` for later and return None in that case.

        Typed as Any: behind a block of `collected` there is no None, and no type can say so.
        """
        try:
            return function(*arguments, **settings)
        except ConfigError as error:
            if self.notes is not None and isinstance(error, UnavailableError):
                self.notes.update(dict.fromkeys(error.problems))
            else:
                self.errors.append(error)
            return None

    def add(self, *texts: str) -> None:
        """Keep problems that were found without a call."""
        self.errors += [ConfigError(text) for text in texts]

    @property
    def texts(self) -> list[str]:
        """Every problem, each once, in order."""
        return list(dict.fromkeys(text for error in self.errors for text in error.problems))


class collected:
    """Raise all problems of a block together at its end: `with collected() as problems:`.

    The error is an `UnavailableError` where nothing else was wrong.
    """

    def __init__(self, notes: dict[str, None] | None = None) -> None:
        self.problems = Problems(notes)

    def __enter__(self) -> Problems:
        return self.problems

    def __exit__(self, kind: type | None, *rest: object) -> None:
        errors = self.problems.errors
        if kind is None and errors:
            only_missing = all(isinstance(error, UnavailableError) for error in errors)
            raise (UnavailableError if only_missing else ConfigError)(*self.problems.texts)
