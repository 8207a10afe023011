"""Divergence of a compressed model from the dense one, on the same tokens and the same items.

    KL(dense || compressed) = mean over positions of sum_v p_v * (log p_v - log q_v)
    flips                   = share of items whose correctness is not the dense model's

p dense, q compressed. Perplexity and accuracy can stay the same while a model changes: an item lost
and another won cancel, a flip does not (Dutta et al. 2024, arXiv:2407.09141).

A mean can hide a few positions that are far off, so there are beside it

    kl_median, kl_p99, kl_p999    the median, 99th and 99.9th percentile over positions, by linear
                                  interpolation
    same_top                      share of positions whose likeliest token is the dense model's

These are "Median KLD", "99.0% KLD", "99.9% KLD" and "Same top p" of llama.cpp's llama-perplexity.

All are taken over the first `num_tokens` scored tokens of each corpus, in the forward pass that
gives the perplexity. The dense log-probabilities are kept in float16, renormalised when read; KL is
float32. What the rounding leaves, measured on random and trained distributions of 512 to 128,256
tokens and 1 to 7 nats of entropy: KL(dense || dense) is 1e-7 to 1e-6 in the mean where it should be
0, and the mean of a true KL of 1e-3 is off by less than 2e-6 (a single position by up to 2e-5).

SE of KL and of same_top: over runs of `positions.RUN` positions inside a window. Percentiles have
none. SE of flips: the sample SD of the items by sqrt(n).

Shapes: P positions, V vocabulary.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.errors import require
from calib_sweep.evaluation.corpora.positions import mean_of, runs
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.windows import Windows
from calib_sweep.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from torch import Tensor

# Numbers compared at once: what a core has in its cache, what keeps a GPU busy.
ON_CPU, ON_GPU = 2**18, 2**24
QUANTILES = {"kl_median": 0.5, "kl_p99": 0.99, "kl_p999": 0.999}


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The share of each corpus for which the dense model's distribution is kept."""

    num_tokens: int  # that are scored, of each corpus from its start; a shorter one is used whole

    def __post_init__(self) -> None:
        require(
            isinstance(self.num_tokens, int)
            and not isinstance(self.num_tokens, bool)
            and self.num_tokens >= 2,
            "evaluation.divergence.num_tokens",
            self.num_tokens,
            "an integer >= 2",
            "Example: evaluation.divergence.num_tokens=4096; evaluation.divergence=null is none.",
        )


@dataclass(eq=False)
class Kept:
    """The dense model's distributions, as they come."""

    log_probs: list["Tensor"] = field(default_factory=list)  # float16 [., V]
    top: list["Tensor"] = field(default_factory=list)  # int32 [.]: rounding makes ties, so beside

    def take(self, _: slice, log_probs_PV: "Tensor") -> None:
        """Keep the distributions at the next positions."""
        self.log_probs.append(log_probs_PV.half().cpu())
        self.top.append(likeliest(log_probs_PV))

    def together(self, ranks: Ranks = ALONE) -> tuple["Tensor | None", "Tensor | None"]:
        """Return log-probabilities and likeliest tokens at all positions, where they are written.

        That is the first rank, which has the first positions, and mostly all that are kept.
        """
        import torch

        sent = [] if ranks.is_first else [(self.log_probs, self.top)]
        for log_probs, top in ranks.gathered(sent):
            self.log_probs += log_probs
            self.top += top
        if not ranks.is_first:
            return None, None
        return torch.cat(self.log_probs), torch.cat(self.top)


class Comparison:
    """A compressed model beside the dense one at the first scored tokens of a corpus."""

    def __init__(self, dense: DenseReference, windows: Windows, num_positions: int) -> None:
        self.dense, self.windows = dense, windows
        self.kl_P = np.full(num_positions, math.nan)
        self.is_same_P = np.full(num_positions, math.nan)  # whether the likeliest token is

    def take(self, part: slice, log_probs_PV: "Tensor") -> None:
        """Compare the distributions at these positions."""
        shape = (len(self.kl_P), log_probs_PV.shape[-1])
        dense_PV, top_P = self.dense.part(self.windows.label, part, shape)
        self.kl_P[part] = kl(dense_PV, log_probs_PV)
        self.is_same_P[part] = (likeliest(log_probs_PV) == top_P).numpy()

    def scores(self) -> dict[str, tuple[float, float | None]]:
        """Return each score with its standard error."""
        found: dict[str, tuple[float, float | None]] = {"kl": self._mean(self.kl_P)}
        for name, share in QUANTILES.items():
            found[name] = float(np.quantile(self.kl_P, share)), None
        return found | {"same_top": self._mean(self.is_same_P)}

    def _mean(self, value_P: np.ndarray) -> tuple[float, float | None]:
        return mean_of(runs(self.windows.by_stretch(value_P)))


def likeliest(log_probs_PV: "Tensor") -> "Tensor":
    """Return the likeliest token of each position, of equal ones the first (int32 [P])."""
    import torch

    if log_probs_PV.device.type == "cpu":  # ten times as fast as torch's, and the same
        return torch.from_numpy(log_probs_PV.numpy().argmax(-1)).int()
    return log_probs_PV.argmax(-1).int().cpu()


def kl(dense_PV: "Tensor", log_probs_PV: "Tensor") -> np.ndarray:
    """KL(dense || compressed) of each position in nats ([P]), the dense model's in float16."""
    import torch

    device = log_probs_PV.device
    num_at_once = max(1, (ON_CPU if device.type == "cpu" else ON_GPU) // log_probs_PV.shape[-1])
    parts = zip(dense_PV.split(num_at_once), log_probs_PV.split(num_at_once), strict=True)
    kl_P = torch.cat([_kl(dense_PV.to(device), other_PV) for dense_PV, other_PV in parts])
    return kl_P.double().cpu().numpy()


def _kl(dense_PV: "Tensor", log_probs_PV: "Tensor") -> "Tensor":
    dense_PV = dense_PV.float().log_softmax(-1)
    p_PV = dense_PV.exp()
    is_out_PV = dense_PV.isneginf() if bool(dense_PV.amin() == -math.inf) else None
    terms_PV = dense_PV.sub_(log_probs_PV).mul_(p_PV)
    if is_out_PV is not None:
        # A token that the dense model rules out (log p = -inf) adds nothing: 0 * log 0 = 0.
        terms_PV = terms_PV.masked_fill_(is_out_PV, 0.0)
    return terms_PV.sum(-1)


def flips(correct: np.ndarray, dense_correct: np.ndarray) -> tuple[float, float | None]:
    """Share of items whose correctness differs, and its standard error.

    Shapes: [items], or [replicates, items] of answers that are drawn, compared one by one.
    """
    flipped = np.atleast_2d(correct != dense_correct).astype(float).mean(axis=0)
    if len(flipped) < 2:
        return float(flipped.mean()), None
    return float(flipped.mean()), float(flipped.std(ddof=1)) / math.sqrt(len(flipped))
