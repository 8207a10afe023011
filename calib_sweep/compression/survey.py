"""The survey: one dense pass over the decoder blocks, for methods that remove whole parts of them.

    per block:  run        on its dense inputs; the method notes what it needs of every batch
                propagate  its dense outputs are the next block's inputs
    at the end: plan       what goes of every block, and so a method for each of its layers

Nothing is changed: the walk that follows sets the masks, and needs no data.

Shapes: B = samples of a batch, T = tokens of a sample, D = hidden size.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from calib_sweep.compression.layer import WIDER_DTYPE, LayerError, check_finite
from calib_sweep.compression.masking import masks_of
from calib_sweep.compression.nothing_kept import NOTHING_KEPT, NothingKept
from calib_sweep.compression.removable import check_structured
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.compression.surveyed import Hook, Surveyed, hooked, module_of
from calib_sweep.errors import ConfigError
from calib_sweep.method.structured import (
    BlockParts,
    ByLayer,
    Routed,
    Seen,
    StructuredMethod,
    Survey,
)
from calib_sweep.model.blocks import DecoderBlock
from calib_sweep.model.calls import first_tensor
from calib_sweep.model.experts import Routing
from calib_sweep.model.placement import onload
from calib_sweep.model.structure import final_norm, parts_of


def survey(
    model: nn.Module,
    blocks: Sequence[DecoderBlock],
    method: StructuredMethod,
    inputs: BlockInputs,
    data: Sequence[Tensor | None],
    checkpoint: NothingKept = NOTHING_KEPT,
) -> list[ByLayer]:
    """Let `method` see all dense blocks; return what the layers of each are to be masked with.

    `inputs` are used up: they end as those of the last block. `data`: tokens, lengths, weights.
    """
    check_structured(model, method)
    norm = final_norm(model)
    parts_B = [parts_of(block) for block in blocks]
    surveys_B: list[Survey] = checkpoint.noted(inputs)
    for block, parts in list(zip(blocks, parts_B, strict=True))[len(surveys_B) :]:
        is_last = block is blocks[-1]
        with onload(block.module):
            own = _surveyed(block, parts, method, inputs, norm if is_last else nn.Identity())
        surveys_B.append(own)
        checkpoint.after_noted(own, inputs)
    tokens_NT, lengths_N, _ = data
    assert tokens_NT is not None
    seen = Surveyed(
        blocks_B=parts_B,
        surveys_B=surveys_B,
        model=model,
        modules=blocks,
        tokens_NT=tokens_NT,
        lengths_N=lengths_N,
        ranks=inputs.ranks,
    )
    removals_B = method.plan_removal(seen)
    removals_B = inputs.ranks.from_rank(0, lambda: removals_B)
    return [
        ByLayer(methods=masks_of(block, parts, removal), removed_E=removal.experts_E)
        for block, parts, removal in zip(blocks, parts_B, removals_B, strict=True)
    ]


def _surveyed(
    block: DecoderBlock,
    parts: BlockParts,
    method: StructuredMethod,
    inputs: BlockInputs,
    as_seen: nn.Module,
) -> Survey:
    """What `method` notes of a block, on the samples of all ranks."""
    weights = {name: layer.weight_OI() for name, layer in block.layers.items()}
    own = method.start_survey(parts, weights)
    inputs.ranks.together(lambda: _look(block, parts, own, inputs, as_seen))
    if inputs.ranks.count == 1:
        return own
    whole = method.start_survey(parts, weights)
    if not hasattr(whole, "merge"):
        raise ConfigError(
            f"ranks_per_cell={inputs.ranks.count}: expected 1 with {type(method).__name__}, "
            f"because {type(whole).__name__} has no merge(other), which puts together what ranks "
            "have noted. Type ranks_per_cell=1."
        )
    for of_rank in inputs.ranks.gathered([own]):
        whole.merge(of_rank)
    return whole


def _look(
    block: DecoderBlock,
    parts: BlockParts,
    survey: Survey,
    inputs: BlockInputs,
    as_seen: nn.Module,
) -> None:
    """Show the dense block, batch by batch; its outputs take the place of its inputs.

    `as_seen`: what the method sees the outputs through.
    """
    for name, layer in block.layers.items():
        check_finite(block.index, name, layer, None)
    for batch in range(len(inputs.batches)):
        before_BTD = inputs.hidden_NTD[inputs.batches[batch]]
        read: dict[str, Tensor] = {}
        hooks: list[Hook] = [(module_of(block, n), _reading(n, read)) for n in survey.layers]
        routings: list[Routing] = []
        if survey.sees_experts and parts.mixture is not None:
            experts = block.module.get_submodule(parts.mixture.experts)
            hooks.append((experts, _noting_routing(routings)))
        with hooked(hooks):
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
                is_share=inputs.ranks.count > 1,
                routed=[of for r in routings for of in _routed(r, parts, inputs, batch)],
            )
        )
        inputs.replace(batch, after_BTD)


def _noting_routing(routings: list[Routing]) -> Callable[..., None]:
    def hook(
        experts: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], _o: object
    ) -> None:
        routings.append(Routing.of_call(experts, args, kwargs))

    return hook


def _routed(
    routing: Routing, parts: BlockParts, inputs: BlockInputs, batch: int
) -> Iterator[tuple[int, Routed]]:
    """Say of every expert of a mixture what it gives for the tokens sent there that count."""
    assert parts.mixture is not None
    valid_BT, weights_BT = inputs.valid_BT(batch), inputs.weights_BT(batch)
    for expert in range(parts.mixture.num_experts):
        sent_T = routing.to(expert)
        if valid_BT is not None:
            sent_T = sent_T & valid_BT.flatten()
        output_RD = routing.output(expert, routing.hidden_TD[sent_T])
        yield (
            expert,
            Routed(
                gates_R=routing.gates_T(expert)[sent_T],
                norms_R=output_RD.to(torch.float32).square().sum(dim=1).sqrt(),
                weights_R=None if weights_BT is None else weights_BT.flatten()[sent_T],
            ),
        )


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
