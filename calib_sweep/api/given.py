"""What a caller of the front door may give: tokens in any form, a model, a tokenizer."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from calib_sweep.errors import ConfigError, StoreError, require
from calib_sweep.evaluation.reference import REMEDY
from calib_sweep.model.loading import HubModel
from calib_sweep.places import expanded, see_current_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.compression.walk import Walk
    from calib_sweep.compression.whole_model import Beside
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
    from calib_sweep.evaluation.reference import DenseReference
    from calib_sweep.evaluation.scoring import Scores
    from calib_sweep.parts.interfaces import Model

    Tokens = CalibrationSet | Tensor | np.ndarray | Sequence[Sequence[int]]
    Lengths = Tensor | np.ndarray | Sequence[int]
    Weights = Tensor | np.ndarray | Sequence[Sequence[float]]

LOADED = 'calib_sweep.model("miniature").load()'
PASS_ONE = "Pass AutoTokenizer.from_pretrained(PATH)."
TOKENS = "whole numbers of shape [num_samples, seq_len], in a tensor, an array or lists"
LENGTHS = "a whole number for each sample, in a tensor, an array or a list"
WEIGHTS = "a number from 0 for each token, in a tensor, an array or lists"
PADDED = (
    "Pass token ids. Pad samples of several lengths on the right, and say with lengths= how long "
    "each is."
)


@contextmanager
def seeing_current_folder() -> Iterator[None]:
    """Find modules of the current folder inside, last of all, as the command line does."""
    added = see_current_folder()
    try:
        yield
    finally:
        if added in sys.path:
            sys.path.remove(added)


def require_model(model: object) -> None:
    """Refuse what is no model, and a model that is not loaded."""
    from transformers import PreTrainedModel

    shown = model if model is None or isinstance(model, str) else type(model).__name__
    is_loaded = isinstance(model, PreTrainedModel)
    require(is_loaded, "model", shown, "a loaded Hugging Face model", f"Example: {LOADED}.")


def require_scores(dense: object) -> None:
    """Refuse a dense model's scores that are none."""
    from calib_sweep.evaluation.scoring import Scores

    is_known = dense is None or isinstance(dense, Scores)
    expected = "what evaluate returned for the dense model"
    require(is_known, "dense", type(dense).__name__, expected, f"Example: evaluate({LOADED}, ...).")


@contextmanager
def compared_with(dense: "Scores | None") -> "Iterator[DenseReference | None]":
    """Hand over the reference; say of one that does not fit where it was given, in no folder."""
    try:
        yield None if dense is None else dense.reference
    except StoreError as error:
        reason = str(error).removesuffix(REMEDY).strip()
        raise ConfigError(
            f"dense: expected what the same evaluation returned for the dense model, but: {reason} "
            "Score the dense model with this evaluation, and hand over what that returns."
        ) from error


def folder_of(folder: object) -> Path:
    """Return the folder that was given."""
    is_path = isinstance(folder, str | os.PathLike)
    require(is_path, "folder", folder, "the folder of a sweep", 'Example: "results/default".')
    return Path(cast(str, folder))


def tokenizer_of(
    owner: "PreTrainedTokenizerBase | PreTrainedModel | Model",
) -> "PreTrainedTokenizerBase":
    """Return the tokenizer that was given, or that of a model, loaded or not."""
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    if isinstance(owner, PreTrainedTokenizerBase):
        return owner
    if not isinstance(owner, PreTrainedModel):
        has_one = hasattr(owner, "load_tokenizer")
        expected = "a tokenizer, or a model that comes with one"
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
    try:
        return part.load_tokenizer()
    except ConfigError as error:
        if part.revision is not None or expanded(path).exists():
            raise
        raise ConfigError(
            f"tokenizer=None: expected one, as the model says that it is from {path!r}, but from "
            f"the current folder that is {Path(path).absolute()}, which does not exist. {PASS_ONE}"
        ) from error


def model_of(owner: Any) -> "PreTrainedModel":
    """Return the model that was given, loaded now if it is not yet."""
    from transformers import PreTrainedModel

    if isinstance(owner, PreTrainedModel):
        return owner
    expected = "a model, or the name of one, as this dataset draws with it"
    require(hasattr(owner, "load"), "tokenizer", type(owner), expected, "Example: llama_7b.")
    return owner.load()


def data_of(
    model: "PreTrainedModel",
    tokens: "Tokens | None",
    lengths: "Lengths | None",
    weights: "str | Weights | None",
) -> dict[str, Any]:
    """Return what a walk takes of the data that was given, checked against the model."""
    weights_NT = to_weights(tokens, weights)
    tokens_NT, lengths_N = to_tensors(tokens, lengths)
    check_tokens(model, tokens_NT)
    data = {"tokens_NT": tokens_NT, "lengths_N": lengths_N, "weights_NT": weights_NT}
    return data | {"beside": _beside(model, tokens, lengths)}


def check_walk(
    model: "PreTrainedModel", method: Any, activations: Any, settings: "Walk", data: dict[str, Any]
) -> None:
    """Raise `ConfigError` for what a walk would refuse, before anything is done to the model."""
    from calib_sweep.compression.given import check_weights, checked_tokens
    from calib_sweep.compression.walk import checked_blocks, needing_data
    from calib_sweep.method.whole_model import WholeModelMethod

    checked_blocks(model, method, activations, settings)
    if isinstance(method, WholeModelMethod):
        method.require_alone({"activations": activations})
    if needing := needing_data(method, activations):
        checked_tokens(needing, data["tokens_NT"], data["lengths_N"])
        check_weights(data["tokens_NT"], data["weights_NT"], data["lengths_N"])


