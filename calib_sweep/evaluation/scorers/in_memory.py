"""A transformers model in memory, as far as all engines ask it alike."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from calib_sweep.evaluation.scorers import forward
from calib_sweep.evaluation.scorers.generation import Prompt, generate
from calib_sweep.evaluation.windows import Windows

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class InMemory:
    """What is asked of a model in memory; engines add `loglikelihoods`, each in its own way."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        batch_tokens: int | None,
        window_tokens: int | None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.batch_tokens = batch_tokens  # of requests at once; None: by device
        self.window_tokens = window_tokens  # of windows at once, at least one; None: by device

    @cached_property
    def context_length(self) -> int:
        """Tokens that the model reads at once, as lm-eval finds it out."""
        from calib_sweep.evaluation.harness import context_length

        return context_length(self.model, self.tokenizer)

    def log_probs(self, windows: Windows) -> Iterator[tuple[slice, "Tensor"]]:
        """Yield (scored tokens, float32 log-probabilities of the vocabulary there [., V])."""
        return forward.log_probs(self.model, windows, self.window_tokens)

    def generate(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the tokens that follow each prompt, to its bound or to where they end before."""
        batch_tokens = forward.tokens_at_once(self.batch_tokens, self.model.device)
        return generate(self.model, self.tokenizer, prompts, batch_tokens)
