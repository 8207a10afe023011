"""Choose from the pool at random: the control that other selectors of the same pool are held to."""

from dataclasses import dataclass

from calib_sweep.dataset.selector.base import Pool, Selection, Selector


@dataclass(frozen=True, kw_only=True)
class AtRandom(Selector):
    """Any n candidates, all equally likely. More samples begin with the same ones."""

    def select(self, pool: Pool, num_samples: int) -> Selection:
        """Choose the first of a shuffled pool."""
        return Selection(chosen=pool.stream("random").permutation(len(pool))[:num_samples])
