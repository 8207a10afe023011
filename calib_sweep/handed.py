"""What a tool of others is handed beside model and tokens: the tokenizer, the calibration set as a
folder, and a way to read back the model that it leaves.

    SET/card.json             the set as this package keeps it, and `dataset=imported` reads it
        tokens.safetensors    tokens [N, T]; lengths [N] where padded; answers [N, T] where told
        samples.jsonl         document, offset, text of each sample
        data.jsonl            input_ids and text of each sample, without padding: for `datasets`

Nothing in it names a place on this machine: it is what the verb `export` writes of one set.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.compression.whole_model import Beside
from calib_sweep.dataset.calibration.artifact import save_set
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, ends_of
from calib_sweep.dataset.calibration.sampling import make_card
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.release.contents import DATA, features, public, rows
from calib_sweep.model.reading_back import read_back
from calib_sweep.parts.interfaces import Model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def beside(
    part: Model,
    drawn: Callable[[], CalibrationSet | None],
    tokenizer: "Callable[[], PreTrainedTokenizerBase] | None" = None,
) -> Beside:
    """Return what stands beside the model of `part`. `tokenizer`: None: the part's own."""
    trusts = bool(getattr(part, "trust_remote_code", False))
    return Beside(
        tokenizer=tokenizer or part.load_tokenizer,
        write_set=lambda folder: write_set(drawn(), folder),
        read_model=lambda folder, dtype: read_back(folder, dtype, trusts),
    )


def write_set(drawn: CalibrationSet | None, folder: Path) -> None:
    """Write a set for a tool of others to read."""
    assert drawn is not None, "a method that asks for no data writes no set"
    one = public(drawn)
    save_set(one, folder)
    (folder / DATA).write_text("".join(rows(one, features([one]))), encoding="utf-8")


def set_of_tokens(
    tokens_NT: np.ndarray,
    tokenizer: "PreTrainedTokenizerBase",
    lengths_N: np.ndarray | None = None,
) -> CalibrationSet:
    """Make a set of token ids without a past. `lengths_N`: where samples are padded."""
    num_samples, seq_len = tokens_NT.shape
    size = Calibration(
        num_samples=num_samples, seq_len=seq_len, design="disjoint", window="slice", bos="none"
    )
    card = make_card("tokens", {"source": None, "license": None}, None, size, 0, tokenizer)
    ends_N = ends_of(tokens_NT, lengths_N)
    texts = [
        str(tokenizer.decode(row_T[:end])) for row_T, end in zip(tokens_NT, ends_N, strict=True)
    ]
    return CalibrationSet(
        tokens_NT=tokens_NT,
        lengths_N=lengths_N,
        samples=[{"document": str(i), "offset": 0, "text": text} for i, text in enumerate(texts)],
        card={**card, "design": None, "window": None, "bos": None},  # nobody told us
    )
