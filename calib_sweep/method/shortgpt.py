"""ShortGPT: remove the decoder blocks that turn the hidden states least.

Men et al. 2024, arXiv:2403.03853, eq. 1, the influence of block b on hidden states x:

    BI[b] = 1 - mean over tokens of cos(x_in[t], x_out[t])

The blocks of the lowest influence go, all in one step, ties from the first block on. Hidden states
are those of the dense model. As in the authors' code x_out of the last block is what the model's
final norm makes of it, and a cosine that is not defined counts as 0.5.

Shapes: T = tokens, D = hidden size, B = decoder blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from calib_sweep.errors import collected
from calib_sweep.method.settings import check_sparsity
from calib_sweep.method.structured import (
    BlockParts,
    Removal,
    Seen,
    StructuredMethod,
    SurveyedModel,
    check_whole_blocks,
)

UNDEFINED = 0.5  # the cosine with a vector of zeros, as the authors take it


@final
@dataclass(frozen=True, kw_only=True)
class ShortGPT(StructuredMethod):
    sparsity: float  # share of the blocks that go, to the nearest whole number of blocks

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)

    def check_blocks(self, blocks_B: Sequence[BlockParts]) -> None:
        check_whole_blocks(self.sparsity, len(blocks_B))

    def start_survey(self, block: BlockParts, weights: Mapping[str, Tensor]) -> "Influence":
        return Influence()

    def plan_removal(self, model: SurveyedModel) -> list[Removal]:
        influence_B = [float(survey) for survey in model.surveys_B if isinstance(survey, Influence)]
        num_removed = check_whole_blocks(self.sparsity, len(influence_B))
        order = sorted(range(len(influence_B)), key=influence_B.__getitem__)
        removed = set(order[:num_removed])
        return [Removal(whole=block in removed) for block in range(len(influence_B))]


class Influence:
    """Block influence, summed batch by batch."""

    layers = ()
    sees_experts = False

    def __init__(self) -> None:
        self._sum = self._num_tokens = 0.0

    def add(self, seen: Seen) -> None:
        turn_T = 1 - cosine_T(seen.before_TD, seen.after_TD)
        weights_T = torch.ones_like(turn_T) if seen.weights_T is None else seen.weights_T
        self._sum += float((turn_T * weights_T).sum(dtype=torch.float64))
        self._num_tokens += float(weights_T.sum(dtype=torch.float64))

    def merge(self, other: "Influence") -> None:
        self._sum += other._sum
        self._num_tokens += other._num_tokens

    def __float__(self) -> float:
        return self._sum / self._num_tokens


def cosine_T(before_TD: Tensor, after_TD: Tensor) -> Tensor:
    """Cosine of the angle by which each token's hidden state turns, in float32."""
    before_TD, after_TD = before_TD.to(torch.float32), after_TD.to(torch.float32)
    norms_T = before_TD.square().sum(dim=1).sqrt() * after_TD.square().sum(dim=1).sqrt()
    return ((before_TD * after_TD).sum(dim=1) / norms_T).nan_to_num(nan=UNDEFINED)
