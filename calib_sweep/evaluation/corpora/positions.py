"""The mean of a value over scored positions, and how far another text would move it.

    mean = sum of all values / P
    SE   = sqrt(R / (R - 1) * sum over parts of (sum of the part - mean * its length)^2) / P

Neighbouring positions are alike, so the error is taken over R parts of the text, as of a ratio of
sums. Of parts of equal length it is SD(their means) / sqrt(R).

Shapes: P positions, R parts.
"""

import math
from collections.abc import Sequence

import numpy as np

RUN = 128  # positions; long beside the correlation of neighbouring tokens, short beside a budget


def mean_of(parts: Sequence[np.ndarray]) -> tuple[float, float | None]:
    """Return the mean of all values, given by part, and its standard error; None for one part."""
    value_P, num_parts = np.concatenate(parts), len(parts)
    mean = float(np.mean(value_P))
    if num_parts < 2:
        return mean, None
    with np.errstate(invalid="ignore"):  # infinite losses of a ruined model
        residual_R = np.array([part.sum() - mean * len(part) for part in parts])
        square = num_parts / (num_parts - 1) * float(residual_R @ residual_R)
    return mean, math.sqrt(square) / len(value_P)


def runs(stretches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Part the values of each stretch of text into runs of `RUN`; the last one is shorter."""
    starts = [(stretch, at) for stretch in stretches for at in range(0, len(stretch), RUN)]
    return [stretch[at : at + RUN] for stretch, at in starts]
