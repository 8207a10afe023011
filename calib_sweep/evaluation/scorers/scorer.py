"""Scorers: what asks a model for likelihoods. All of evaluation goes through one.

    loglikelihoods(requests)    tasks: of a continuation after a context
    log_probs(windows)          perplexity and divergence: of the whole vocabulary at scored tokens
    generate(prompts)           tasks whose answers are written

To score with another engine, derive from `evaluation.suite.Evaluation`, return a scorer of your own
from its method `scorer`, and name your class in `evaluation._target_`. Dense and compressed models
must be scored by the same engine: they are compared item by item.

Shapes: P scored tokens of all windows in order, B windows at once, T tokens of a window,
V vocabulary.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from calib_sweep.evaluation.requests import Answer, Request, Requests, batches, num_scored
from calib_sweep.evaluation.scorers.generation import Prompt, generate
from calib_sweep.evaluation.windows import Windows

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.evaluation.harness import Resident

# Log-probabilities in float32 at once, in numbers: 256 MiB. It bounds memory and moves no result.
MAX_ELEMENTS = 2**26


class Scorer(Protocol):
    """One model with the weights that it has now, ready to be asked.

    A scorer may copy the weights, so it is made anew when they have changed. Tokens are those of
    the tokenizer that it was made with.
    """

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


def scored_parts(scorer: Scorer, windows: Windows) -> Iterator[tuple[slice, "Tensor"]]:
    """Yield what `scorer` says of `windows`; raise where it leaves out or repeats a token.

    A score is wrong, and looks right, where a part of it was never computed.
    """
    done = 0
    for part, log_probs_PV in scorer.log_probs(windows):
        if (part.start, part.stop) != (done, done + len(log_probs_PV)):
            raise RuntimeError(
                f"{type(scorer).__name__}.log_probs: expected the scored tokens of {windows.label} "
                f"from {done} on, but {part} came with {len(log_probs_PV)} rows."
            )
        done = part.stop
        yield part, log_probs_PV
    if done != windows.num_positions:
        raise RuntimeError(
            f"{type(scorer).__name__}.log_probs: expected all {windows.num_positions} scored "
            f"tokens of {windows.label}, but {done} came."
        )


class HFLMScorer:
    """A transformers model in memory; requests go through lm-eval's class HFLM."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        batch_size: int,
        batch_tokens: int,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.batch_size = batch_size  # requests at once
        self.batch_tokens = batch_tokens  # tokens of windows at once; at least one window

    @cached_property
    def _lm(self) -> "Resident":
        from calib_sweep.evaluation.harness import Resident

        return Resident(self.model, self.tokenizer, self.batch_size)

    @property
    def context_length(self) -> int:
        """Tokens that the model reads at once, as lm-eval finds it out."""
        return self._lm.max_length

    def loglikelihoods(self, requests: Requests) -> list[Answer]:
        """Return an answer to each request, in order."""
        answers: dict[int, Answer] = {}
        for batch, num_kept in requests.kept(
            ("HFLM", self.batch_size, self.context_length), self._batches
        ):
            found = self._lm.answers([requests[i] for i in batch], num_kept)
            answers |= zip(batch, found, strict=True)
        return [answers[i] for i in range(len(requests))]

    def _batches(self, requests: Sequence[Request]) -> list[tuple[list[int], int]]:
        """List requests to forward together, with the number of positions that need logits."""
        return [
            (batch, num_scored([requests[i] for i in batch], self.context_length))
            for batch in batches(requests, self.batch_size)
        ]

    def log_probs(self, windows: Windows) -> Iterator[tuple[slice, "Tensor"]]:
        """Yield (scored tokens, float32 log-probabilities of the vocabulary there [., V]).

        What the model returns is held once; its float32 copy is made in parts of at most
        `MAX_ELEMENTS` numbers.
        """
        import torch

        num_at_once = max(1, self.batch_tokens // windows.seq_len)
        device, first = self.model.device, 0
        for start in range(0, len(windows.tokens_NT), num_at_once):
            batch = slice(start, start + num_at_once)
            input_BT = torch.from_numpy(windows.tokens_NT[batch]).to(device)
            # A token is predicted where the one before it stands.
            place_P = torch.from_numpy(np.flatnonzero(windows.scored_NT[batch]) - 1).to(device)
            with torch.inference_mode():
                logits_BTV = self.model(input_ids=input_BT, use_cache=False).logits
                for part_P in place_P.split(max(1, MAX_ELEMENTS // logits_BTV.shape[-1])):
                    logits_PV = logits_BTV.flatten(0, 1)[part_P]
                    yield slice(first, first + len(part_P)), logits_PV.float().log_softmax(-1)
                    first += len(part_P)

    def generate(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the tokens that follow each prompt, to its bound or to where they end before."""
        return generate(self.model, self.tokenizer, prompts, self.batch_tokens)
