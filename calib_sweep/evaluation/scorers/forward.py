"""One forward of a model in memory, with logits at chosen places only.

The model's own head runs at the places that score, by a hook in front of it: what the architecture
does behind its head (a scale, a cap) is done to them too. Log-softmax is taken in float32, in parts
of at most `MAX_ELEMENTS` numbers.

Shapes: B rows at once, L places of a row, N windows, T tokens of a window, P places that score,
V vocabulary, H hidden size.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.evaluation.windows import Windows
from calib_sweep.ranks import ALONE, Ranks

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Log-probabilities in float32 at once, in numbers: 256 MiB. It bounds memory and moves no result.
MAX_ELEMENTS = 2**26
ELEMENTS_ON_CPU = 2**20  # they stay in its caches from one step to the next
# Tokens forwarded at once where nothing is set. A CPU has them in its caches, or nearly.
ON_GPU, ON_CPU = 16384, 1024
WRITING_ON_CPU = 4096  # the same of texts to go on with: most of a row waits for one token


def parts_of(logits_PV: "Tensor") -> "Sequence[Tensor]":
    """Part logits by rows, so that the float32 numbers of a part are bounded, and few on a CPU."""
    most = ELEMENTS_ON_CPU if logits_PV.device.type == "cpu" else MAX_ELEMENTS
    return logits_PV.split(max(1, most // logits_PV.shape[-1]))


def tokens_at_once(batch_tokens: int | None, device: "torch.device", on_cpu: int = ON_CPU) -> int:
    """Return the tokens to forward at once: `batch_tokens`; None: by device."""
    if batch_tokens is not None:
        return batch_tokens
    return on_cpu if device.type == "cpu" else ON_GPU


def logits_at(
    model: Any,
    inputs: "Mapping[str, Tensor]",
    row_P: "Tensor",
    place_P: "Tensor",
    *,
    is_whole: bool = False,
) -> "Tensor":
    """Return the logits [P, V] at these places of the rows in `inputs`.

    `is_whole`: the head runs at all places.
    """
    get_head = getattr(model, "get_output_embeddings", None)
    head = None if get_head is None or is_whole else get_head()
    came: list[bool] = []

    def keep(_module: object, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden_BLH, *others = arguments
        came.append(True)
        device = hidden_BLH.device
        return (hidden_BLH[row_P.to(device), place_P.to(device)][None], *others)

    handle = None if head is None else head.register_forward_pre_hook(keep)
    try:
        logits = model(**inputs, use_cache=False).logits
    finally:
        if handle is not None:
            handle.remove()
    # A model that has no head of its own to be asked, or passes it by, made all logits.
    return logits[0] if came else logits[row_P.to(logits.device), place_P.to(logits.device)]


def with_rows(array_BL: np.ndarray, num_rows: int) -> np.ndarray:
    """Repeat the last row until there are `num_rows`: what it says there is not looked at."""
    return np.pad(array_BL, ((0, num_rows - len(array_BL)), (0, 0)), mode="edge")


def log_probs(
    model: Any,
    windows: Windows,
    batch_tokens: int | None,
    ranks: Ranks = ALONE,
    *,
    is_full: bool = False,
    is_whole: bool = False,
) -> Iterator[tuple[slice, "Tensor"]]:
    """Yield (scored tokens, float32 log-probabilities of the vocabulary there [., V]).

    Of several ranks each has a run of the batches, in order of ranks. The logits of the scored
    tokens of a batch are held at once, in the model's dtype. `is_full`: the last batch has as many
    rows as the others, so that all have one shape. `is_whole`: the head runs at all places, in case
    that the model asks for that.
    """
    import torch

    num_at_once = max(1, tokens_at_once(batch_tokens, model.device) // windows.seq_len)
    device, starts = model.device, range(0, len(windows.tokens_NT), num_at_once)
    own = ranks.share(len(starts))
    first = int(windows.num_scored_N[: own.start * num_at_once].sum())
    for start in starts[own.start : own.stop]:
        batch = slice(start, start + num_at_once)
        tokens_BT = windows.tokens_NT[batch]
        if is_full and start:
            tokens_BT = with_rows(tokens_BT, num_at_once)
        input_BT = torch.from_numpy(tokens_BT).to(device)
        # A token is predicted where the one before it stands.
        row_P, place_P = np.nonzero(windows.scored_NT[batch])
        places = (torch.from_numpy(of).to(device) for of in (row_P, place_P - 1))
        with torch.inference_mode():
            logits_PV = logits_at(model, {"input_ids": input_BT}, *places, is_whole=is_whole)
            for part_PV in parts_of(logits_PV):
                yield slice(first, first + len(part_PV)), part_PV.float().log_softmax(-1)
                first += len(part_PV)
