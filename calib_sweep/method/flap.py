"""FLAP: remove the attention heads and neurons whose inputs fluctuate least; biases keep the means.

An et al. 2023, arXiv:2312.11983, as their code ranks (metric WIFV, structure AL-AM). X are the
inputs of the last layer W of attention and of the feed-forward part, in the dense model, of samples
n = 1, ..., N, and m[n] is the mean over the tokens of the first n of them:

    variance[i]    = 1 / (N - 1) * sum over n of
                     (n - 1) / n * sum over its tokens of (X[:, i] - m[n, i])^2
    fluctuation[i] = variance[i] * sum over o of W[o, i]^2

    z      = (s - mean s) / sd s        over the columns of one layer; s = fluctuation of neurons,
                                        its square of columns after attention
    score  = z of a neuron; the mean of z over the columns of a head

The first sample adds nothing to such a variance, so it takes two. `variance: all` is that of the
paper, about the mean over all tokens.

All heads and neurons of the model stand in one list. A head counts as many neurons as it has
weights. From the lowest on they go until the share `sparsity` of weights is reached as nearly as
can be. What went is replaced by its mean:

    b'[o] = b[o] + sum over removed i of W[o, i] * mean over tokens of X[:, i]

Shapes: O = out_features, I = in_features, H = heads of queries, F = neurons, B = decoder blocks,
P = parts that can go, of all blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import final

import torch
from torch import Tensor

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.method.settings import check_flag, check_sparsity
from calib_sweep.method.structured import (
    BlockParts,
    Part,
    Removal,
    Seen,
    StructuredMethod,
    SurveyedModel,
    check_attention_and_neurons,
)
from calib_sweep.method.typed import unflatten

ROWS = 1024  # of inputs, turned into float64 at once
RUNNING, ALL = "running", "all"


@final
@dataclass(frozen=True, kw_only=True)
class FLAP(StructuredMethod):
    sparsity: float  # share of the weights of attention and feed-forward parts that goes
    compensation: bool  # whether biases take up what removed inputs gave on average
    variance: str  # of inputs: "running", about the mean until then, or "all", about that of all

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            remedy = "Example: method.compensation=true, as published."
            problems.of(check_flag, "method.compensation", self.compensation, remedy)
            problems.of(
                require,
                self.variance in (RUNNING, ALL),
                "method.variance",
                self.variance,
                f"{RUNNING} or {ALL}",
                f"Example: method.variance={RUNNING}, as in the authors' code.",
            )

    def check_blocks(self, blocks_B: Sequence[BlockParts]) -> None:
        check_attention_and_neurons(blocks_B)
        unknown = next((block.kind for block in blocks_B if block.num_heads is None), None)
        require(
            unknown is None,
            "model",
            unknown,
            "blocks of which it is known which rows of which layer belong to a head of attention",
            "Choose another model, or method=two_ssp, which removes attention as a whole.",
        )

    def check_saving(self, blocks_B: Sequence[BlockParts]) -> None:
        parts = [
            part for b in blocks_B for part in (b.attention, b.feed_forward) if part is not None
        ]
        lacking = [part.out for part in parts if not part.has_bias]
        require(
            not (self.compensation and lacking),
            "method.compensation",
            self.compensation,
            f"false with save_model, because {lacking[0] if lacking else ''} has no bias, and no "
            "checkpoint of the model has a place for one",
            "Type method.compensation=false, or save_model=null.",
        )

    def start_survey(self, block: BlockParts, weights: Mapping[str, Tensor]) -> "Fluctuation":
        assert block.attention is not None and block.feed_forward is not None
        return Fluctuation(weights, block.attention.out, block.feed_forward.out)

    def plan_removal(self, model: SurveyedModel) -> list[Removal]:
        scores: list[Tensor] = []  # heads and neurons of a block, of the next block, ...
        costs: list[Tensor] = []
        surveys_B = [survey for survey in model.surveys_B if isinstance(survey, Fluctuation)]
        if self.variance == RUNNING and min(survey.num_samples for survey in surveys_B) < 2:
            raise ConfigError(
                f"method.variance={RUNNING!r}: expected a calibration set of two samples or more, "
                f"as the first adds nothing to it. Type method.variance={ALL}, or "
                "calibration.num_samples=128."
            )
        for block, survey in zip(model.blocks_B, surveys_B, strict=True):
            for part, score in zip(_parts(block), survey.scores(block, self.variance), strict=True):
                scores.append(score)
                costs.append(torch.full_like(score, part.num_weights / len(score)))
        removed_P = lowest_share(torch.cat(scores), torch.cat(costs), self.sparsity)
        ends = [0, *accumulate(len(score) for score in scores)]
        removed = [removed_P[start:end].cpu() for start, end in pairwise(ends)]
        return [
            Removal(
                heads_H=heads_H,
                neurons_F=neurons_F,
                means=survey.means() if self.compensation else {},
            )
            for survey, heads_H, neurons_F in zip(
                surveys_B, removed[::2], removed[1::2], strict=True
            )
        ]


class Fluctuation:
    """Moments of the inputs of a block's two last layers, and the squares of their weights."""

    sees_experts = False

    def __init__(self, weights: Mapping[str, Tensor], attention: str, feed_forward: str) -> None:
        self.layers = attention, feed_forward
        self._square_sums = {
            name: weights[name].to(torch.float32).square().sum(dim=0) for name in self.layers
        }
        self._moments = {
            name: Moments(sums_I.to(torch.float64)) for name, sums_I in self._square_sums.items()
        }

    def add(self, seen: Seen) -> None:
        for name, moments in self._moments.items():
            inputs_TI, weights_T, sample_T = seen.inputs[name], seen.weights_T, seen.sample_T
            if sample_T is None:
                moments.add(inputs_TI, weights_T)
                continue
            for sample in range(int(sample_T.max()) + 1 if len(sample_T) else 0):
                is_own_T = sample_T == sample
                own_T = None if weights_T is None else weights_T[is_own_T]
                if bool(is_own_T.any()):
                    moments.add(inputs_TI[is_own_T], own_T, is_share=seen.is_share)

    def merge(self, other: "Fluctuation") -> None:
        for name, moments in self._moments.items():
            moments.merge(other._moments[name])

    @property
    def num_samples(self) -> int:
        return min(moments.num_samples for moments in self._moments.values())

    def scores(self, block: BlockParts, variance: str) -> tuple[Tensor, Tensor]:
        """Scores of the heads and of the neurons."""
        variances = [
            moments.running_variance_I() if variance == RUNNING else moments.variance_I()
            for moments in self._moments.values()
        ]
        of_columns_I, of_neurons_F = (
            variance_I * self._square_sums[name]
            for name, variance_I in zip(self.layers, variances, strict=True)
        )
        assert block.num_heads is not None
        by_head_HI = unflatten(standardised(of_columns_I.square()), 0, (block.num_heads, -1))
        return by_head_HI.mean(dim=1), standardised(of_neurons_F)

    def means(self) -> dict[str, Tensor]:
        """Means over tokens of the inputs [I], by layer."""
        return {name: moments.mean_I() for name, moments in self._moments.items()}


