"""The walk: one pass over the decoder blocks that compresses every linear layer.

    per block:  quantise   have the linears read quantised inputs, where `activations` say so
                observe    run the block, accumulate a statistic of every linear's inputs
                compress   replace every linear's weight
                propagate  run the compressed block; its outputs are the next block's inputs

Inside a block all linears see dense inputs, unless `true_sequential`: then layers are compressed in
order of execution, each group of layers fed by the same tensor observed after the earlier ones were
compressed. `propagate="dense"` passes the dense block's outputs on instead (a different algorithm);
"published" does what the method's authors do. Linears fed by the same tensor share one statistic
object, hence one factorisation.

A method of blocks plans between observing and compressing, and scale that it moves is moved first;
a method of the model has seen all dense blocks before the first one is compressed.

Shapes: N = samples, T = tokens of a sample, D = hidden size, O, I = out_features, in_features.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from calib_sweep.activations.base import Activations
from calib_sweep.compression.block import compress_block
from calib_sweep.compression.contract import check_replay
from calib_sweep.compression.dense_stream import check_streams
from calib_sweep.compression.given import check_shapes, check_weights, checked_tokens
from calib_sweep.compression.layer import LayerReport
from calib_sweep.compression.nothing_kept import NOTHING_KEPT, NothingKept
from calib_sweep.compression.profile import profile
from calib_sweep.compression.quantized_inputs import check_quantizable
from calib_sweep.compression.replay import BlockInputs, record
from calib_sweep.compression.settings import PUBLISHED, Walk
from calib_sweep.compression.survey import survey
from calib_sweep.compression.whole_model import Beside, compress_whole
from calib_sweep.method.base import BlockMethod, LayerMethod, Method, ModelMethod
from calib_sweep.method.gpu.precision import allow_tensor_cores, full_float32
from calib_sweep.method.structured import ByLayer, StructuredMethod
from calib_sweep.method.whole_model import WholeModelMethod
from calib_sweep.model.blocks import DecoderBlock, check_owners, enumerate_blocks
from calib_sweep.model.input_quantizer import remove_input_quantizers
from calib_sweep.model.placement import onload
from calib_sweep.model.scaling_groups import check_scaling
from calib_sweep.ranks import ALONE, Ranks

logger = logging.getLogger(__name__)

OnBlock = Callable[[int, int, float], None]  # block index, number of blocks, seconds it took


def compress(
    model: nn.Module,
    method: Method,
    tokens: Tensor | None,
    *,
    activations: Activations | None = None,
    lengths: Tensor | None = None,
    weights: Tensor | None = None,
    propagate: str = PUBLISHED,
    true_sequential: bool = False,
    batch_tokens: int | None = None,
    all_experts: bool = False,
    tensor_cores: bool = True,
    keep_grids: bool = False,
    beside: Beside | None = None,
) -> list[LayerReport]:
    """Compress a Hugging Face causal language model in place and report on every layer.

    `tokens`: LongTensor [num_samples, seq_len]; None will do for a method that needs no data.
    `lengths`: valid tokens of each sample where samples are padded on the right. `weights`: how
    often each token counts in statistics. `activations`: what inputs of layers are put through, in
    this walk and after it. `keep_grids`: keep in the reports the grids that
    `save_packed` needs. `beside`: for a method of whole models.
    """
    settings = Walk(
        propagate=propagate,
        true_sequential=true_sequential,
        batch_tokens=batch_tokens,
        all_experts=all_experts,
        tensor_cores=tensor_cores,
    )
    return walk(
        model,
        method,
        tokens,
        activations=activations,
        lengths_N=lengths,
        weights_NT=weights,
        settings=settings,
        keep_grids=keep_grids,
        beside=beside,
    )


@torch.inference_mode(False)
@torch.no_grad()
@full_float32()
def walk(
    model: nn.Module,
    method: Method,
    tokens_NT: Tensor | None,
    *,
    activations: Activations | None = None,
    lengths_N: Tensor | None = None,
    weights_NT: Tensor | None = None,
    settings: Walk,
    on_block: OnBlock | None = None,
    keep_grids: bool = False,
    beside: Beside | None = None,
    ranks: Ranks = ALONE,
    checkpoint: NothingKept = NOTHING_KEPT,
) -> list[LayerReport]:
    """Compress every linear layer of every decoder block in place; leaves `model` in eval mode.

    `weights_NT`: how often each token counts in statistics; None: once. The model sees all alike.
    `beside`: for a method of whole models, which walks by itself.
    `ranks`: that share samples and layers. Each is given all samples, and ends with the same model.
    `keep_grids`: reports hold the grids of the new weights, which a packed model is saved from.
    They take 0.4 GB of host memory for 7B weights in groups of 128.
    `checkpoint`: keeps what is done after some blocks, and knows what was kept before.
    """
    blocks = checked_blocks(model, method, activations, settings)
    remove_input_quantizers(model)
    model.eval()
    if isinstance(method, WholeModelMethod):
        method.require_alone({"activations": activations and activations.name})
        method.require_one_rank(ranks.count)
        return compress_whole(model, method, (tokens_NT, lengths_N, weights_NT), beside)
    if needing := needing_data(method, activations):
        check_replay(model, blocks, checked_tokens(needing, tokens_NT, lengths_N))
        check_weights(tokens_NT, weights_NT, lengths_N)
    data = tokens_NT, lengths_N, weights_NT
    begin = partial(_begin, model, blocks, needing, data, settings, ranks)
    with allow_tensor_cores(settings.tensor_cores):
        methods = _method_of_each_block(model, blocks, method, begin, data, checkpoint)
    parts = (*methods, activations)
    needs_inputs = any(part and part.statistic is not None for part in parts)
    inputs = begin() if needs_inputs else None
    if inputs is not None and method.compares_streams:
        inputs = inputs.with_dense()
    in_order = settings.true_sequential
    compressed = partial(compress_block, in_order=in_order, activations=activations, ranks=ranks)
    pairs = list(zip(blocks, methods, strict=True))
    return _walked(pairs, inputs, settings, compressed, keep_grids, on_block, checkpoint)


def _walked(
    pairs: Sequence[tuple[DecoderBlock, LayerMethod | BlockMethod | ByLayer]],
    inputs: BlockInputs | None,
    settings: Walk,
    compressed: Callable[..., list[LayerReport]],
    keep_grids: bool,
    on_block: OnBlock | None,
    checkpoint: NothingKept,
) -> list[LayerReport]:
    """Compress the blocks one after the other, each by its method."""
    reports = checkpoint.resume(pairs, inputs)
    for block, of_block in pairs[checkpoint.num_done :]:
        start_s = time.perf_counter()
        is_last = block is pairs[-1][0]
        propagate = None if is_last else settings.propagated(of_block)
        with onload(block.module), allow_tensor_cores(settings.tensor_cores):
            done = compressed(block, of_block, inputs, propagate)
        done = done if keep_grids else [replace(report, grid=None) for report in done]
        reports += done
        seconds = time.perf_counter() - start_s
        logger.info("block %d of %d: %.2f s", block.index + 1, len(pairs), seconds)
        if on_block is not None:
            on_block(block.index, len(pairs), seconds)
        checkpoint.after_block(block, done, None if is_last else inputs)
    return reports


def checked_blocks(
    model: nn.Module, method: Method, activations: Activations | None, settings: Walk
) -> list[DecoderBlock]:
    """The decoder blocks of `model`; `ConfigError` where they cannot be walked so."""
    blocks = enumerate_blocks(model)
    settings.check_method(method)
    check_owners(model, blocks)
    check_shapes(blocks, method)
    if method.migrates_scale:
        check_scaling(blocks, behind_norms=method.scales_behind_norms)
    if method.compares_streams:
        check_streams(blocks)
    if activations is not None:
        check_quantizable(blocks, activations)
    return blocks


def needing_data(method: Method, activations: Activations | None) -> list[object]:
    """Those of both that need calibration data."""
    reads = method.statistic is not None or isinstance(method, StructuredMethod)
    needing: list[object] = [method] if reads else []
    return needing + ([activations] if activations and activations.statistic is not None else [])


def _method_of_each_block(
    model: nn.Module,
    blocks: Sequence[DecoderBlock],
    method: Method,
    begin: Callable[[], BlockInputs],
    data: Sequence[Tensor | None],
    checkpoint: NothingKept,
) -> Sequence[LayerMethod | BlockMethod | ByLayer]:
    if isinstance(method, StructuredMethod):
        return checkpoint.planned(lambda: survey(model, blocks, method, begin(), data, checkpoint))
    if isinstance(method, ModelMethod):
        return checkpoint.planned(lambda: profile(blocks, method, begin(), checkpoint))
    assert isinstance(method, LayerMethod | BlockMethod), method
    return [method] * len(blocks)


def _begin(
    model: nn.Module,
    blocks: Sequence[DecoderBlock],
    needing: Sequence[object],
    data: tuple[Tensor | None, Tensor | None, Tensor | None],
    settings: Walk,
    ranks: Ranks,
) -> BlockInputs:
    """The inputs of the first block. `data`: tokens, lengths and weights."""
    tokens_NT, lengths_N, weights_NT = data
    tokens_NT = checked_tokens(needing, tokens_NT, lengths_N)
    modules = [block.module for block in blocks]
    how = lengths_N, settings.batch_tokens, weights_NT, ranks
    inputs = ranks.together(lambda: record(model, modules, tokens_NT, *how))
    return replace(inputs, all_experts=settings.all_experts)
