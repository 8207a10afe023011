"""Seconds from amounts of work: the rates of a device, by default or fitted to finished cells.

    seconds of a part = sum over amounts of (amount / rate) + a constant

The defaults are what was measured on one H200 and on one core of a CPU (docs/performance.md).
Finished cells on a device correct them: least squares of (predicted / measured - 1), none negative,
in which each rate is drawn to its default times what is common to all, as if a cell more had told
it. So few cells scale the defaults, and many of different sizes replace them. Last, what is left of
a part of a method is corrected by its own finished cells.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from calib_sweep.sweep.cost.amounts import Amounts

Part = tuple[str, str]  # of a cell's timings, and the method where it is the method's own


class Timed(NamedTuple):
    """A part of a finished cell."""

    part: str
    method: str
    amounts: Amounts
    seconds: float


@dataclass(frozen=True)
class Rates:
    """What one unit of each amount takes on a device, in seconds."""

    name: str
    seconds: Amounts  # per unit
    constant: float  # of a part: files, Python
    corrections: Mapping[Part, float] = field(default_factory=dict)
    num_cells: int = 0  # that it was fitted to

    def predict(self, part: str, method: str, amounts: Amounts) -> float:
        """Return the seconds of a part of a cell."""
        if not any(amounts):
            return 0.0
        plain = self.constant + sum(a * s for a, s in zip(amounts, self.seconds, strict=True))
        return plain * self.corrections.get((part, method), 1.0)


# 700 TFLOP/s in half precision, 25 in float32, 2.5 TB/s; 8 us to start a kernel, 1.5 to replay one.
GPU = Rates("one H200", Amounts(1 / 700e12, 1 / 25e12, 1 / 2.5e12, 8e-6, 1.5e-6), 0.02)
# 80 and 50 GFLOP/s, 8 GB/s, 6 us.
CPU = Rates("one core of a CPU", Amounts(1 / 80e9, 1 / 50e9, 1 / 8e9, 6e-6, 6e-6), 0.02)

LEAST_SECONDS = 0.02  # parts shorter than this tell nothing
PRIOR = 0.05  # weight of the defaults, relative to one timed part
SHRUNK = 1.0  # cells that a correction of 1 counts for


def fitted(default: Rates, timed: Sequence[Timed], num_cells: int) -> Rates:
    """Return `default` corrected by finished parts on that device."""
    used = [one for one in timed if one.seconds >= LEAST_SECONDS and any(one.amounts)]
    if not used:
        return default
    base = np.array([*default.seconds, default.constant])
    share_NK = np.array([[*one.amounts, 1.0] for one in used]) * base
    seconds_N = np.array([one.seconds for one in used])
    common = math.exp(float(np.mean(np.log(seconds_N / share_NK.sum(1)))))
    factors_K = _solve(common * share_NK / seconds_N[:, None]) * common
    rates = Rates(
        default.name, Amounts(*(base[:-1] * factors_K[:-1])), float(base[-1] * factors_K[-1])
    )
    return Rates(rates.name, rates.seconds, rates.constant, _corrections(rates, used), num_cells)


def _solve(relative_NK: np.ndarray) -> np.ndarray:
    """Factors [K] near 1 that bring each row's sum near 1; none negative."""
    from scipy.optimize import nnls

    num = relative_NK.shape[1]
    prior = math.sqrt(PRIOR * max(1.0, len(relative_NK) ** 0.5))
    rows = np.vstack([relative_NK, prior * np.eye(num)])
    return nnls(rows, np.concatenate([np.ones(len(relative_NK)), np.full(num, prior)]))[0]


def _corrections(rates: Rates, used: Sequence[Timed]) -> dict[Part, float]:
    """Mean of log(measured / predicted) of each part of each method, drawn to none."""
    logs: dict[Part, list[float]] = {}
    for one in used:
        ratio = one.seconds / rates.predict(one.part, one.method, one.amounts)
        logs.setdefault((one.part, one.method), []).append(math.log(ratio))
    return {key: math.exp(sum(own) / (len(own) + SHRUNK)) for key, own in logs.items()}
