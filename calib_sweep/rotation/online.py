"""Hadamard products in front of o_proj and down_proj, computed while the model runs.

What these read is no residual stream: heads beside each other, and what the MLP's activation
function lets through, where outliers are largest. Quantisers of inputs find it easier afterwards
(QuaRot, arXiv:2404.00456):

    down_proj   x <- x H_F               W <- W H_F
    v_proj      each head in its weights W <- (I (x) H_d)^T W,  b <- (I (x) H_d)^T b
    o_proj      x <- x (H_h (x) I)       W <- W (H_h (x) H_d)

every H divided by the root of its size. The model computes what it did. Products at run time are
float32, rounded to the dtype of the inputs once. Queries and keys, which QuaRot rotates for its
cache of keys, are left as they are.

Shapes: O, I = out_features, in_features, F = width of the MLP, h heads of d features each.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import DecoderBlock, LinearLayer, enumerate_blocks
from calib_sweep.model.input_rotation import has_rotated_input, rotate_input
from calib_sweep.model.placement import onload
from calib_sweep.rotation.hadamard import Factors, factors_of, times
from calib_sweep.rotation.residual import DOWN, turn_rows

OUT = "self_attn.o_proj"
VALUES = ("self_attn.v_proj", "self_attn.qkv_proj")  # of their rows the last, in either


class _Sizes(NamedTuple):
    """The features of a block that are multiplied."""

    num_heads: int
    head: int
    widths: dict[str, int]  # of the inputs of each layer that is one of DOWN


def check_online(model: nn.Module) -> None:
    """Raise `ConfigError` unless inputs of all blocks can be multiplied by Hadamard matrices."""
    if any(has_rotated_input(module) for module in model.modules()):
        raise ConfigError(
            "rotation.online=True: expected a model whose inputs are not rotated yet, but these "
            "are. Load the model anew, or type rotation.online=false."
        )
    for block in enumerate_blocks(model):
        fused = [name for name, layer in block.layers.items() if not isinstance(layer, LinearLayer)]
        if fused:
            raise ConfigError(
                f"rotation.online=True: expected linear layers that are modules, but {fused[0]} is "
                "one of several fused experts. Type rotation.online=false."
            )
        num_heads, head, widths = _sizes(model, block)
        for what, size in {"heads": num_heads, "features of a head": head, **widths}.items():
            if factors_of(size) is None:
                raise ConfigError(
                    "rotation.online=True: expected sizes of which a Hadamard matrix is known "
                    f"here, but block {block.index} has {size} ({what}). "
                    "Type rotation.online=false."
                )


@torch.no_grad()
def rotate_inputs(model: nn.Module) -> None:
    """Rotate the inputs of o_proj and down_proj, at run time and in weights, in place."""
    for block in enumerate_blocks(model):
        with onload(block.module):
            _rotate_block(block, _sizes(model, block))


def _rotate_block(block: DecoderBlock, sizes: _Sizes) -> None:
    for name, width in sizes.widths.items():
        factors = _known(width)
        _turn_columns(block, name, factors)
        rotate_input(_module(block, name), _Online(factors))
    of_heads, of_head = _known(sizes.num_heads), _known(sizes.head)
    _turn_columns(block, OUT, (*of_heads, *of_head))
    rotate_input(_module(block, OUT), _Online(of_heads))
    _turn_values(block, sizes, of_head)


class _Online:
    """x -> x (H (x) I) along the last axis, I of whatever H leaves over."""

    def __init__(self, factors: Factors) -> None:
        self.factors = factors
        self._there: dict[torch.device, Factors] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        device = inputs.device
        if device not in self._there:
            self._there[device] = tuple(f.to(device, torch.float32) for f in self.factors)
        return times(inputs.to(torch.float32), self._there[device]).to(inputs.dtype)


def _turn_columns(block: DecoderBlock, name: str, factors: Factors) -> None:
    layer = block.layers[name]
    weight_OI = layer.weight_OI().clone()
    turn_rows(weight_OI, None, partial(times, factors=factors))
    layer.set_weight_OI(weight_OI)


def _turn_values(block: DecoderBlock, sizes: _Sizes, factors: Factors) -> None:
    """Rotate every head of the values: rows of the matrix that makes them, and its bias."""
    name = next(name for name in VALUES if name in block.layers)
    module = _module(block, name)
    num_rows = len(module.weight)
    if name != VALUES[0]:  # after queries, and keys as many as values
        num_rows = (num_rows - sizes.num_heads * sizes.head) // 2
    rows = module.weight.detach()[-num_rows:].T.reshape(-1, sizes.head)
    turn_rows(rows, None, partial(times, factors=factors))
    module.weight[-num_rows:] = rows.reshape(-1, num_rows).T
    if module.bias is not None:
        turn_rows(
            module.bias[-num_rows:].view(-1, sizes.head), None, partial(times, factors=factors)
        )


def _sizes(model: Any, block: DecoderBlock) -> _Sizes:
    num_heads = model.config.get_text_config(decoder=True).num_attention_heads
    widths = {
        name: layer.weight_OI().shape[1]
        for name, layer in block.layers.items()
        if name.rpartition(".")[2] in DOWN
    }
    return _Sizes(num_heads, block.layers[OUT].weight_OI().shape[1] // num_heads, widths)


def _known(size: int) -> Factors:
    factors = factors_of(size)
    assert factors is not None, size
    return factors


def _module(block: DecoderBlock, name: str) -> Any:
    layer = block.layers[name]
    assert isinstance(layer, LinearLayer), name
    return layer.module
