"""Choose samples by their perplexity under the dense model: a band of quantiles of the pool.

    perplexity = exp(mean NLL of the sample's tokens), its first token and padding left out

`low: 0, high: 0.8` drops the fifth that is least usual to the model, as Ji et al. 2024 do with text
that it wrote (arXiv:2410.17711). The samples of a band keep the random order of the pool, of which
the first n are taken.
"""

from dataclasses import dataclass

from calib_sweep.dataset.selector.band import Band
from calib_sweep.dataset.selector.base import Pool, Selection


@dataclass(frozen=True, kw_only=True)
class PerplexityBand(Band):
    """Samples whose perplexity lies between two quantiles of the pool's."""

    @property
    def needs_model(self) -> bool:
        """It asks the dense model."""
        return True

    def select(self, pool: Pool, num_samples: int) -> Selection:
        """Choose from the band of perplexities."""
        from calib_sweep.model.likelihood import sample_perplexities, token_log_probs

        assert pool.model is not None
        one = pool.candidates
        log_probs_CT = token_log_probs(pool.model, one.tokens_NT, one.lengths_N)
        cost = {"tokens_read": int(pool.lengths_C.sum())}
        return self.within(sample_perplexities(log_probs_CT), num_samples, cost)
