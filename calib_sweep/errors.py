"""Errors for the person typing: key, value, what is accepted, what to type.

`ConfigError` is something the user can fix before anything starts. `StoreError` is results at risk.
Everything else is a bug of ours and is left to fly.
"""

from collections.abc import Iterable


class ConfigError(Exception):
    """A setting the user can fix. `problems` holds one message per mistake, all found at once."""

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))

    @classmethod
    def merge(cls, errors: Iterable["ConfigError"]) -> "ConfigError":
        """One error that reports every problem of `errors` once, in order."""
        return cls(*(problem for error in errors for problem in error.problems))


class UnavailableError(ConfigError):
    """Something on the hub that is not on this machine: an error to run with, a note to check with."""


class StoreError(Exception):
    """Results on disk are at risk; nothing was overwritten."""


def require(ok: bool, key: str, value: object, expected: str, remedy: str) -> None:
    """Raise `ConfigError` naming key, value, what is accepted and what to type, unless `ok`."""
    if not ok:
        raise ConfigError(f"{key}={value!r}: expected {expected}. {remedy}")
