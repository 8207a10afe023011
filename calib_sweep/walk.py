"""The walk: one pass over the decoder blocks that compresses every linear layer.

    per block:  observe    run the block, accumulate a statistic of every linear's inputs
                compress   replace every linear's weight
                propagate  run the compressed block; its outputs are the next block's inputs

Inside a block all linears see dense inputs, unless `true_sequential`: then layers are compressed in
order of execution, each group of layers fed by the same tensor observed after the earlier ones were
compressed. `propagate="dense"` passes the dense block's outputs on instead (a different algorithm).
Linears fed by the same tensor share one statistic object, hence one factorisation.

Shapes: N = samples, T = tokens of a sample, D = hidden size, O, I = out_features, in_features.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from calib_sweep.errors import ConfigError, require
from calib_sweep.layer import LayerReport, compress_layer
from calib_sweep.method.base import LayerMethod, Method, ModelMethod
from calib_sweep.method.precision import allow_tensor_cores, full_float32
from calib_sweep.method.settings import check_all, check_flag, check_positive_int
from calib_sweep.model.blocks import Layer, decoder_blocks, linear_layers
from calib_sweep.model.observation import observe
from calib_sweep.model.placement import at_work
from calib_sweep.model.replay import BlockInputs, record
from calib_sweep.survey import survey

logger = logging.getLogger(__name__)


OnBlock = Callable[[int, int, float], None]  # block index, number of blocks, seconds it took


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Settings of the walk."""

    propagate: str  # which outputs feed the next block: compressed, as published, or dense
    true_sequential: bool  # whether layers of a block see their compressed predecessors
    batch_tokens: int  # tokens that go through a block at once; bounds memory, moves no number
    tensor_cores: bool  # whether a GPU's may sum products of half-precision inputs, in float32

    def __post_init__(self) -> None:
        check_all(
            self._check_propagate,
            self._check_true_sequential,
            self._check_batch_tokens,
            self._check_tensor_cores,
        )

    def _check_propagate(self) -> None:
        require(
            self.propagate in ("compressed", "dense"),
            "walk.propagate",
            self.propagate,
            "compressed or dense",
            "The published methods use walk.propagate=compressed.",
        )

    def _check_true_sequential(self) -> None:
        require(
            isinstance(self.true_sequential, bool)
            and not (self.true_sequential and self.propagate == "dense"),
            "walk.true_sequential",
            self.true_sequential,
            "true or false, and false with walk.propagate=dense",
            "Layers cannot see compressed inputs when dense ones are passed on: "
            "set walk.true_sequential=false or walk.propagate=compressed.",
        )

    def _check_batch_tokens(self) -> None:
        remedy = "Set walk.batch_tokens=16384; lower it if memory runs out."
        check_positive_int("walk.batch_tokens", self.batch_tokens, remedy)

    def _check_tensor_cores(self) -> None:
        remedy = "Set walk.tensor_cores=false to sum in float32 units throughout, which is slower."
        check_flag("walk.tensor_cores", self.tensor_cores, remedy)


def compress(
    model: nn.Module,
    method: Method,
    tokens: Tensor | None,
    *,
    lengths: Tensor | None = None,
    propagate: str = "compressed",
    true_sequential: bool = False,
    batch_tokens: int = 16384,
    tensor_cores: bool = True,
) -> list[LayerReport]:
    """Compress a Hugging Face causal language model in place and report on every layer.

    `tokens`: LongTensor [num_samples, seq_len]; None will do for a method that needs no data.
    `lengths`: valid tokens of each sample where samples are padded on the right.
    """
    settings = Walk(
        propagate=propagate,
        true_sequential=true_sequential,
        batch_tokens=batch_tokens,
        tensor_cores=tensor_cores,
    )
    return walk(model, method, tokens, lengths_N=lengths, settings=settings)


@torch.inference_mode(False)
@torch.no_grad()
@full_float32()
def walk(
    model: nn.Module,
    method: Method,
    tokens_NT: Tensor | None,
    *,
    lengths_N: Tensor | None = None,
    settings: Walk,
    on_block: OnBlock | None = None,
) -> list[LayerReport]:
    """Compress every linear layer of every decoder block in place; leaves `model` in eval mode."""
    blocks = decoder_blocks(model)
    _check_shapes(blocks, method)
    model.eval()
    begin = partial(_begin, model, blocks, method, tokens_NT, lengths_N, settings)
    with allow_tensor_cores(settings.tensor_cores):
        methods = _method_of_each_block(blocks, method, begin)
    needs_inputs = any(of_block.statistic is not None for of_block in methods)
    inputs = begin() if needs_inputs else None
    reports: list[LayerReport] = []
    for index, (block, of_block) in enumerate(zip(blocks, methods, strict=True)):
        start_s = time.perf_counter()
        is_last = index == len(blocks) - 1
        with at_work(block), allow_tensor_cores(settings.tensor_cores):
            if inputs is None:
                reports += _compress_without_data(block, index, of_block)
            else:
                reports += _compress_with_data(block, index, of_block, inputs, settings, is_last)
        seconds = time.perf_counter() - start_s
        logger.info("block %d of %d: %.2f s", index + 1, len(blocks), seconds)
        if on_block is not None:
            on_block(index, len(blocks), seconds)
    return reports


