"""REAP: of every mixture of experts those go that add least to what the tokens sent to them get.

Lasby et al. 2026, arXiv:2510.13999, the saliency of expert e:

    S[e] = mean over the tokens t that its router sends to e of gate[t, e] * ||f_e(x[t])||_2

gate is what the model multiplies the expert's output f_e by: where the model makes the gates of a
token add up to 1, so are these. An expert that no token was sent to has saliency 0. Of each mixture
int(experts * sparsity) go, the lowest, ties from the first on; its router then chooses among the
others only, as if their rows were all that it has.

Shapes: R = tokens sent to an expert, E = experts, B = decoder blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.method.settings import check_sparsity
from calib_sweep.method.structured import (
    BlockParts,
    Mixture,
    Removal,
    Routed,
    Seen,
    StructuredMethod,
    SurveyedModel,
)


@final
@dataclass(frozen=True, kw_only=True)
class REAP(StructuredMethod):
    sparsity: float  # share of the experts of every mixture that goes, rounded down

    removes_experts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)

    def check_blocks(self, blocks_B: Sequence[BlockParts]) -> None:
        mixtures = {block.mixture for block in blocks_B if block.mixture is not None}
        require(
            bool(mixtures),
            "model",
            blocks_B[0].kind,
            "blocks with a mixture of experts that transformers keeps fused, and a router of the "
            "form that returns logits, gates and choices",
            "Choose another model; method=two_ssp removes neurons, method=shortgpt whole blocks.",
        )
        for mixture in mixtures:
            self._check_mixture(mixture)

    def _check_mixture(self, mixture: Mixture) -> None:
        num_experts, most = mixture.num_experts, mixture.num_experts - mixture.num_chosen
        require(
            1 <= self._num_removed(mixture) <= most,
            "method.sparsity",
            self.sparsity,
            f"a share that removes 1 to {most} of {num_experts} experts, of which a token needs "
            f"{mixture.num_chosen}, not {self._num_removed(mixture)}",
            f"Example: method.sparsity={1 / num_experts:.4g} removes one.",
        )

    def check_saving(self, blocks_B: Sequence[BlockParts]) -> None:
        raise ConfigError(
            "save_model: expected null with REAP, whose routers choose among some of their "
            "experts, for which no checkpoint has a place. Type save_model=null, or leave the "
            "method out of this sweep."
        )

    def _num_removed(self, mixture: Mixture) -> int:
        return int(mixture.num_experts * self.sparsity)

    def start_survey(self, block: BlockParts, weights: Mapping[str, Tensor]) -> "Saliency":
        return Saliency(0 if block.mixture is None else block.mixture.num_experts)

    def plan_removal(self, model: SurveyedModel) -> list[Removal]:
        surveys_B = [survey for survey in model.surveys_B if isinstance(survey, Saliency)]
        return [
            Removal()
            if block.mixture is None
            else Removal(experts_E=_lowest(survey.mean_E(), self._num_removed(block.mixture)))
            for block, survey in zip(model.blocks_B, surveys_B, strict=True)
        ]


class Saliency:
    """Gate times norm of the output, summed over the tokens sent to each expert."""

    layers = ()
    sees_experts = True

    def __init__(self, num_experts: int) -> None:
        self._sum_E = torch.zeros(num_experts, dtype=torch.float64)
        self._num_tokens_E = torch.zeros(num_experts, dtype=torch.float64)

    def add(self, seen: Seen) -> None:
        for expert, routed in seen.routed:
            self.add_routed(expert, routed)

    def merge(self, other: "Saliency") -> None:
        self._sum_E += other._sum_E
        self._num_tokens_E += other._num_tokens_E

    def add_routed(self, expert: int, routed: Routed) -> None:
        salience_R = routed.gates_R.to(torch.float32) * routed.norms_R
        weights_R = torch.ones_like(salience_R) if routed.weights_R is None else routed.weights_R
        self._sum_E[expert] += float((salience_R * weights_R).sum(dtype=torch.float64))
        self._num_tokens_E[expert] += float(weights_R.sum(dtype=torch.float64))

    def mean_E(self) -> Tensor:
        """Saliency; 0 where no token was sent."""
        return self._sum_E / self._num_tokens_E.where(self._num_tokens_E > 0, 1.0)


def _lowest(salience_E: Tensor, num_removed: int) -> Tensor:
    removed_E = torch.zeros(len(salience_E), dtype=torch.bool)
    removed_E[salience_E.argsort(stable=True)[:num_removed]] = True
    return removed_E
