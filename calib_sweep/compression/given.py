"""Refusing, before anything is changed, what a walk is given and cannot work with.

Shapes: N = samples, T = tokens of a sample.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from calib_sweep.errors import ConfigError, collected
from calib_sweep.method.base import Method
from calib_sweep.model.blocks import DecoderBlock


def check_shapes(blocks: Sequence[DecoderBlock], method: Method) -> None:
    """Refuse, before anything is changed, layers that the method's settings do not fit.

    The first layer of each shape stands for all: blocks repeat, and one message will do.
    """
    first: dict[torch.Size, str] = {}
    for block in blocks:
        for name, layer in block.layers.items():
            first.setdefault(layer.weight_OI().shape, f"block {block.index} {name}")
    with collected() as problems:
        for (num_out, num_in), name in first.items():
            problems.of(method.check_shape, name, num_out, num_in)


def checked_tokens(
    needing: Sequence[object], tokens_NT: Tensor | None, lengths_N: Tensor | None
) -> Tensor:
    """Return the tokens that the first of `needing` needs; `ConfigError` unless they are such."""
    if tokens_NT is None or tokens_NT.ndim != 2 or tokens_NT.numel() == 0:
        found = None if tokens_NT is None else tuple(tokens_NT.shape)
        raise ConfigError(
            f"tokens={found}: expected token ids of shape [num_samples, seq_len], as "
            f"{type(needing[0]).__name__} needs calibration data. Pass a LongTensor."
        )
    if lengths_N is not None and lengths_N.shape != tokens_NT.shape[:1]:
        raise ConfigError(
            f"lengths={tuple(lengths_N.shape)}: expected one length per sample, "
            f"{len(tokens_NT)} in all. Leave lengths out when no sample is padded."
        )
    return tokens_NT


def check_weights(
    tokens_NT: Tensor | None, weights_NT: Tensor | None, lengths_N: Tensor | None
) -> None:
    """Raise `ConfigError` unless there is a weight for each token, and any counts at all."""
    if weights_NT is None or tokens_NT is None:
        return
    if weights_NT.shape != tokens_NT.shape:
        raise ConfigError(
            f"weights={tuple(weights_NT.shape)}: expected one weight per token, "
            f"{tuple(tokens_NT.shape)}. Leave weights out where all tokens count once."
        )
    if not bool((torch.isfinite(weights_NT) & (weights_NT >= 0)).all()):
        raise ConfigError(
            "weights: expected finite numbers from 0. Example: 1 for a token that counts, else 0."
        )
    counts_NT = weights_NT > 0
    if lengths_N is not None:
        place_T = torch.arange(tokens_NT.shape[1], device=counts_NT.device)
        counts_NT &= place_T < lengths_N.to(counts_NT.device).unsqueeze(1)
    if not bool(counts_NT.any()):
        raise ConfigError(
            "weights: expected a token that counts, but all weights are 0 or at padding. "
            "Leave weights out where all tokens count once."
        )
