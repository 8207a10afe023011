"""A compressed block as a value that can be kept, and put in the place of the dense one.

That is its parameters, those that it came without too, and what its layers' inputs are put through.
What a router lost follows from the plan. And the hidden states that enter the next block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calib_sweep.compression.layer import LayerReport
from calib_sweep.compression.masking import mask_router
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.method.structured import ByLayer
from calib_sweep.model.additions import set_bias
from calib_sweep.model.blocks import DecoderBlock, LinearLayer
from calib_sweep.model.input_quantizer import (
    InputQuantizer,
    SharedQuantizer,
    input_quantizer_of,
    set_input_quantizer,
)
from calib_sweep.model.placement import onload


@dataclass(frozen=True, kw_only=True)
class KeptBlock:
    """What a walk made of a block."""

    parameters: Mapping[str, Tensor]
    quantizers: Sequence[InputQuantizer]  # of inputs, each once
    quantized: Mapping[str, int]  # layer: which of them
    is_shared: bool  # whether a tensor that several layers read is quantised once for all
    reports: Sequence[LayerReport]


def kept_block(block: DecoderBlock, reports: Sequence[LayerReport]) -> KeptBlock:
    """Take a compressed block as it is; its tensors are not copied."""
    quantizers: list[InputQuantizer] = []
    numbers: dict[int, int] = {}
    quantized: dict[str, int] = {}
    is_shared = False
    for name, module in _modules(block).items():
        quantizer = input_quantizer_of(module)
        if quantizer is None:
            continue
        if id(quantizer) not in numbers:
            numbers[id(quantizer)] = len(quantizers)
            is_shared |= isinstance(quantizer, SharedQuantizer)
            inner = quantizer.quantizer if isinstance(quantizer, SharedQuantizer) else quantizer
            quantizers.append(inner)
        quantized[name] = numbers[id(quantizer)]
    return KeptBlock(
        parameters=dict(block.module.named_parameters()),
        quantizers=quantizers,
        quantized=quantized,
        is_shared=is_shared,
        reports=reports,
    )


@torch.no_grad()
def put_in_place(kept: KeptBlock, block: DecoderBlock, method: object) -> None:
    """Make the dense `block` what it became. `method`: what it was compressed with."""
    with onload(block.module):
        device = next(block.module.parameters()).device
        own = dict(block.module.named_parameters())
        for name, tensor in kept.parameters.items():
            if name in own:
                own[name].copy_(tensor)
            else:
                _add(block.module, name, tensor.to(device))
        quantizers = kept.quantizers
        if kept.is_shared:
            quantizers = [SharedQuantizer(one) for one in quantizers]
        modules = _modules(block)
        for name, number in kept.quantized.items():
            set_input_quantizer(modules[name], quantizers[number])
        if isinstance(method, ByLayer):
            mask_router(block, method.removed_E)


def hidden_states(inputs: BlockInputs) -> dict[str, Tensor]:
    """What enters the next block, and what does in the dense model, where that is another."""
    hidden = {"seen": inputs.hidden_NTD}
    if inputs.dense is not None and inputs.has_parted:
        hidden["dense"] = inputs.dense.hidden_NTD
    return hidden


def enter(kept: Mapping[str, Tensor], inputs: BlockInputs) -> None:
    """Make `inputs` those of the next block, as they were kept."""
    if "dense" in kept:
        inputs.part()
        assert inputs.dense is not None
        inputs.dense.hidden_NTD.copy_(kept["dense"])
    inputs.hidden_NTD.copy_(kept["seen"])


def _add(module: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, own = name.rpartition(".")
    assert own == "bias", name
    set_bias(module.get_submodule(path), tensor)


def _modules(block: DecoderBlock) -> dict[str, nn.Module]:
    """Modules in front of which a quantiser of inputs can stand."""
    layers = block.layers.items()
    return {name: layer.module for name, layer in layers if isinstance(layer, LinearLayer)}