def _beside(
    model: "PreTrainedModel", tokens: "Tokens | None", lengths: "Lengths | None"
) -> "Beside":
    """Return what a tool of others is handed beside a loaded model and its tokens."""
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
    from calib_sweep.handed import beside, set_of_tokens

    def drawn() -> CalibrationSet | None:
        if tokens is None or isinstance(tokens, CalibrationSet):
            return tokens
        found = to_tensors(tokens, lengths)
        tokens_NT, lengths_N = (None if t is None else t.numpy(force=True) for t in found)
        assert tokens_NT is not None
        return set_of_tokens(tokens_NT, tokenizer_of(model), lengths_N)

    part = HubModel(
        name=None,
        path=model.name_or_path or ".",
        revision=None,
        dtype="float32",
        device="cpu",
        offload=None,
        trust_remote_code=False,
    )
    return beside(part, drawn, lambda: tokenizer_of(model))


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
    """Return token ids [num_samples, seq_len] and lengths [num_samples] as tensors of int64."""
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet

    if isinstance(tokens, CalibrationSet):
        remedy = "Leave lengths out, or pass its tokens_NT."
        require(lengths is None, "lengths", lengths, "none beside a set, which has its own", remedy)
        tokens, lengths = tokens.tokens_NT, tokens.lengths_N
    tokens_NT = _whole_numbers("tokens", tokens, TOKENS, PADDED)
    lengths_N = _whole_numbers("lengths", lengths, LENGTHS, "Example: lengths=[512, 380].")
    if tokens_NT is not None and tokens_NT.ndim == 2 and lengths_N is not None:
        seq_len, expected = tokens_NT.shape[1], "the number of valid tokens in each sample, 1 to"
        wrong = [length for length in lengths_N.flatten().tolist() if not 1 <= length <= seq_len]
        remedy = "Leave out samples that are empty."
        require(not wrong, "lengths", wrong[:5], f"{expected} {seq_len}", remedy)
    return tokens_NT, lengths_N


def to_weights(tokens: "Tokens | None", weights: "str | Weights | None") -> "Tensor | None":
    """Return how often each token counts, float32 [num_samples, seq_len]; None: once."""
    import torch

    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
    from calib_sweep.dataset.calibration.settings import WEIGHTINGS
    from calib_sweep.dataset.calibration.weighting import token_weights

    if isinstance(weights, str):
        expected = f"{WEIGHTS}, or beside a set one of {', '.join(WEIGHTINGS)}"
        remedy = "Example: compress(model, method, drawn, weights='sequences')."
        is_known = weights in WEIGHTINGS and isinstance(tokens, CalibrationSet)
        require(is_known, "weights", weights, expected, remedy)
        assert isinstance(tokens, CalibrationSet)
        weights = token_weights(tokens, weights)
    if weights is None:
        return None
    try:
        return torch.as_tensor(weights, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).rstrip(".")
        remedy = "Example: weights=(tokens != 0), which leaves one token out."
        raise ConfigError(f"weights: expected {WEIGHTS}, but: {reason}. {remedy}") from None


def _whole_numbers(key: str, given: object, expected: str, remedy: str) -> "Tensor | None":
    """Return whole numbers, in whatever form they were given, as a tensor of int64."""
    import numpy as np
    import torch

    if given is None:
        return None
    known = torch.Tensor | np.ndarray | list | tuple
    require(isinstance(given, known), key, type(given).__name__, expected, remedy)
    if isinstance(given, torch.Tensor):
        is_float = given.is_floating_point() or given.is_complex()
        is_whole = not is_float and given.dtype != torch.bool
        require(is_whole, f"{key}.dtype", str(given.dtype), expected, remedy)
        return given.long()
    try:
        found = np.array(given)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).rstrip(".")
        raise ConfigError(f"{key}: expected {expected}, but: {reason}. {remedy}") from None
    is_whole = found.dtype.kind in "iu" or found.size == 0
    require(is_whole, f"{key}.dtype", str(found.dtype), expected, remedy)
    return torch.as_tensor(found.astype(np.int64))


def context_length(model: "PreTrainedModel") -> int | None:
    return getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)


def check_tokens(model: "PreTrainedModel", tokens_NT: "Tensor | None") -> None:
    """Refuse samples that the model cannot attend to, and ids that it has no embedding for."""
    if tokens_NT is None or tokens_NT.ndim != 2 or tokens_NT.numel() == 0:
        return  # the walk says so, where its method needs data
    context = context_length(model)
    if context is not None:
        expected = f"[num_samples, seq_len] with seq_len at most {context}, the model's context"
        shape, remedy = tuple(tokens_NT.shape), f"Draw with seq_len={context} or less."
        require(shape[1] <= context, "tokens", shape, expected, remedy)
    embedding: Any = model.get_input_embeddings()
    num_ids = embedding.weight.shape[0]
    expected = f"token ids from 0 to {num_ids - 1:,}, of which the model has embeddings"
    for found in (int(tokens_NT.min()), int(tokens_NT.max())):
        require(0 <= found < num_ids, "tokens", found, expected, "Use the model's own tokenizer.")
