"""Running one decoder block at a time, exactly as the model itself would.

`record` sends every batch through the model once with the blocks switched off: each block hands its
input on and notes with which other arguments it was called. Nothing about these arguments is
assumed: masks, position embeddings, whatever an architecture passes, per block and batch.
From then on a block can be run on its recorded batches, with the hidden states kept in one buffer.

Where ranks share the samples, each has the hidden states of its own, which may be none.

Shapes: N = samples of this rank, T = tokens of a sample, D = hidden size, B = samples of a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from calib_sweep.compression.rows import BatchTokens
from calib_sweep.errors import ConfigError
from calib_sweep.ranks import ALONE, Ranks

# Tokens at once: enough to keep a GPU busy; few enough to stay near a CPU's caches, which saves it
# a sixth of the time.
ON_GPU, ON_CPU = 16384, 4096


@dataclass(frozen=True)
class Call:
    """Arguments of one block for one batch, all but the hidden states."""

    args: tuple[object, ...]
    kwargs: dict[str, object]


@dataclass
class BlockInputs:
    """Hidden states that enter the next block, and how to call it."""

    batches: list[slice]  # which samples go through a block together
    hidden_NTD: Tensor  # overwritten in place as the walk advances
    valid_NT: Tensor | None  # False where a token does not count, as padding; None: all count
    weights_NT: Tensor | None  # how often a valid token counts; None: once
    calls: list[list[Call]] = field(repr=False)  # [batch][block]
    ranks: Ranks = ALONE  # that share the samples
    all_experts: bool = False  # whether statistics of every expert see every token
    dense: "BlockInputs | None" = None  # in the dense model, where a method asks; else None

    def run(self, block: nn.Module, index: int, batch: int) -> Tensor:
        """Output hidden states [B, T, D] of `block`, the `index`-th of the model, on a batch."""
        call = self.calls[batch][index]
        output = block(self.hidden_NTD[self.batches[batch]], *call.args, **call.kwargs)
        return hidden_of(output)

    def replace(self, batch: int, hidden_BTD: Tensor) -> None:
        self.hidden_NTD[self.batches[batch]] = hidden_BTD

    def advance(self, block: nn.Module, index: int) -> None:
        """Replace the inputs of `block` by its outputs."""

        def run() -> None:
            for batch in range(len(self.batches)):
                self.replace(batch, self.run(block, index, batch))

        self.ranks.together(run)

    def with_dense(self) -> "BlockInputs":
        """The same, with those of the dense model beside them: one tensor until they part."""
        return replace(self, dense=replace(self))

    @property
    def has_parted(self) -> bool:
        """Whether the dense model's hidden states are, or may be, others."""
        return self.dense is not None and self.dense.hidden_NTD is not self.hidden_NTD

    def part(self) -> None:
        """Give the dense model's hidden states a tensor of their own."""
        if self.dense is not None and not self.has_parted:
            self.dense.hidden_NTD = self.hidden_NTD.clone()

    def batch_size(self, batch: int) -> int:
        return self.batches[batch].stop - self.batches[batch].start

    def tokens_of(self, batch: int) -> BatchTokens:
        return BatchTokens(self.batch_size(batch), self.valid_BT(batch), self.weights_BT(batch))

    def valid_BT(self, batch: int) -> Tensor | None:
        return None if self.valid_NT is None else self.valid_NT[self.batches[batch]]

    def weights_BT(self, batch: int) -> Tensor | None:
        return None if self.weights_NT is None else self.weights_NT[self.batches[batch]]


def hidden_of(output: object) -> Any:  # a tensor, as `contract` checks of each model
    """Return the hidden states in what a block returns: alone, or first of several things."""
    return output[0] if isinstance(output, tuple | list) else output


