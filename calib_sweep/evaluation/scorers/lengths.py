"""Requests that are longer than what a model reads at once.

The beginning of their context is left out, as lm-eval does. A continuation that is too long by
itself cannot be scored: lm-eval stops there, too.
"""

import logging

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.requests import Requests

log = logging.getLogger(__name__)


def check_lengths(requests: Requests, context_length: int) -> None:
    """Raise `ConfigError` for continuations that are too long; say how many requests are cut."""
    problems = []
    for task, items in requests.items.items():
        own = [requests[i] for item in items for i in item]
        num_cut = sum(len(r.context) + len(r.continuation) > context_length + 1 for r in own)
        longest = max((len(r.continuation) for r in own), default=0)
        if longest > context_length:
            problems.append(
                f"evaluation.zero_shot.tasks={task!r}: expected answers of at most "
                f"{context_length} tokens, which is what the model reads at once, but one has "
                f"{longest}. Take the task out, or its long items."
            )
        elif num_cut:
            log.warning(
                "%s: %d of %d requests are longer than the %d tokens that the model reads at "
                "once; the beginning of their context is left out",
                task or "requests",
                num_cut,
                len(own),
                context_length,
            )
    if problems:
        raise ConfigError(*problems)
