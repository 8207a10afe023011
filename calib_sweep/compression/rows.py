"""Which rows of a layer's input count, how often, and of which tokens they are.

Shapes: B = samples of a batch, T = tokens of a sample or batch, R = rows, I = in_features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from calib_sweep.errors import ConfigError
from calib_sweep.method.statistics.statistic import Statistic


@dataclass(frozen=True)
class Rows:
    """What a layer sees of a batch: tokens that count."""

    hidden_RI: Tensor
    weights_R: Tensor | None  # how often; None: once
    is_row_T: Tensor | None = None  # True for the tokens that they are of; None: all
    is_known: bool = True  # False: sent by a router, and which tokens they are of is not known

    def are_of(self, num_samples: int) -> bool:
        """Tell whether it is known which rows are of which sample."""
        num_tokens = len(self.hidden_RI if self.is_row_T is None else self.is_row_T)
        return self.is_known and num_tokens % num_samples == 0

    def by_sample(self, num_samples: int) -> Iterator["Rows"]:
        """The rows of each sample, maybe none, where these are known."""
        device, num_rows = self.hidden_RI.device, len(self.hidden_RI)
        is_row_T = torch.ones(num_rows, device=device) if self.is_row_T is None else self.is_row_T
        numbers = is_row_T.view(num_samples, -1).sum(dim=1, dtype=torch.long).tolist()
        hidden = self.hidden_RI.split(numbers)
        weights = [None] * num_samples if self.weights_R is None else self.weights_R.split(numbers)
        for hidden_RI, weights_R in zip(hidden, weights, strict=True):
            yield Rows(hidden_RI, weights_R)


@dataclass(frozen=True)
class Taken:
    """Rows on their way into a statistic."""

    name: str  # of a layer that sees them
    statistic: Statistic
    rows: Rows
    num_samples: int


def add_alone(taken: Taken) -> None:
    """Add rows to their statistic as they are, or sample by sample where it tells them apart."""
    rows, statistic = taken.rows, taken.statistic
    if not (statistic.sees_samples and rows.are_of(taken.num_samples)):
        statistic.add(rows.hidden_RI, taken.num_samples, rows.weights_R)
        return
    for own in rows.by_sample(taken.num_samples):
        statistic.add(own.hidden_RI, 1, own.weights_R)


@dataclass(frozen=True)
class BatchTokens:
    """The tokens of a batch."""

    num_samples: int
    valid_BT: Tensor | None  # whether a token counts; None: all do
    weights_BT: Tensor | None  # how often; None: once

    def rows(self, inputs: Tensor, name: str, *, is_sent: bool) -> Rows:
        """One row per token that counts of what a layer reads; `is_sent`: by a router."""
        rows_TI = inputs.reshape(-1, inputs.shape[-1])
        valid_T, weights_T = self.counted(len(rows_TI), name, is_sent=is_sent)
        if valid_T is not None:
            rows_TI = rows_TI[valid_T]
            weights_T = None if weights_T is None else weights_T[valid_T]
        return Rows(rows_TI, weights_T, valid_T, is_known=not is_sent)

    def counted(
        self, num_rows: int, name: str, *, is_sent: bool = False
    ) -> tuple[Tensor | None, Tensor | None]:
        """Mark the rows of a layer's input that count (None: all), and how often (None: once)."""
        given = (self.valid_BT, self.weights_BT)
        for given_BT in given:
            if given_BT is not None and (is_sent or num_rows != given_BT.numel()):
                refuse_unknown_rows(name, num_rows, given_BT.numel())
        valid_T, weights_T = (None if BT is None else BT.flatten() for BT in given)
        return valid_T, weights_T


def refuse_unknown_rows(name: str, num_rows: int, num_tokens: int) -> NoReturn:
    """Raise `ConfigError` where tokens do not all count once and rows do not say which they are."""
    raise ConfigError(
        "calibration.window='document', weighting or seq_len: expected samples without padding "
        f"whose tokens all count once, because {name} sees {num_rows} rows for {num_tokens} "
        "tokens, and which is which cannot be told (experts of its own that this release of "
        "transformers keeps as separate modules?). Type walk.all_experts=true, or "
        "calibration.window=slice calibration.weighting=tokens and one calibration.seq_len."
    )
