"""Scorers: what asks a model for likelihoods. All of evaluation goes through one.

    loglikelihoods(requests)    tasks: of a continuation after a context
    log_probs(windows)          perplexity and divergence: of the whole vocabulary at scored tokens
    generate(prompts)           tasks whose answers are written

To score with another engine, derive from `evaluation.suite.Evaluation`, return a scorer of your own
from its method `scorer`, and name your class in `evaluation._target_`. Dense and compressed models
are scored by the same engine, which its property `engine` names: they are compared item by item.

Shapes: P scored tokens of all windows in order, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from calib_sweep.evaluation.requests import Answer, Requests
from calib_sweep.evaluation.windows import Windows
from calib_sweep.model.generation import Prompt
from calib_sweep.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from torch import Tensor


class Scorer(Protocol):
    """One model with the weights that it has now, ready to be asked.

    A scorer may copy the weights, so it is made anew when they have changed. Tokens are those of
    the tokenizer that it was made with.
    """

    @property
    def engine(self) -> str:
        """Name and version of what asks, for the record."""
        ...

    @property
    def context_length(self) -> int:
        """Tokens that the model reads at once. Of longer requests the beginning is not seen."""
        ...

    def loglikelihoods(self, requests: Requests) -> list[Answer]:
        """Return an answer to each request, in order."""
        ...

    def log_probs(self, windows: Windows) -> Iterator[tuple[slice, "Tensor"]]:
        """Yield (scored tokens, float32 log-probabilities of the vocabulary there [., V]).

        The slices follow each other and cover all P scored tokens of `windows`.
        """
        ...

    def generate(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the tokens that follow each prompt, to its bound or to where they end before."""
        ...


def ranks_of(scorer: Scorer) -> Ranks:
    """Return the ranks that share what `scorer` is asked.

    A scorer of somebody's own knows of none: each rank asks it everything, as if it were alone.
    """
    return getattr(scorer, "ranks", ALONE)


def scored_parts(scorer: Scorer, windows: Windows) -> Iterator[tuple[slice, "Tensor"]]:
    """Yield what `scorer` says of `windows`; raise where it leaves out or repeats a token.

    A score is wrong, and looks right, where a part of it was never computed. Of several ranks each
    has a run of the scored tokens, in order of ranks; together they have all.
    """
    ranks, runs = ranks_of(scorer), []
    for part, log_probs_PV in scorer.log_probs(windows):
        if not runs:
            runs.append([part.start, part.start])
        if (part.start, part.stop) != (runs[0][1], runs[0][1] + len(log_probs_PV)):
            raise RuntimeError(
                f"{type(scorer).__name__}.log_probs: expected the scored tokens of {windows.label} "
                f"from {runs[0][1]} on, but {part} came with {len(log_probs_PV)} rows."
            )
        runs[0][1] = part.stop
        yield part, log_probs_PV
    done = 0
    for start, stop in ranks.gathered(runs):
        done = stop if start == done else -1
    if done != windows.num_positions:
        raise RuntimeError(
            f"{type(scorer).__name__}.log_probs: expected all {windows.num_positions} scored "
            f"tokens of {windows.label}, but {done} came."
        )
