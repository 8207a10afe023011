"""The survey: one dense pass over the decoder blocks, for methods that remove whole parts of them.

    per block:  run        on its dense inputs; the method notes what it needs of every batch
                propagate  its dense outputs are the next block's inputs
    at the end: plan       what goes of every block, and so a method for each of its layers

Nothing is changed: the walk that follows sets the masks, and needs no data.

Shapes: B = samples of a batch, T = tokens of a sample, D = hidden size.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calib_sweep.compression.contract import hollow
from calib_sweep.compression.layer import WIDER_DTYPE, LayerError, check_finite
from calib_sweep.compression.masking import masks_of
from calib_sweep.compression.replay import BlockInputs, hidden_of, without_head
from calib_sweep.errors import ConfigError
from calib_sweep.method.structured import BlockParts, ByLayer, Seen, StructuredMethod, Survey
from calib_sweep.model.blocks import DecoderBlock, LinearLayer, enumerate_blocks
from calib_sweep.model.calls import first_tensor
from calib_sweep.model.placement import onload
from calib_sweep.model.structure import final_norm, parts_of

NUM_TOKENS = 8  # that a model is asked with whether it does without its layers
TOLERANCE = 1e-3  # of the largest hidden state: rounding in half precision


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """A model as a structured method sees it."""

    blocks_B: Sequence[BlockParts]
    surveys_B: Sequence[Survey]


def survey(
    model: nn.Module,
    blocks: Sequence[DecoderBlock],
    method: StructuredMethod,
    inputs: BlockInputs,
) -> list[ByLayer]:
    """Let `method` see all dense blocks; return what the layers of each are to be masked with.

    `inputs` are used up: they end as those of the last block.
    """
    check_structured(model, method)
    norm = final_norm(model)
    parts_B = [parts_of(block) for block in blocks]
    surveys_B: list[Survey] = []
    for block, parts in zip(blocks, parts_B, strict=True):
        as_seen = norm if block.index == len(blocks) - 1 else nn.Identity()
        with onload(block.module):
            weights = {name: layer.weight_OI() for name, layer in block.layers.items()}
            own = method.start_survey(parts, weights)
            _look(block, own, inputs, as_seen)
        surveys_B.append(own)
    removals_B = method.plan_removal(Surveyed(blocks_B=parts_B, surveys_B=surveys_B))
    return [
        ByLayer(methods=masks_of(*of_block))
        for of_block in zip(blocks, parts_B, removals_B, strict=True)
    ]


def _look(block: DecoderBlock, survey: Survey, inputs: BlockInputs, as_seen: nn.Module) -> None:
    """Show the dense block, batch by batch; its outputs take the place of its inputs.

    `as_seen`: what the method sees the outputs through.
    """
    for name, layer in block.layers.items():
        check_finite(block.index, name, layer, None)
    for batch in range(len(inputs.batches)):
        before_BTD = inputs.hidden_NTD[inputs.batches[batch]]
        read: dict[str, Tensor] = {}
        with _hooked([(_module(block, name), _reading(name, read)) for name in survey.layers]):
            after_BTD = inputs.run(block.module, block.index, batch)
        for when, hidden_BTD in (("enter", before_BTD), ("leave", after_BTD)):
            _check_hidden(block.index, when, hidden_BTD)
        rows, weights_T = _rows_that_count(inputs, batch)
        survey.add(
            Seen(
                before_TD=rows(before_BTD),
                after_TD=rows(as_seen(after_BTD)),
                weights_T=weights_T,
                sample_T=rows(_samples_of(before_BTD)),
                inputs={
                    name: rows(given.reshape(*before_BTD.shape[:2], -1))
                    for name, given in read.items()
                },
            )
        )
        inputs.replace(batch, after_BTD)


def _module(block: DecoderBlock, name: str) -> nn.Module:
    layer = block.layers[name]
    assert isinstance(layer, LinearLayer), layer
    return layer.module


def _reading(name: str, read: dict[str, Tensor]) -> Callable[..., None]:
    def hook(
        _m: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], _o: object
    ) -> None:
        read[name] = first_tensor(args, kwargs)

    return hook


def _samples_of(hidden_BTD: Tensor) -> Tensor:
    """The number within the batch of the sample that each token is of, [B, T]."""
    sample_B = torch.arange(len(hidden_BTD), device=hidden_BTD.device)
    return sample_B.unsqueeze(1).expand(hidden_BTD.shape[:2])


def _rows_that_count(
    inputs: BlockInputs, batch: int
) -> tuple[Callable[[Tensor], Tensor], Tensor | None]:
    """Return what makes rows of tokens that count of [B, T, ...], and how often each counts."""
    valid_BT, weights_BT = inputs.valid_BT(batch), inputs.weights_BT(batch)

    def rows(values_BTD: Tensor) -> Tensor:
        return values_BTD.flatten(0, 1) if valid_BT is None else values_BTD[valid_BT]

    return rows, None if weights_BT is None else rows(weights_BT)


def _check_hidden(index: int, when: str, hidden_BTD: Tensor) -> None:
    if not bool(torch.isfinite(hidden_BTD).all()):
        dtype = str(hidden_BTD.dtype).removeprefix("torch.")
        raise LayerError(
            f"block {index}: hidden states that {when} it are not finite: a layer before overflows "
            f"in {dtype}, or holds a NaN. {WIDER_DTYPE}; if that does not help, the checkpoint is "
            "damaged."
        )


def check_structured(model: nn.Module, method: StructuredMethod) -> None:
    """Raise `ConfigError` where the parts that `method` removes are no parts of `model`.

    `model` may be without weights, on the device meta.
    """
    blocks = enumerate_blocks(model)
    method.check_blocks([parts_of(block) for block in blocks])
    if next(model.parameters()).is_meta:
        model = hollow(model)
    check_silent(model)


@torch.no_grad()
def check_silent(model: nn.Module) -> None:
    """Raise `ConfigError` unless a block whose layers give zeros passes on what enters it."""
    blocks = enumerate_blocks(model)
    entered: dict[int, Tensor] = {}
    left: dict[int, Tensor] = {}
    hooks: list[tuple[nn.Module, Callable[..., object]]] = [
        (module, lambda _m, _a, _k, output: torch.zeros_like(output))
        for block in blocks
        for module in _modules(block)
    ]
    for block in blocks:
        hooks.append((block.module, _noting(block.index, entered, left)))
    with _hooked(hooks):
        tokens_BT = torch.arange(NUM_TOKENS, device=next(model.parameters()).device).unsqueeze(0)
        without_head(model)(input_ids=tokens_BT, use_cache=False)
    for block in blocks:
        before, after = entered[block.index].float(), left[block.index].float()
        if not bool((after - before).abs().max() <= TOLERANCE * before.abs().max()):
            kind = type(block.module).__name__
            raise ConfigError(
                f"model={type(model).__name__}: expected blocks that pass on what enters them when "
                f"their linear layers give zeros, but block {block.index} ({kind}) changes it "
                "(does it norm what it adds?). Choose another model, or a method that removes "
                "weights one by one, such as method=wanda."
            )


def _modules(block: DecoderBlock) -> set[nn.Module]:
    """The modules that call the linear layers of a block: fused experts have one for all."""
    return {
        layer.module if isinstance(layer, LinearLayer) else layer.experts
        for layer in block.layers.values()
    }


def _noting(index: int, entered: dict[int, Tensor], left: dict[int, Tensor]) -> Callable[..., None]:
    def hook(
        _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object
    ) -> None:
        entered[index] = first_tensor(args, kwargs)
        left[index] = hidden_of(output)

    return hook


@contextmanager
def _hooked(hooks: Sequence[tuple[nn.Module, Callable[..., object]]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook, with_kwargs=True) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