def _method_of_each_block(
    blocks: nn.ModuleList, method: Method, begin: Callable[[], BlockInputs]
) -> Sequence[LayerMethod]:
    if isinstance(method, ModelMethod):
        return survey(blocks, method, begin())
    assert isinstance(method, LayerMethod), method
    return [method] * len(blocks)


def _begin(
    model: nn.Module,
    blocks: nn.ModuleList,
    method: Method,
    tokens_NT: Tensor | None,
    lengths_N: Tensor | None,
    settings: Walk,
) -> BlockInputs:
    """The inputs of the first block."""
    tokens_NT = _checked_tokens(method, tokens_NT, lengths_N)
    return record(model, blocks, tokens_NT, lengths_N, settings.batch_tokens)


def _compress_without_data(block: nn.Module, index: int, method: LayerMethod) -> list[LayerReport]:
    return [
        compress_layer(index, name, layer, method, None)
        for name, layer in linear_layers(block).items()
    ]


def _compress_with_data(
    block: nn.Module,
    index: int,
    method: LayerMethod,
    inputs: BlockInputs,
    settings: Walk,
    is_last: bool,
) -> list[LayerReport]:
    """Observe, compress, propagate; the last block's outputs are needed by nobody."""
    assert method.statistic is not None
    layers = linear_layers(block)
    if settings.true_sequential:
        reports = _compress_in_order(block, index, layers, method, inputs)
    else:
        keep_outputs = settings.propagate == "dense" and not is_last
        seen = observe(
            block, index, layers, inputs, method.statistic, keep_outputs=keep_outputs
        ).statistics
        reports = [
            compress_layer(index, name, layer, method, seen.get(name))
            for name, layer in layers.items()
        ]
    if settings.propagate == "compressed" and not is_last:
        inputs.advance(block, index)
    return reports


def _compress_in_order(
    block: nn.Module,
    index: int,
    layers: dict[str, Layer],
    method: LayerMethod,
    inputs: BlockInputs,
) -> list[LayerReport]:
    """Compress groups of layers with one input in order of execution, each newly observed."""
    assert method.statistic is not None
    first = observe(block, index, layers, inputs, method.statistic, num_batches=1)
    groups = first.groups()
    groups += [[name] for name in layers if name not in first.statistics]
    reports = {}
    for group in groups:
        members = {name: layers[name] for name in group}
        seen = observe(
            block, index, members, inputs, method.statistic, may_stop=first.each_once
        ).statistics
        for name, layer in members.items():
            reports[name] = compress_layer(index, name, layer, method, seen.get(name))
    return [reports[name] for name in layers]


def _check_shapes(blocks: nn.ModuleList, method: Method) -> None:
    """Refuse, before anything is changed, layers that the method's settings do not fit.

    The first layer of each shape stands for all: blocks repeat, and one message will do.
    """
    first: dict[torch.Size, str] = {}
    for index, block in enumerate(blocks):
        for name, layer in linear_layers(block).items():
            first.setdefault(layer.weight_OI().shape, f"block {index} {name}")
    check_all(
        *(
            partial(method.check_shape, name, num_out, num_in)
            for (num_out, num_in), name in first.items()
        )
    )


def _checked_tokens(method: Method, tokens_NT: Tensor | None, lengths_N: Tensor | None) -> Tensor:
    if tokens_NT is None or tokens_NT.ndim != 2 or tokens_NT.numel() == 0:
        found = None if tokens_NT is None else tuple(tokens_NT.shape)
        raise ConfigError(
            f"tokens={found}: expected calibration tokens of shape [num_samples, seq_len], because "
            f"{type(method).__name__} needs data. Pass a LongTensor of token ids."
        )
    if lengths_N is not None and lengths_N.shape != tokens_NT.shape[:1]:
        raise ConfigError(
            f"lengths={tuple(lengths_N.shape)}: expected one length per sample, "
            f"{len(tokens_NT)} in all. Leave lengths out when no sample is padded."
        )
    return tokens_NT
