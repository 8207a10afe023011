"""How likely a model finds each token of given samples.

    log p(token t | tokens before t of its sample)      in nats; at most 0

Samples are forwarded a few at a time, and log-softmax is taken in float32 over parts of their
places: never more logits are held than those of one batch. Nothing is written to the model.

Shapes: N samples, T tokens of a sample, B samples at once, P places of a batch, V vocabulary.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# Log-probabilities in float32 at once, in numbers: 256 MiB. It bounds memory and moves no result.
MAX_ELEMENTS = 2**26
# Tokens to forward at once, where nobody says: a CPU has them in its caches, or nearly.
ON_GPU, ON_CPU = 16384, 1024


def tokens_at_once(device: "torch.device") -> int:
    """Return how many tokens this device is best given at once."""
    return ON_CPU if device.type == "cpu" else ON_GPU


def token_log_probs(
    model: "PreTrainedModel",
    tokens_NT: np.ndarray,
    lengths_N: np.ndarray | None,
    batch_tokens: int | None = None,
) -> np.ndarray:
    """Return the log-probability of every token [N, T], float32.

    NaN where there is none: at the first token of a sample, which has no context, and at padding.
    `batch_tokens`: forwarded at once, at least one sample; None: by device.
    """
    import torch

    num_samples, seq_len = tokens_NT.shape
    found_NT = np.full((num_samples, seq_len), np.nan, dtype=np.float32)
    num_at_once = max(1, (batch_tokens or tokens_at_once(model.device)) // max(1, seq_len))
    for start in range(0, num_samples if seq_len > 1 else 0, num_at_once):
        batch = slice(start, start + num_at_once)
        tokens_BT = torch.from_numpy(tokens_NT[batch].astype(np.int64)).to(model.device)
        found_NT[batch, 1:] = _of_batch(model, tokens_BT)
    if lengths_N is not None:
        found_NT[np.arange(seq_len) >= np.asarray(lengths_N)[:, None]] = np.nan
    return found_NT


def sample_perplexities(log_probs_NT: np.ndarray) -> np.ndarray:
    """Return the perplexity of each sample [N]: exp of its mean NLL; NaN where it has no token."""
    is_told_NT = ~np.isnan(log_probs_NT)
    sum_N = np.where(is_told_NT, log_probs_NT, 0.0).sum(1, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.exp(-sum_N / is_told_NT.sum(1))


def _of_batch(model: "PreTrainedModel", tokens_BT: "torch.Tensor") -> np.ndarray:
    """Return the log-probabilities of all tokens but the first ones [B, T - 1].

    A causal model does not look to the right: padding there needs no mask.
    """
    import torch

    with torch.inference_mode():
        # The last place predicts what nobody asks for.
        logits_PV = model(input_ids=tokens_BT[:, :-1], use_cache=False).logits.flatten(0, 1)
        target_P1 = tokens_BT[:, 1:].reshape(-1, 1).to(logits_PV.device)
        size = max(1, MAX_ELEMENTS // logits_PV.shape[-1])
        parts = zip(logits_PV.split(size), target_P1.split(size), strict=True)
        found_P = torch.cat(
            [part.float().log_softmax(-1).gather(1, at)[:, 0] for part, at in parts]
        )
    return found_P.reshape(len(tokens_BT), -1).cpu().numpy()
