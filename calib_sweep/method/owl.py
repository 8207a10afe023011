"""OWL: blocks with more outliers keep more weights; a pruning method of your choice does the rest.

Yin et al. 2023, arXiv:2310.05175, as their code computes it, in one dense pass before the walk:

    score[o, i] = |W[o, i]| * ||X[:, i]||_2     in every linear layer of block b, inputs dense
    D[b] = share of the scores of b above outlier_multiple * their mean
    d[b] = 2 * spread * (D[b] - min D) / (max D - min D)
    sparsity[b] = sparsity - (d[b] - mean d)

Then every block is pruned by the base method at its own sparsity, in a walk as without OWL. Scores
of all layers of a block are taken together, so that one mean and one share stand for the block.

mean d is weighted by the weights of a block, so that the whole model keeps exactly the density
1 - sparsity, up to the base method's own rounding in a layer or row; the authors' plain mean is the
same where blocks are of one size, as they almost always are. Equal shares give equal sparsities
(the authors divide by zero). Sparsities outside of [0, 1), which the authors bend to 0.01 or let
through, are refused. The authors' mixed N:8 patterns are another method and not here.

Shapes: O = out_features, I = in_features, B = decoder blocks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast, final

import numpy as np
import torch
from torch import Tensor

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.method.base import LayerMethod, ModelMethod, Work, check_base
from calib_sweep.method.settings import UNSTRUCTURED, check_sparsity
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.values import is_number

BASE_REMEDY = "See conf/method/owl.yaml: a pruning method with _partial_: true and no sparsity."


@final
@dataclass(frozen=True, kw_only=True)
class OWL(ModelMethod):
    sparsity: float  # fraction of weights set to zero in the whole model, in [0, 1)
    spread: float  # half the difference between the densest and the sparsest block
    outlier_multiple: float  # a score is an outlier above so many times the mean of its block
    base: Callable[..., LayerMethod]  # called with sparsity=...: the method that prunes a block

    statistic: ClassVar[type[Statistic] | None] = InputNorm

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(self._check_spread)
            problems.of(self._check_outlier_multiple)
            problems.of(self._check_base)

    def _check_spread(self) -> None:
        require(
            is_number(self.spread) and 0 <= self.spread < 0.5,
            "method.spread",
            self.spread,
            "a number in [0, 0.5)",
            "Example: method.spread=0.08, as for LLaMA; 0 gives every block the same sparsity.",
        )

    def _check_outlier_multiple(self) -> None:
        require(
            is_number(self.outlier_multiple) and self.outlier_multiple > 0,
            "method.outlier_multiple",
            self.outlier_multiple,
            "a number > 0",
            "Example: method.outlier_multiple=5, as the authors use for LLaMA.",
        )

    def _check_base(self) -> None:
        expected = "a pruning method that takes a sparsity"
        base: object = self.base
        given = cast("partial[object]", base).keywords if isinstance(base, partial) else {}
        require(
            "sparsity" not in given,
            "method.base.sparsity",
            given.get("sparsity"),
            "no value, as every block gets one of its own",
            "Leave it out and set the mean of all blocks. Example: method.sparsity=0.5.",
        )
        _check_unstructured(given.get("pattern", UNSTRUCTURED))
        try:
            method: object = cast(Callable[..., object], base)(sparsity=self.sparsity)
        except TypeError as error:
            raise ConfigError(
                f"method.base={base!r}: expected {expected}, but: {error}. {BASE_REMEDY}"
            ) from None
        except ConfigError as error:
            raise ConfigError(*map(_as_of_base, error.problems)) from None
        require(isinstance(method, LayerMethod), "method.base", method, expected, BASE_REMEDY)
        check_base(cast(LayerMethod, method))
        _check_unstructured(vars(method).get("pattern", UNSTRUCTURED))

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        self.base(sparsity=self.sparsity).check_shape(name, num_out, num_in)

    def work(self) -> Work:
        work = self.base(sparsity=self.sparsity).work()
        return work._replace(passes=work.passes + 1)

    def sensitivity(
        self, weights: Mapping[str, Tensor], statistics: Mapping[str, Statistic]
    ) -> float:
        """Share of outliers among the scores of all linear layers of a block."""
        total = sum(
            float(_score_OI(weight_OI, statistics[name]).sum(dtype=torch.float64))
            for name, weight_OI in weights.items()
        )
        num_weights = sum(weight_OI.numel() for weight_OI in weights.values())
        threshold = self.outlier_multiple * total / num_weights
        num_outliers = sum(
            int((_score_OI(weight_OI, statistics[name]) > threshold).sum())
            for name, weight_OI in weights.items()
        )
        return num_outliers / num_weights

    def plan_model(
        self, ratings_B: Sequence[float], num_weights_B: Sequence[int]
    ) -> list[LayerMethod]:
        sparsity_B = self.sparsity_of_blocks(ratings_B, num_weights_B)
        for block, sparsity in enumerate(sparsity_B):
            require(
                0 <= sparsity < 1,
                "method.spread",
                self.spread,
                f"a spread that leaves every block a sparsity in [0, 1); block {block} would have "
                f"{sparsity:.3f} where the model has {self.sparsity:g}",
                "Lower it; method.spread=0 always fits.",
            )
        return [self.base(sparsity=sparsity) for sparsity in sparsity_B]

    def sparsity_of_blocks(
        self, ratings_B: Sequence[float], num_weights_B: Sequence[int]
    ) -> list[float]:
        """Sparsity of every block, from its share of outliers and its number of weights."""
        ratio_B = np.asarray(ratings_B, dtype=np.float64)
        width = ratio_B.max() - ratio_B.min()
        if width == 0:
            return [self.sparsity] * len(ratio_B)
        kept_B = 2 * self.spread * (ratio_B - ratio_B.min()) / width
        return (self.sparsity - (kept_B - np.average(kept_B, weights=num_weights_B))).tolist()


def _score_OI(weight_OI: Tensor, statistic: Statistic) -> Tensor:
    """Wanda's score; zero where no token reached the layer."""
    assert isinstance(statistic, InputNorm), statistic
    return weight_OI.to(torch.float32).abs() * statistic.norm_I().to(weight_OI.device)


def _check_unstructured(pattern: object) -> None:
    require(
        pattern == UNSTRUCTURED,
        "method.base.pattern",
        pattern,
        f"{UNSTRUCTURED}, because a pattern N:M leaves all blocks the same sparsity",
        f"Type method.base.pattern={UNSTRUCTURED}.",
    )


def _as_of_base(problem: str) -> str:
    """A problem of the base method by the keys that are typed; the sparsity is OWL's own."""
    return problem.replace("method.", "method.base.").replace(
        "method.base.sparsity", "method.sparsity"
    )
