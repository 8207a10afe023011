"""Which engine scores a model: the one that is asked for."""

from typing import TYPE_CHECKING

from calib_sweep.evaluation.scorers.hflm import HFLMScorer
from calib_sweep.evaluation.scorers.packed import PackedScorer
from calib_sweep.evaluation.scorers.scorer import Scorer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ENGINES = {"packed": PackedScorer, "hflm": HFLMScorer}


def scorer_of(
    engine: str,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    batch_tokens: int | None,
    window_tokens: int | None,
    is_compiled: bool = False,
) -> Scorer:
    """Return what asks `model`: `batch_tokens` of requests and `window_tokens` of windows at once.

    None: by device. `is_compiled`: whether decoder blocks are compiled for it.
    """
    return ENGINES[engine](
        model,
        tokenizer,
        batch_tokens=batch_tokens,
        window_tokens=window_tokens,
        is_compiled=is_compiled,
    )
