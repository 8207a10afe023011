"""Compressing one decoder block: at once, layer by layer in order, or as a method planned it.

Shapes: I = in_features.
"""

from collections.abc import Mapping

from torch import Tensor

from calib_sweep.activations.base import Activations
from calib_sweep.compression.dense_block import ObservedBlock
from calib_sweep.compression.dense_stream import DenseStream
from calib_sweep.compression.folding import fold
from calib_sweep.compression.joining import Count
from calib_sweep.compression.layer import LayerError, LayerReport, check_finite
from calib_sweep.compression.masking import mask_router
from calib_sweep.compression.observation import Observation, observe
from calib_sweep.compression.quantized_inputs import quantize_inputs
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.compression.spreading import compress_layers
from calib_sweep.method.base import BlockMethod, BlockPlan, LayerMethod, ScalingGroup
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.structured import ByLayer
from calib_sweep.model.blocks import DecoderBlock
from calib_sweep.model.fused_layers import fused_layers
from calib_sweep.model.input_quantizer import quantizes_inputs, without_input_quantizers
from calib_sweep.ranks import ALONE, Ranks

# Which outputs of a block become the inputs of the next one.
COMPRESSED, DENSE = "compressed", "dense"


def compress_block(
    block: DecoderBlock,
    method: LayerMethod | BlockMethod | ByLayer,
    inputs: BlockInputs | None,
    propagate: str | None,
    *,
    in_order: bool,
    activations: Activations | None = None,
    ranks: Ranks = ALONE,
) -> list[LayerReport]:
    """Quantise inputs, observe, compress, propagate.

    `inputs` None: without data. `propagate` None: to nobody. `ranks`: that share the layers.
    """
    if isinstance(method, BlockMethod):
        assert inputs is not None, method
        reports = _compress_as_planned(block, method, inputs, propagate == DENSE, activations)
    else:
        quantize_inputs(block, activations, inputs)
        reports = _compress_layers(block, method, inputs, propagate, in_order, ranks)
    if propagate == COMPRESSED and inputs is not None:
        inputs.advance(block.module, block.index)
    return reports


def _compress_layers(
    block: DecoderBlock,
    method: LayerMethod | ByLayer,
    inputs: BlockInputs | None,
    propagate: str | None,
    in_order: bool,
    ranks: Ranks,
) -> list[LayerReport]:
    if isinstance(method, LayerMethod) and method.statistic is not None and inputs is not None:
        if in_order:
            return _compress_in_order(block, method, inputs, is_last=propagate is None)
        return _compress_at_once(block, method, inputs, propagate)
    if inputs is not None and propagate == DENSE:
        _advance_dense(block, inputs)
    if isinstance(method, ByLayer):
        mask_router(block, method.removed_E)
    methods = _told(
        block,
        method.methods if isinstance(method, ByLayer) else dict.fromkeys(block.layers, method),
    )
    return list(compress_layers(block.index, block.layers, methods, None, ranks).values())


def _compress_at_once(
    block: DecoderBlock, method: LayerMethod, inputs: BlockInputs, propagate: str | None
) -> list[LayerReport]:
    """Compress all layers of a block as they were observed in the dense one."""
    assert method.statistic is not None
    keep_outputs, dense = propagate == DENSE, None
    if method.compares_streams and (inputs.has_parted or quantizes_inputs(block.module)):
        advances = propagate is not None
        dense = DenseStream(block, inputs, keeps_weights=False, advances=advances)
    elif method.compares_streams:  # one stream so far, whose outputs are those of the dense model
        inputs.part()
        assert inputs.dense is not None
        inputs, keep_outputs = inputs.dense, propagate is not None
    seen = _observe(block, inputs, method.statistic, keep_outputs, dense)
    methods = _told(block, dict.fromkeys(block.layers, method))
    return list(compress_layers(block.index, block.layers, methods, seen, inputs.ranks).values())


