"""Token ids that a model has no embedding for: a tokenizer can know more tokens than its model.

`check_ids` looks at ids before a model is loaded, `guard` at those that a loaded one is given, of
whatever origin: on a GPU an id too large would end in the loss of the device.

Shapes: N = samples or windows, T = tokens of one.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

REMEDY = (
    "The tokenizer knows more tokens than the model. Set model.path to a model with its own "
    "tokenizer, or take other text."
)


def check_ids(
    key: str, name: str, tokens_NT: np.ndarray, num_embeddings: int, place_of: Callable[[int], str]
) -> None:
    """Raise `ConfigError` for the first id without an embedding; `place_of` names a row."""
    places = np.argwhere(tokens_NT >= num_embeddings)
    if len(places) > 0:
        row, column = places[0]
        raise ConfigError(
            f"{key}={name!r}: expected token ids up to {num_embeddings - 1:,}, of which the model "
            f"has embeddings, but {place_of(int(row))} holds {tokens_NT[row, column]:,}. {REMEDY}"
        )


def guard(model: "nn.Module") -> None:
    """Have `model` refuse ids that it has no embedding for, before it looks them up."""
    embedding: Any = model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    embedding.register_forward_pre_hook(_refuse_unknown, with_kwargs=True)


def _refuse_unknown(
    embedding: "nn.Embedding", args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    from calib_sweep.model.calls import first_tensor

    num_embeddings, ids = embedding.weight.shape[0], first_tensor(args, kwargs)
    largest = int(ids.max()) if ids.numel() > 0 else 0
    if largest >= num_embeddings:
        raise ConfigError(
            f"model: expected token ids up to {num_embeddings - 1:,}, of which it has embeddings, "
            f"but was given {largest:,}. {REMEDY}"
        )
