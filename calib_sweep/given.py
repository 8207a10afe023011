"""What a caller of the front door may give: tokens in any form, a model, a tokenizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from calib_sweep.errors import ConfigError, require
from calib_sweep.model.loading import HubModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
    from calib_sweep.parts import Model

    Tokens = CalibrationSet | Tensor | np.ndarray | Sequence[Sequence[int]]
    Lengths = Tensor | np.ndarray | Sequence[int]

PASS_ONE = "Pass AutoTokenizer.from_pretrained(PATH)."


def tokenizer_of(
    owner: "PreTrainedTokenizerBase | PreTrainedModel | Model",
) -> "PreTrainedTokenizerBase":
    """Return the tokenizer that was given, or that of a model, loaded or not."""
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    if isinstance(owner, PreTrainedTokenizerBase):
        return owner
    if not isinstance(owner, PreTrainedModel):
        has_one = hasattr(owner, "load_tokenizer")
        expected = "a tokenizer, a model, or the name of one"
        require(has_one, "tokenizer", owner, expected, PASS_ONE)
        return owner.load_tokenizer()
    expected = "one, as this model does not say which folder or hub id it is from"
    path = owner.name_or_path or ""
    require(path != "", "tokenizer", None, expected, PASS_ONE)
    part = HubModel(
        name=None,
        path=path,
        revision=getattr(owner.config, "_commit_hash", None),
        dtype="float32",
        device="cpu",
        offload=None,
        trust_remote_code=False,
    )
    return part.load_tokenizer()


def model_of(owner: Any) -> "PreTrainedModel":
    """Return the model that was given, loaded now if it is not yet."""
    from transformers import PreTrainedModel

    if isinstance(owner, PreTrainedModel):
        return owner
    expected = "a model, or the name of one, as this dataset draws with it"
    require(hasattr(owner, "load"), "tokenizer", type(owner), expected, "Example: llama_7b.")
    return owner.load()


@contextmanager
def in_eval_mode(model: "PreTrainedModel") -> "Iterator[PreTrainedModel]":
    """Keep dropout off inside; afterwards every module is in the mode in which it was."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield model
    finally:
        for module in training:
            module.training = True


def to_tensors(
    tokens: "Tokens | None", lengths: "Lengths | None"
) -> "tuple[Tensor | None, Tensor | None]":
    """Return token ids and lengths as tensors, of whatever they were given as."""
    import torch

    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet

    if isinstance(tokens, CalibrationSet):
        tokens, lengths = tokens.tokens_NT, tokens.lengths_N
    try:
        both = [None if given is None else torch.as_tensor(given) for given in (tokens, lengths)]
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"tokens: expected whole numbers of shape [num_samples, seq_len], but: {error}. Pad "
            "samples of several lengths on the right, and say with lengths= how long each is."
        ) from None
    for name, given in zip(("tokens", "lengths"), both, strict=True):
        is_whole = given is None or not (given.is_floating_point() or given.is_complex())
        kind = None if given is None else given.dtype
        require(is_whole, f"{name}.dtype", kind, "whole numbers", "Pass token ids.")
    return both[0], both[1]


def context_length(model: "PreTrainedModel") -> int | None:
    return getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)


def check_length(model: "PreTrainedModel", tokens_NT: "Tensor | None") -> None:
    """Refuse samples that the model cannot attend to."""
    context = context_length(model)
    if tokens_NT is not None and tokens_NT.ndim == 2 and context is not None:
        expected = f"[num_samples, seq_len] with seq_len at most {context}, the model's context"
        shape, remedy = tuple(tokens_NT.shape), f"Draw with seq_len={context} or less."
        require(shape[1] <= context, "tokens", shape, expected, remedy)
