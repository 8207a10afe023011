"""Choose samples by their length, in tokens without padding: a band of quantiles of the pool.

`low: 0.5, high: 1.0` is the longer half. The samples of a band keep the random order of the pool,
of which the first n are taken; equal lengths count in that order too.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.dataset.selector.band import Band
from calib_sweep.dataset.selector.base import KEY, Pool, Selection
from calib_sweep.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LengthBand(Band):
    """Samples whose length lies between two quantiles of the pool's lengths."""

    def select(self, pool: Pool, num_samples: int) -> Selection:
        """Choose from the band of lengths."""
        lengths_C = pool.lengths_C
        if len(pool) > 1 and len(np.unique(lengths_C)) == 1:
            raise ConfigError(
                f"{KEY}: expected candidates of different lengths to choose by length, but all "
                f"{len(pool)} have {int(lengths_C[0])} tokens. Type calibration.window=document, "
                "or a larger calibration.seq_len."
            )
        return self.within(lengths_C.astype(float), num_samples)
