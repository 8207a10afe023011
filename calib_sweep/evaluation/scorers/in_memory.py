"""A transformers model in memory, as far as all engines ask it alike."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

from calib_sweep.evaluation.scorers import forward
from calib_sweep.evaluation.scorers.compiled import compiled_blocks
from calib_sweep.evaluation.scorers.fused_norms import fused_norms
from calib_sweep.evaluation.scorers.sharing import dealt, of_all
from calib_sweep.evaluation.windows import Windows
from calib_sweep.model.generation import Prompt, batches, generate
from calib_sweep.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class InMemory:
    """What is asked of a model in memory; engines add `loglikelihoods`, each in its own way."""

    is_whole = False  # whether the head runs where nothing is scored, too
    ranks: Ranks = ALONE  # that share what is asked; each has the model

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        batch_tokens: int | None,
        window_tokens: int | None,
        is_compiled: bool = False,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.batch_tokens = batch_tokens  # of requests at once; None: by device
        self.window_tokens = window_tokens  # of windows at once, at least one; None: by device
        self.is_compiled = is_compiled  # blocks, where inputs come in few shapes

    def _ready(self) -> AbstractContextManager[object]:
        """Have the blocks of the model compiled, if that is asked for, or else fused where it pays.

        In float32 every last digit is that of the model's own code.
        """
        if self.is_compiled:
            return compiled_blocks(self.model)
        is_bound_by_memory = self.model.device.type == "cuda" and self.model.dtype.itemsize == 2
        return fused_norms(self.model) if is_bound_by_memory else nullcontext()

    @property
    def context_length(self) -> int:
        """Tokens that the model reads at once, as lm-eval finds it out."""
        return self._context_length

    @cached_property
    def _context_length(self) -> int:
        from calib_sweep.evaluation.harness import context_length

        return context_length(self.model, self.tokenizer)

    def log_probs(self, windows: Windows) -> Iterator[tuple[slice, "Tensor"]]:
        """Yield (scored tokens, float32 log-probabilities of the vocabulary there [., V]).

        Those of this rank's share of the windows alone: they are too large to be sent.
        """
        shapes = {"is_full": self.is_compiled, "is_whole": self.is_whole}
        how = self.window_tokens, self.ranks
        parts = forward.log_probs(self.model, windows, *how, **shapes)
        with self._ready():
            yield from parts

    def generate(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the tokens that follow each prompt, to its bound or to where they end before."""
        device, on_cpu = self.model.device, forward.WRITING_ON_CPU
        batch_tokens = forward.tokens_at_once(self.batch_tokens, device, on_cpu)
        together = list(batches(prompts, batch_tokens))
        own = dealt([_num_held(prompts, indices) for indices in together], self.ranks)
        found = [  # each of these is one batch again
            generate(self.model, self.tokenizer, [prompts[i] for i in together[n]], batch_tokens)
            for n in own
        ]
        written: dict[int, list[int]] = {}
        for indices, texts in zip(together, of_all(self.ranks, own, found), strict=True):
            written |= zip(indices, texts, strict=True)
        return [written[i] for i in range(len(prompts))]


def _num_held(prompts: Sequence[Prompt], indices: Sequence[int]) -> int:
    """Count the tokens that a batch of one kind holds at its end."""
    first = prompts[indices[0]]  # the longest
    return len(indices) * (len(first.tokens) + first.max_new_tokens)
