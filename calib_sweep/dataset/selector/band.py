"""What selectors share that keep a band of quantiles of one number per candidate."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calib_sweep.dataset.selector.base import KEY, Selection, Selector
from calib_sweep.errors import require


@dataclass(frozen=True, kw_only=True)
class Band(Selector):
    """Candidates between two quantiles. Ranks decide, so that ties have a place too.

    Of C candidates, sorted by their number, those of rank round(low C) to round(high C) - 1 are in
    the band. Equal numbers are sorted by their place in the pool; NaN is above all.
    """

    low: float  # fraction of the pool below the band
    high: float  # fraction of the pool up to the end of the band

    def __post_init__(self) -> None:
        super().__post_init__()
        ends = (self.low, self.high)
        numbers = all(type(end) in (int, float) for end in ends)
        require(
            numbers and 0 <= self.low < self.high <= 1,
            f"{KEY}.low and {KEY}.high",
            list(ends),
            "two fractions with 0 <= low < high <= 1",
            f"Example: {KEY}.low=0.25 {KEY}.high=0.75, the middle half.",
        )

    def check(self, num_samples: int) -> None:
        """Refuse a band that holds too few candidates."""
        size = self.size_for(num_samples)
        first, end = self.ranks(size)
        require(
            end - first >= num_samples,
            f"{KEY}.low and {KEY}.high",
            [self.low, self.high],
            f"a band of at least calibration.num_samples={num_samples} candidates, but of "
            f"{size} it holds {end - first}",
            f"Raise {KEY}.pool_size, or widen the band.",
        )

    def ranks(self, num_candidates: int) -> tuple[int, int]:
        """Return the first rank of the band, and the one behind its last."""
        return round(self.low * num_candidates), round(self.high * num_candidates)

    def within(
        self, value_C: np.ndarray, num_samples: int, cost: Mapping[str, float] | None = None
    ) -> Selection:
        """Choose the first candidates of the pool whose numbers are in the band."""
        first, end = self.ranks(len(value_C))
        in_band = np.sort(np.argsort(value_C, kind="stable")[first:end])
        return Selection(chosen=in_band[:num_samples], scores_C=value_C, cost=cost or {})
