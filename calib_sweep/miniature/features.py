"""Features of unlike size, as large models have them, in a trained model that computes the same.

In large language models some features of the hidden states are many times as large as others, at
the same places in all blocks (Dettmers et al. 2022, arXiv:2208.07339). That is why magnitude
pruning and plain rounding fail there, and what Wanda, AWQ and SmoothQuant are made for. A model of
this width does not grow them by itself.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from transformers import LlamaForCausalLM

from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

SPREAD = 0.4  # SD of the binary logarithm of a feature's factor, before it is rounded


def feature_factors(num_features: int, seed: int, spread: float = SPREAD) -> torch.Tensor:
    """s_j = 2^round(n_j), n_j ~ N(0, spread): with 0.4, a fifth of them are 2 or 1/2, most 1."""
    draw = stream("miniature-features", seed).normal(0.0, spread, num_features)
    return torch.from_numpy(np.exp2(np.rint(draw)))


@torch.no_grad()
def spread_features(model: LlamaForCausalLM, seed: int) -> None:
    """Give every feature that a block's norms put out a factor s_j, and take it back behind them.

    g_j <- s_j g_j for the gains of the norm, W_ij <- W_ij / s_j for the layers that read it:
    W diag(1/s) diag(s) x = W x, to the last bit in float32, since s_j are powers of two.
    """
    factors = feature_factors(model.config.hidden_size, seed)
    for block in cast("Iterable[LlamaDecoderLayer]", model.model.layers):
        attention, mlp = block.self_attn, block.mlp
        readers = {
            block.input_layernorm: (attention.q_proj, attention.k_proj, attention.v_proj),
            block.post_attention_layernorm: (mlp.gate_proj, mlp.up_proj),
        }
        for norm, layers in readers.items():
            norm.weight.mul_(factors)
            for layer in layers:
                layer.weight.div_(factors)
