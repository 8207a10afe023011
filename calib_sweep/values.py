"""Checks of plain values that settings share. True and False are no numbers here."""

from numbers import Real
from typing import TypeGuard


def is_int(value: object, least: int | None = None) -> TypeGuard[int]:
    """Tell whether `value` is a whole number, and at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return least is None or value >= least


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether `value` is a real number."""
    return isinstance(value, Real) and not isinstance(value, bool)