def _compress_in_order(
    block: DecoderBlock, method: LayerMethod, inputs: BlockInputs, *, is_last: bool
) -> list[LayerReport]:
    """Compress groups of layers with one input in order of execution, each newly observed."""
    assert method.statistic is not None
    layers, place = block.layers, (block.module, block.index)
    first = observe(*place, layers, inputs, Count, num_batches=1)
    each_once, groups = first.each_once, first.groups()
    groups += [[name] for name in layers if name not in first.statistics]
    methods = _told(block, dict.fromkeys(layers, method))
    dense = None
    if method.compares_streams:
        dense = DenseStream(block, inputs, keeps_weights=True, advances=False)
    reports: dict[str, LayerReport] = {}
    for group in groups:
        members = {name: layers[name] for name in group}
        seen = observe(*place, members, inputs, method.statistic, may_stop=each_once, dense=dense)
        reports |= compress_layers(block.index, members, methods, seen, inputs.ranks)
    if dense is not None and not is_last:
        dense.advance()
    return [reports[name] for name in layers]


def _compress_as_planned(
    block: DecoderBlock,
    method: BlockMethod,
    inputs: BlockInputs,
    keep_outputs: bool,
    activations: Activations | None,
) -> list[LayerReport]:
    """Let the method see the dense block; move scale as it wants it, compress as it wants it.

    Inputs are quantised as they are after scale was moved. Then they are looked at once more, also
    where the layers' methods want to know other things of them.
    """
    assert method.statistic is not None
    seen = _observe(block, inputs, method.statistic, keep_outputs=False)
    plan = _plan(ObservedBlock(block, inputs, seen.statistics), method)
    plan = inputs.ranks.from_rank(0, lambda: plan)  # one plan, should ranks have rounded otherwise
    assert not any(own.compares_streams for own in plan.methods.values()), "one stream is here"
    wanted = {own.statistic for own in plan.methods.values()} - {None}
    (statistic_type,) = wanted or {method.statistic}
    assert statistic_type is not None
    looks_again = activations is not None or statistic_type is not method.statistic
    if keep_outputs and not looks_again:
        inputs.advance(block.module, block.index)
    for group, scale_I in plan.scales.items():
        _move_scale(block, group, scale_I, seen.statistics)
    if looks_again:
        quantize_inputs(block, activations, inputs)
        seen = _observe(block, inputs, statistic_type, keep_outputs)
    methods = _told(block, plan.methods)
    return list(compress_layers(block.index, block.layers, methods, seen, inputs.ranks).values())


def _told(block: DecoderBlock, methods: Mapping[str, LayerMethod]) -> dict[str, LayerMethod]:
    """Tell the method of each layer with which others runtimes fuse it, before any is changed."""
    told: dict[str, LayerMethod] = {}
    for names in fused_layers(list(block.layers)):
        weights = [block.layers[name].weight_OI() for name in names]
        told |= {name: methods[name].for_fused(weights) for name in names}
    return told


def _observe(
    block: DecoderBlock,
    inputs: BlockInputs,
    statistic_type: type[Statistic],
    keep_outputs: bool,
    dense: DenseStream | None = None,
) -> Observation:
    """Observe all layers; `keep_outputs`: what the dense block gives takes its inputs' place."""
    quantised = keep_outputs and quantizes_inputs(block.module)
    keeps_now = keep_outputs and not quantised
    place = block.module, block.index, block.layers, inputs
    seen = observe(*place, statistic_type, keep_outputs=keeps_now, dense=dense)
    if quantised:
        _advance_dense(block, inputs)
    return seen


def _advance_dense(block: DecoderBlock, inputs: BlockInputs) -> None:
    """Put what the dense block gives for inputs as they come in the place of its inputs."""
    with without_input_quantizers(block.module):
        inputs.advance(block.module, block.index)


def _plan(observed: ObservedBlock, method: BlockMethod) -> BlockPlan:
    """Let `method` plan; whatever goes wrong is raised with block and, where known, layer."""
    for name, layer in observed.layers.items():
        check_finite(observed.index, name, layer, observed.statistics.get(name))
    try:
        return method.plan_block(observed)
    except (ArithmeticError, RuntimeError) as error:
        raise LayerError(f"block {observed.index}: {error}") from error


def _move_scale(
    block: DecoderBlock, group: ScalingGroup, scale_I: Tensor, statistics: dict[str, Statistic]
) -> None:
    """Change weights, and statistics with them: those of the layers' inputs as they are now."""
    divided_I = fold(block, group, scale_I)
    shared = {id(statistics[name]): statistics[name] for name in group.layers if name in statistics}
    others = {id(statistic) for name, statistic in statistics.items() if name not in group.layers}
    assert not shared.keys() & others, f"{group.layers} are not all that read the tensor"
    for statistic in shared.values():
        statistic.divide_inputs(divided_I)
