"""Bootstrap draws of whole calibration draws, the same ones wherever numbers of draws are equal.

Shapes: S draws, B resamples.
"""

from functools import lru_cache

import numpy as np

from calib_sweep.seeding import stream


@lru_cache(maxsize=128)
def resampled_counts(block: int, num: int, size: int, seed: int, num_resamples: int) -> np.ndarray:
    """Count how often each of `num` draws occurs among `size` drawn with replacement [B, S].

    `block`: draws of different blocks (datasets) are resampled independently.
    """
    draw = stream("analysis/resampling", seed, block, num, size)
    return draw.multinomial(size, np.full(num, 1 / num), num_resamples)
