"""Writing a compressed model so that other software can read it: safetensors, zeros included."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calib_sweep.model.additions import refuse_additions
from calib_sweep.model.input_quantizer import refuse_input_quantizers
from calib_sweep.model.input_rotation import refuse_input_rotations
from calib_sweep.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def save_dense(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", folder: Path | str
) -> Path:
    """Write model and tokenizer in the Hugging Face layout; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(model, tokenizer, folder)
    return folder


def refuse_what_no_checkpoint_holds(model: "PreTrainedModel") -> None:
    """Raise `ConfigError` where a checkpoint of `model` would be another model."""
    refuse_input_quantizers(model)
    refuse_input_rotations(model)
    refuse_additions(model)


def write_checkpoint(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", folder: Path, **settings: Any
) -> None:
    """Settings, weights and tokenizer; `settings` go to `save_pretrained` of the model."""
    refuse_what_no_checkpoint_holds(model)
    with quiet_transformers(), _writable_generation(model, folder):
        model.save_pretrained(folder, **settings)
    tokenizer.save_pretrained(folder)


@contextmanager
def _writable_generation(model: "PreTrainedModel", folder: Path) -> Iterator[None]:
    """With settings of text generation that transformers agrees to write.

    Some published models have settings that contradict each other (a temperature, but no sampling).
    Releases before 5 refuse to write them, and would with them refuse the model. Nothing here
    generates text: then only the ids of special tokens are kept.
    """
    from transformers import GenerationConfig

    found = model.generation_config
    try:
        if found is not None:
            found.save_pretrained(folder)
    except ValueError:
        logger.warning("generation_config.json: contradictory settings of the model are left out")
        model.generation_config = GenerationConfig(**{k: getattr(found, k) for k in TOKEN_IDS})
    try:
        yield
    finally:
        model.generation_config = found
