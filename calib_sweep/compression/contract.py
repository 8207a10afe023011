"""The rules that a model must keep so that its blocks can be run one at a time; a few tokens tell.

`check_replay` runs a few tokens through a model as it is, then block by block, and compares. Every
block runs once, returns hidden states with the samples along the first axis, calls all its linear
layers, and gives alone what it gives in the model.

`check_hollow` asks a model of any size before its weights are read. A hollow copy runs the model's
own code on other numbers: matrices take no memory, and none is multiplied by.

Shapes: B = samples of a batch, T = tokens of a sample, D = hidden size.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from calib_sweep.compression.replay import hidden_of, record, without_head
from calib_sweep.compression.surveyed import Hook, hooked
from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import LINEAR_TYPES, DecoderBlock, LinearLayer, enumerate_blocks
from calib_sweep.model.calls import first_tensor
from calib_sweep.model.experts import holds_fused_experts
from calib_sweep.model.placement import onload

NUM_SAMPLES, NUM_TOKENS, BATCH = 3, 8, 2  # a batch of two and one of one
TOLERANCE = 0.01  # of the largest hidden state: sums in another order, not another computation
SMALL = 2**20  # numbers of a tensor that a hollow model keeps in memory of their own

# What running a model may raise that was not made to be run so.
FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)


def check_replay(model: nn.Module, blocks: Sequence[DecoderBlock], tokens_NT: Tensor) -> None:
    """Raise `ConfigError` unless `blocks` run alone give what they give in `model`, theirs."""
    tokens_NT = tokens_NT[:NUM_SAMPLES, :NUM_TOKENS]
    _Contract(model, blocks, tokens_NT, _seen(model, blocks, tokens_NT)).check()


def check_hollow(model: nn.Module) -> None:
    """`check_replay` without weights. Says nothing of a model that does not run without them."""
    model = hollow(model)
    num_rows = model.get_input_embeddings().weight.shape[0]  # pyright: ignore
    tokens_NT = torch.arange(NUM_SAMPLES * NUM_TOKENS).reshape(NUM_SAMPLES, NUM_TOKENS)
    tokens_NT = (num_rows // 2 + tokens_NT) % num_rows  # away from special tokens at either end
    blocks = enumerate_blocks(model)
    try:
        seen = _seen(model, blocks, tokens_NT)
    except FAILURES:
        return  # the run asks again, of the model with its weights
    _Contract(model, blocks, tokens_NT, seen).check()


def hollow(model: nn.Module) -> nn.Module:
    """A copy on the CPU that runs like `model` on numbers of no meaning; may be on meta itself."""
    tensors = [*model.parameters(), *model.buffers()]
    copied: nn.Module = copy.deepcopy(model, {id(tensor): _numbers(tensor) for tensor in tensors})
    for module in copied.modules():
        if type(module) in LINEAR_TYPES:
            module.forward = _repeats(LinearLayer(module).weight_OI().shape[0])  # pyright: ignore
        elif holds_fused_experts(module):
            module.forward = _routed
    return copied.eval()


@dataclass
class _Seen:
    """Calls and answers of the blocks in runs of the whole model, batch by batch."""

    num_calls: Counter[int] = field(default_factory=Counter)  # of each block
    answers: list[dict[int, object]] = field(default_factory=list)  # [batch][block]
    called: set[nn.Module] = field(default_factory=set)  # layers


def _seen(model: nn.Module, blocks: Sequence[DecoderBlock], tokens_NT: Tensor) -> _Seen:
    """Run `model` on `tokens_NT` in batches, its blocks and their layers watched."""
    seen = _Seen()
    device, backbone = next(model.parameters()).device, without_head(model)
    hooks: list[Hook] = []
    for block in blocks:
        hooks.append((block.module, _watching(seen, block.index)))
        hooks += [(module, lambda m, *_: seen.called.add(m)) for module in _called_layers(block)]
    with hooked(hooks), torch.no_grad():
        for batch_BT in tokens_NT.split(BATCH):
            seen.answers.append({})
            backbone(input_ids=batch_BT.to(device), attention_mask=None, use_cache=False)
    return seen


def _watching(seen: _Seen, index: int) -> Callable[..., None]:
    def hook(_module: nn.Module, args: object, kwargs: object, output: object) -> None:
        seen.num_calls[index] += 1
        seen.answers[-1][index] = output

    return hook


def _called_layers(block: DecoderBlock) -> dict[nn.Module, str]:
    """Modules that every token goes through, and their names; experts see some tokens only."""
    return {
        layer.module: name
        for name, layer in block.layers.items()
        if isinstance(layer, LinearLayer) and not layer.is_routed
    }


class _Contract:
    """Holds what was seen of a model against what the walk takes for granted."""

    def __init__(
        self, model: nn.Module, blocks: Sequence[DecoderBlock], tokens_NT: Tensor, seen: _Seen
    ) -> None:
        self._model, self._blocks = model, blocks
        self._tokens_NT, self._seen = tokens_NT, seen

    def check(self) -> None:
        for index in range(len(self._blocks)):
            self._check_calls(index)
            self._check_answers(index)
            self._check_layers(index)
        self._check_alone()

    def _check_calls(self, index: int) -> None:
        num_calls, num_batches = self._seen.num_calls[index], len(self._seen.answers)
        if num_calls == 0:
            raise self._refusal(index, "is not run for text")
        if num_calls != num_batches:
            raise self._refusal(index, "runs more than once in a pass")

    def _check_answers(self, index: int) -> None:
        sizes = [len(batch_BT) for batch_BT in self._tokens_NT.split(BATCH)]
        for size, batch in zip(sizes, range(len(sizes)), strict=True):
            answer = self._seen.answers[batch][index]
            hidden = hidden_of(answer)
            if not isinstance(hidden, Tensor):
                raise self._refusal(index, f"returns a {type(answer).__name__}")
            if hidden.shape[0] != size:
                found = f"returns hidden states of shape {tuple(hidden.shape)} for {size} samples"
                raise self._refusal(index, f"{found}, which are not along the first axis")

    def _check_layers(self, index: int) -> None:
        for module, name in _called_layers(self._blocks[index]).items():
            if module not in self._seen.called:
                raise self._refusal(index, f"does not call its {name}, whose inputs nobody can see")

    @torch.no_grad()
    def _check_alone(self) -> None:
        """Run each block alone on what the blocks before it, run alone, gave."""
        index = 0
        try:
            size = BATCH * self._tokens_NT.shape[1]
            modules = [block.module for block in self._blocks]
            inputs = record(self._model, modules, self._tokens_NT, None, size)
            for index, module in enumerate(modules):
                with onload(module):
                    inputs.advance(module, index)
                for batch, answers in zip(inputs.batches, self._seen.answers, strict=True):
                    if not _is_close(inputs.hidden_NTD[batch], hidden_of(answers[index])):
                        raise self._refusal(index, "gives other hidden states alone")
        except torch.OutOfMemoryError:
            raise
        except FAILURES as error:
            raise self._refusal(
                index, f"cannot be run alone ({type(error).__name__}: {_first_line(error)})"
            ) from error

    def _refusal(self, index: int, reason: str) -> ConfigError:
        kind = type(self._blocks[index].module).__name__
        return ConfigError(
            f"model={type(self._model).__name__}: expected decoder blocks that run one after the "
            "other, each on the hidden states of the one before, but block "
            f"{index} ({kind}) {reason}. Choose another model, or a method "
            "that needs no calibration data, such as method=magnitude or method=rtn."
        )


def _is_close(got_BTD: Tensor, want_BTD: Tensor) -> bool:
    """Return True where they are the same but for rounding; overflow is told elsewhere."""
    if got_BTD.shape != want_BTD.shape:
        return False
    if not bool(torch.isfinite(want_BTD).all()):
        return True
    difference = (got_BTD.float() - want_BTD.float()).abs().max()
    return bool(difference <= TOLERANCE * want_BTD.float().abs().max())


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


def _numbers(tensor: Tensor) -> Tensor:
    """Some numbers in the same shape on the CPU; large tensors use theirs again and again."""
    if not tensor.is_floating_point():
        return torch.zeros(tensor.shape, dtype=tensor.dtype)
    generator = torch.Generator().manual_seed(0)
    pool = torch.rand(sum(tensor.shape) + 1, generator=generator) - 0.5
    numbers = pool.as_strided(tensor.shape, [1] * tensor.ndim)
    if tensor.numel() <= SMALL:
        numbers = numbers.contiguous()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(numbers, requires_grad=False)
    return numbers


def _routed(*args: Tensor, **kwargs: Tensor) -> Tensor:
    """In the place of experts: something that depends on what they are given, and on the choice."""
    hidden, choice_TK = [*args, *kwargs.values()][:2]
    factor_T = 1 + choice_TK.flatten(0, -2).float().mean(-1, keepdim=True)
    return (hidden.reshape(-1, hidden.shape[-1]).flip(-1) * factor_T).reshape(hidden.shape)


def _repeats(num_out: int) -> Callable[..., Tensor]:
    """In the place of a product: every input, again from the first where there are more outputs."""

    def forward(*args: object, **kwargs: object) -> Tensor:
        inputs = first_tensor(args, kwargs)
        times = -(-num_out // inputs.shape[-1])
        return torch.cat([inputs] * times, dim=-1)[..., :num_out]

    return forward
