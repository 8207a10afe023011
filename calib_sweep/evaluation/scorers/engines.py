"""Which engine scores a model: the one that is asked for, unless it says wrong of this model.

A compressed model is scored by what scored its dense model, as that one's record says.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from calib_sweep.errors import StoreError
from calib_sweep.evaluation.requests import Requests
from calib_sweep.evaluation.scorers.hflm import HFLMScorer
from calib_sweep.evaluation.scorers.in_memory import InMemory
from calib_sweep.evaluation.scorers.packed import PackedScorer
from calib_sweep.evaluation.scorers.probe import difference
from calib_sweep.evaluation.scorers.scorer import Scorer
from calib_sweep.evaluation.windows import Windows
from calib_sweep.ranks import Ranks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

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


def probed(scorer: PackedScorer, asked: Sequence[Requests], windows: Sequence[Windows]) -> str:
    """Return the engine for a dense model: `packed` where it can be trusted; say where it cannot.

    asked, windows: what the model is going to be asked.
    """
    reason = difference(scorer, asked, windows[0] if windows else None)
    if reason is None:
        return scorer.engine
    log.warning(
        "%s is scored by lm-eval's HFLM, a request to each row, which takes longer: it cannot be "
        "packed, because %s",
        type(scorer.model).__name__,
        reason,
    )
    return _plain(scorer).engine


def shared(scorer: Scorer, ranks: Ranks) -> Scorer:
    """Have ranks share what `scorer` is asked. One of somebody's own is asked by each of them."""
    if isinstance(scorer, InMemory):
        scorer.ranks = ranks
    return scorer


def scoring_as(scorer: Scorer, engine: str) -> Scorer:
    """Return what asks the model of `scorer` as `engine` does: itself, or HFLM in its place.

    `StoreError` where neither does.
    """
    can = [scorer, _plain(scorer)] if isinstance(scorer, PackedScorer) else [scorer]
    found = next((one for one in can if one.engine == engine), None)
    if found is None:
        raise StoreError(
            f"the dense model was scored by {engine!r}, and here is "
            f"{' or '.join(repr(one.engine) for one in can)}: their last digits differ, so nothing "
            "is compared. Install the versions that its record names, or type "
            "sweep_name=NEW_NAME to score it anew."
        )
    return found


def _plain(scorer: PackedScorer) -> HFLMScorer:
    return HFLMScorer(
        scorer.model,
        scorer.tokenizer,
        batch_tokens=scorer.batch_tokens,
        window_tokens=scorer.window_tokens,
        is_compiled=scorer.is_compiled,
    )
