"""Writing a compressed model so that other software can read it: safetensors, zeros included."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_dense(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", folder: Path | str
) -> Path:
    """Write model and tokenizer in the Hugging Face layout; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
