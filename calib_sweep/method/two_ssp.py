"""2SSP: first neurons of every block go by the size of what they give, then whole attentions.

Sandri, Cunegatti and Iacca 2025, arXiv:2501.17771. Of B blocks, with as many weights in attention
and in the feed-forward part as p_attention and p_feed_forward on average:

    num_attention = round(B * sparsity^(p_feed_forward / p_attention / balance))         eq. 5
    neurons       = so many of every block that both together are `sparsity` of all weights

1.  norm[i] = mean over samples of ||X[:, i]||_2, X the inputs of the last feed-forward layer in the
    dense model, a row for each token of a sample; the neurons of the lowest norms go, ties from the
    first on.
2.  num_attention times, the attention goes without which the perplexity of the first
    `num_samples` samples is lowest, of the model without those neurons and the attentions that
    went before; ties to the first block.

Shapes: T = tokens, F = neurons, B = decoder blocks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.settings import check_positive_int, check_sparsity
from calib_sweep.method.structured import (
    BlockParts,
    Removal,
    Seen,
    StructuredMethod,
    SurveyedModel,
    check_attention_and_neurons,
)
from calib_sweep.values import is_int, is_number


@final
@dataclass(frozen=True, kw_only=True)
class TwoSSP(StructuredMethod):
    sparsity: float  # share of the weights of attention and feed-forward parts that goes
    balance: float  # alpha: the higher, the more attentions go and the fewer neurons
    num_attention: int | None  # attentions that go; None: by eq. 5
    num_samples: int  # whose perplexity chooses them

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(self._check_balance)
            problems.of(self._check_num_attention)
            remedy = "Example: method.num_samples=1, as published."
            problems.of(check_positive_int, "method.num_samples", self.num_samples, remedy)

    def _check_balance(self) -> None:
        require(
            is_number(self.balance) and self.balance > 0,
            "method.balance",
            self.balance,
            "a number > 0",
            "Example: method.balance=1.5, as published.",
        )

    def _check_num_attention(self) -> None:
        require(
            self.num_attention is None or is_int(self.num_attention, 0),
            "method.num_attention",
            self.num_attention,
            "an integer >= 0, or null for as many as the authors' formula says",
            "Example: method.num_attention=null.",
        )

    def check_blocks(self, blocks_B: Sequence[BlockParts]) -> None:
        check_attention_and_neurons(blocks_B)
        self.shares(blocks_B)

    def shares(self, blocks_B: Sequence[BlockParts]) -> tuple[int, float]:
        """Number of attentions that go, and the share of every block's neurons."""
        num_blocks, (attention, feed_forward) = len(blocks_B), _mean_sizes(blocks_B)
        num_attention = self.num_attention
        if num_attention is None:
            exponent = feed_forward / attention / self.balance
            num_attention = round(num_blocks * self.sparsity**exponent)
        require(
            num_attention <= num_blocks,
            "method.num_attention",
            num_attention,
            f"at most {num_blocks}, as many attentions as the model has, or null",
            "Example: method.num_attention=null.",
        )
        target = round(self.sparsity * num_blocks * (attention + feed_forward))
        of_neurons = round((target - num_attention * attention) / num_blocks) / feed_forward
        require(
            0 <= of_neurons < 1,
            "method.sparsity",
            self.sparsity,
            f"a share that {num_attention} of {num_blocks} attentions and a share of neurons from "
            f"0 to 1 make up, not {of_neurons:.3g}",
            f"Attention is {attention / (attention + feed_forward):.3g} of a block. Example: "
            "method.sparsity=0.25 method.num_attention=null.",
        )
        return num_attention, of_neurons

    def start_survey(self, block: BlockParts, weights: Mapping[str, Tensor]) -> "SampleNorms":
        assert block.feed_forward is not None
        return SampleNorms(block.feed_forward.out)

    def plan_removal(self, model: SurveyedModel) -> list[Removal]:
        num_attention, of_neurons = self.shares(model.blocks_B)
        norms = [survey.mean_F() for survey in model.surveys_B if isinstance(survey, SampleNorms)]
        removals_B = [Removal(neurons_F=lowest_neurons(norm_F, of_neurons)) for norm_F in norms]
        for _ in range(num_attention):
            removals_B = _without_one_more(model, removals_B, self.num_samples)
        return removals_B


class SampleNorms:
    """Norms over the tokens of a sample of every input feature, their mean over samples."""

    sees_experts = False

    def __init__(self, layer: str) -> None:
        self.layers = (layer,)
        self._sum_F: Tensor | None = None
        self._num_samples = 0

    def add(self, seen: Seen) -> None:
        inputs_TF = seen.inputs[self.layers[0]].to(torch.float32)
        assert seen.sample_T is not None
        if seen.weights_T is not None:
            inputs_TF = inputs_TF * seen.weights_T.sqrt().unsqueeze(1)
        for sample in range(int(seen.sample_T.max()) + 1 if len(seen.sample_T) else 0):
            own_TF = inputs_TF[seen.sample_T == sample]
            norm_F = own_TF.square().sum(dim=0).sqrt()
            self._sum_F = norm_F if self._sum_F is None else self._sum_F + norm_F
            self._num_samples += len(own_TF) > 0

    def merge(self, other: "SampleNorms") -> None:
        self._num_samples += other._num_samples
        if other._sum_F is not None:
            own_F = self._sum_F
            self._sum_F = other._sum_F if own_F is None else own_F + other._sum_F.to(own_F.device)

    def mean_F(self) -> Tensor:
        assert self._sum_F is not None
        return self._sum_F / self._num_samples


def lowest_neurons(norm_F: Tensor, share: float) -> Tensor:
    """Mark the neurons of the lowest norms, as many as a share leaves over when rounded."""
    num_removed = len(norm_F) - round(len(norm_F) * (1 - share))
    removed_F = torch.zeros(len(norm_F), dtype=torch.bool)
    removed_F[norm_F.cpu().argsort(stable=True)[:num_removed]] = True
    return removed_F


def _without_one_more(
    model: SurveyedModel, removals_B: list[Removal], num_samples: int
) -> list[Removal]:
    """Take away the attention without which the loss is lowest."""
    tried = [
        [*removals_B[:block], replace(removal, attention=True), *removals_B[block + 1 :]]
        for block, removal in enumerate(removals_B)
        if not removal.attention
    ]
    best_B, lowest = None, math.inf
    for tried_B, loss in zip(tried, model.losses(tried, num_samples), strict=True):
        if loss < lowest:
            best_B, lowest = tried_B, loss
    if best_B is None:
        raise ArithmeticError(
            "whichever attention goes, the perplexity of the first samples is not finite; the "
            "dense model may overflow, too. Try model.dtype=bfloat16 or model.dtype=float32."
        )
    return best_B


def _mean_sizes(blocks_B: Sequence[BlockParts]) -> tuple[float, float]:
    """Mean numbers of weights of attention and of the feed-forward part of a block."""
    pairs = [(b.attention, b.feed_forward) for b in blocks_B]
    known = [(a.num_weights, f.num_weights) for a, f in pairs if a is not None and f is not None]
    return sum(a for a, _ in known) / len(known), sum(f for _, f in known) / len(known)
