"""The dense model's perplexity of each sample of a set."""

import logging
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.cell import Cell
from calib_sweep.errors import ConfigError
from calib_sweep.parts.interfaces import Model, Parts
from calib_sweep.session import Session

if TYPE_CHECKING:
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet

log = logging.getLogger(__name__)

# Multiplications and additions that a CPU is given: some ten minutes of two cores.
MOST_ON_CPU = 1e14
PER_WEIGHT = 2  # of them, for each token


def sample_perplexities_of(
    drawn: "CalibrationSet", cell: Cell, parts: Parts, session: Session
) -> np.ndarray | None:
    """Return the perplexity of each sample [N]; None where the model is not asked.

    It is not with dense_perplexity=false, without its weights on this machine, and where a CPU
    would take long.
    """
    if not cell.config["dense_perplexity"]:
        return None
    from calib_sweep.model.likelihood import sample_perplexities, token_log_probs

    try:
        if takes_long(parts.model, drawn.tokens_NT.size):
            log.warning(
                "%s: no perplexities, for which a CPU takes long. Type model.device=cuda where "
                "there is a GPU.",
                parts.model.path,
            )
            return None
        model = session.model(parts.model, parts.model.fingerprint())
    except ConfigError as error:
        log.warning("no perplexities: %s", error)
        return None
    return sample_perplexities(token_log_probs(model, drawn.tokens_NT, drawn.lengths_N))


def takes_long(model: Model, num_tokens: int) -> bool:
    """Tell whether a forward pass over so many tokens is more than a CPU is given."""
    from calib_sweep.model.placement import named_device

    if named_device(getattr(model, "device", "auto")).type != "cpu":
        return False
    num_weights = sum(weight.numel() for weight in model.skeleton().parameters())
    return PER_WEIGHT * num_weights * num_tokens > MOST_ON_CPU