def record(
    model: nn.Module,
    blocks: Sequence[nn.Module],
    tokens_NT: Tensor,
    lengths_N: Tensor | None,
    batch_tokens: int | None,
    weights_NT: Tensor | None = None,
    ranks: Ranks = ALONE,
) -> BlockInputs:
    """Embed samples and record how the model calls its blocks, about `batch_tokens` at once.

    `weights_NT`: how often each token counts in statistics; the model sees all of them alike.
    `ranks`: each takes its share of the samples that all of them are given.
    """
    device = next(model.parameters()).device
    is_token_NT = _valid(lengths_N, tokens_NT.shape[1])
    counted = _counted(is_token_NT, weights_NT)
    share = ranks.share(len(tokens_NT))
    own = slice(share.start, share.stop)
    tokens_NT, is_token_NT = tokens_NT[own], None if is_token_NT is None else is_token_NT[own]
    num_samples, seq_len = tokens_NT.shape
    if batch_tokens is None:
        batch_tokens = ON_GPU if device.type == "cuda" else ON_CPU
    size = max(1, batch_tokens // seq_len)
    batches = [
        slice(start, min(start + size, num_samples)) for start in range(0, num_samples, size)
    ]
    backbone = without_head(model)
    answer = _answer(backbone, blocks[0], tokens_NT, device) if batches else None
    recorder = _Recorder(len(blocks), answer)
    hidden_NTD, calls = torch.empty(0, device=device), []
    with _replaced_forwards(blocks, recorder.forward_of):
        for batch in batches:
            mask_BT = None if is_token_NT is None else is_token_NT[batch].long().to(device)
            backbone(input_ids=tokens_NT[batch].to(device), attention_mask=mask_BT, use_cache=False)
            hidden_BTD, block_calls = recorder.take()
            if not calls:
                hidden_NTD = hidden_BTD.new_empty(num_samples, *hidden_BTD.shape[1:])
            hidden_NTD[batch] = hidden_BTD
            calls.append(block_calls)
    valid_NT, weights_NT = (None if c is None else c[own].to(hidden_NTD.device) for c in counted)
    return BlockInputs(
        batches=batches,
        hidden_NTD=hidden_NTD,
        valid_NT=valid_NT,
        weights_NT=weights_NT,
        calls=calls,
        ranks=ranks,
    )


class _Recorder:
    """Stands in for the blocks' forward functions during one batch after the other."""

    def __init__(self, num_blocks: int, answer: object) -> None:
        self._num_blocks = num_blocks
        self._answer = answer
        self._pool = _TensorPool()
        self._hidden: Tensor | None = None
        self._calls: dict[int, Call] = {}

    def forward_of(self, index: int) -> Callable[..., object]:
        """Return what stands for block `index`: it notes the call and passes its input on."""

        def forward(*args: Any, **kwargs: Any) -> object:  # whatever the model's code passes
            if args:
                hidden, args = args[0], args[1:]
            else:
                hidden = kwargs.pop("hidden_states")
            if index in self._calls:
                raise ConfigError(
                    f"model: expected decoder blocks that run once, but block {index} runs again "
                    "in the same pass. Choose another model, or method=magnitude or method=rtn."
                )
            if index == 0:
                self._hidden = hidden
            share = self._pool.share
            self._calls[index] = Call(*tree_map_only(Tensor, share, (args, kwargs)))
            return self._answer_with(hidden)

        return forward

    def _answer_with(self, hidden: Tensor) -> object:
        """`hidden` in the form of an answer of a block, and nothing beside it."""
        if not isinstance(self._answer, tuple | list):
            return hidden
        return type(self._answer)([hidden, *[None] * (len(self._answer) - 1)])

    def take(self) -> tuple[Tensor, list[Call]]:
        """Hand over what the batch left behind, and be ready for the next one."""
        assert self._hidden is not None and len(self._calls) == self._num_blocks, len(self._calls)
        calls = [self._calls[index] for index in range(self._num_blocks)]
        hidden, self._hidden, self._calls = self._hidden, None, {}
        return hidden, calls


class _TensorPool:
    """Keeps one copy of equal tensors, so that recorded arguments take bounded memory.

    Masks and position embeddings are mostly the same for every block and batch. A tensor is
    compared with the last few of its shape only: what differs between all batches stays separate.
    """

    num_compared = 4

    def __init__(self) -> None:
        self._recent: dict[tuple[torch.Size, torch.dtype, torch.device], list[Tensor]] = {}

    def share(self, tensor: Tensor) -> Tensor:
        recent = self._recent.setdefault((tensor.shape, tensor.dtype, tensor.device), [])
        for known in recent:
            if known is tensor or torch.equal(known, tensor):
                return known
        recent.insert(0, tensor)
        del recent[self.num_compared :]
        return tensor


@contextmanager
def _replaced_forwards(
    blocks: Sequence[nn.Module], forward_of: Callable[[int], Callable[..., object]]
) -> Iterator[None]:
    """Replace the blocks' forward functions; whatever happens, put the found ones back."""
    found = [block.__dict__.get("forward") for block in blocks]
    try:
        for index, block in enumerate(blocks):
            block.forward = forward_of(index)
        yield
    finally:
        for block, forward in zip(blocks, found, strict=True):
            if forward is not None:
                block.forward = forward
            else:
                block.__dict__.pop("forward", None)


def _answer(
    backbone: nn.Module, block: nn.Module, tokens_NT: Tensor, device: torch.device
) -> object:
    """Ask the first block with a single token for the form of its answer."""
    answers: list[object] = []

    def hook(_module: nn.Module, _args: object, output: object) -> None:
        answers.append(output)
        raise _AnsweredError  # the other blocks need not run, nor come from where they wait

    handle = block.register_forward_hook(hook)
    try:
        with suppress(_AnsweredError):
            backbone(input_ids=tokens_NT[:1, :1].to(device), use_cache=False)
    finally:
        handle.remove()
    return answers[0]


class _AnsweredError(Exception):
    """Ends a run of the model as soon as it has told what was asked."""


def _valid(lengths_N: Tensor | None, seq_len: int) -> Tensor | None:
    """True where a position holds a token; None when all do."""
    if lengths_N is None or bool((lengths_N >= seq_len).all()):
        return None
    return torch.arange(seq_len, device=lengths_N.device) < lengths_N.unsqueeze(1)


def _counted(
    is_token_NT: Tensor | None, weights_NT: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return where a position counts (None: everywhere), and how often (None: once)."""
    if weights_NT is None:
        return is_token_NT, None
    counts_NT = weights_NT > 0
    if is_token_NT is not None:
        counts_NT &= is_token_NT.to(counts_NT.device)
    is_once = bool((weights_NT[counts_NT] == 1).all())
    is_everywhere = bool(counts_NT.all())
    return None if is_everywhere else counts_NT, None if is_once else weights_NT.float()


def without_head(model: nn.Module) -> nn.Module:
    """The model below its head: logits of a batch would take gigabytes and are not needed."""
    backbone = getattr(model, "base_model", None)
    return backbone if isinstance(backbone, nn.Module) else model