class Moments:
    """Mean and variance over tokens of every input feature [I], from sums in float64.

    A variance is the small difference of two of them where a feature is far from zero.
    """

    def __init__(self, like_I: Tensor) -> None:
        self._sum_I, self._square_sum_I = torch.zeros_like(like_I), torch.zeros_like(like_I)
        self._running_I = torch.zeros_like(like_I)
        self._num_tokens = 0.0
        self.num_samples = 0
        # Of a share of the samples: a running mean begins with those of the ranks before.
        self._apart: list[tuple[float, Tensor, Tensor]] = []

    def add(self, inputs_TI: Tensor, weights_T: Tensor | None, *, is_share: bool = False) -> None:
        """Take in a sample; `is_share`: keep its sums until they are merged."""
        weights_T = inputs_TI.new_ones(len(inputs_TI)) if weights_T is None else weights_T
        num_tokens = float(weights_T.sum(dtype=torch.float64))
        sum_I, square_sum_I = torch.zeros_like(self._sum_I), torch.zeros_like(self._sum_I)
        for start in range(0, len(inputs_TI), ROWS):
            rows_RI = inputs_TI[start : start + ROWS].to(torch.float64)
            weighted_RI = rows_RI * weights_T[start : start + ROWS].to(rows_RI).unsqueeze(1)
            sum_I += weighted_RI.sum(dim=0)
            square_sum_I += (weighted_RI * rows_RI).sum(dim=0)
        if is_share:
            self._apart.append((num_tokens, sum_I, square_sum_I))
        else:
            self._add_sums(num_tokens, sum_I, square_sum_I)

    def merge(self, other: "Moments") -> None:
        """Take in the samples that `other` has kept apart."""
        for num_tokens, sum_I, square_sum_I in other._apart:
            device = self._sum_I.device
            self._add_sums(num_tokens, sum_I.to(device), square_sum_I.to(device))

    def _add_sums(self, num_tokens: float, sum_I: Tensor, square_sum_I: Tensor) -> None:
        """Take in the sums of a sample."""
        self._num_tokens += num_tokens
        self._sum_I += sum_I
        self._square_sum_I += square_sum_I
        self.num_samples += 1
        mean_I = self.mean_I()
        about_it_I = square_sum_I - 2 * mean_I * sum_I + num_tokens * mean_I.square()
        self._running_I += about_it_I.clamp(min=0) * (1 - 1 / self.num_samples)

    def mean_I(self) -> Tensor:
        return self._sum_I / self._num_tokens

    def variance_I(self) -> Tensor:
        squares_I = self._square_sum_I / self._num_tokens
        return (squares_I - self.mean_I().square()).clamp(min=0)

    def running_variance_I(self) -> Tensor:
        """About means until then; a sum over the tokens of a sample, as published."""
        return self._running_I / max(self.num_samples - 1, 1)


def standardised(score_I: Tensor) -> Tensor:
    """Scores with mean 0 and standard deviation 1; all 0 where they are equal."""
    score_I = score_I.to(torch.float64)
    spread = score_I.std()
    centred_I = score_I - score_I.mean()
    return centred_I / spread if spread > 0 else torch.zeros_like(centred_I)


def lowest_share(score_P: Tensor, cost_P: Tensor, share: float) -> Tensor:
    """Mark the parts of lowest score whose cost is nearest to a share of the whole, ties with them.

    As published the part at the threshold goes too: at least one always does.
    """
    order_P = score_P.argsort(descending=True, stable=True)
    kept_P = cost_P[order_P].cumsum(dim=0)
    nearest = int((kept_P - cost_P.sum() * (1 - share)).abs().argmin())
    return score_P <= score_P[order_P[nearest]]


def _parts(block: BlockParts) -> tuple[Part, Part]:
    assert block.attention is not None and block.feed_forward is not None
    return block.attention, block.feed_forward
