"""Putting quantisers in front of the linear layers of a block, before a method looks at it.

Dynamic quantisers need no data. For static ones the block runs once on its calibration inputs, none
of them quantised in this block yet; blocks before it are compressed, their inputs quantised.
"""

from collections.abc import Sequence

from calib_sweep.activations.base import Activations
from calib_sweep.compression.layer import LayerError, check_finite
from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.errors import ConfigError, collected
from calib_sweep.model.blocks import DecoderBlock, LinearLayer
from calib_sweep.model.input_quantizer import SharedQuantizer, set_input_quantizer


def quantize_inputs(
    block: DecoderBlock, activations: Activations | None, inputs: BlockInputs | None
) -> None:
    """Have the layers of a block read quantised inputs; layers with one input still share it."""
    if activations is None:
        return
    statistic_type = activations.statistic
    if statistic_type is None:
        seen = dict.fromkeys(block.layers)
    else:
        assert inputs is not None, activations
        found = observe(block.module, block.index, block.layers, inputs, statistic_type).statistics
        seen = {name: found.get(name) for name in block.layers}
    shared: dict[int, SharedQuantizer | None] = {}
    for name, layer in block.layers.items():
        assert isinstance(layer, LinearLayer), f"{name} was not refused"
        statistic = seen[name]
        if statistic_type is not None and statistic is None:
            raise LayerError(
                f"block {block.index} layer {name}: expected calibration tokens, to scale its "
                "inputs by, but none went through its module. Type walk.all_experts=true, draw "
                "more samples, or type activations.scaling=dynamic."
            )
        check_finite(block.index, name, layer, statistic)
        if id(statistic) not in shared:
            quantizer = activations.quantizer(statistic)
            shared[id(statistic)] = None if quantizer is None else SharedQuantizer(quantizer)
        set_input_quantizer(layer.module, shared[id(statistic)])


def check_quantizable(blocks: Sequence[DecoderBlock], activations: Activations) -> None:
    """Raise `ConfigError` where inputs of layers of these blocks cannot be quantised.

    The first layer of each length stands for all: blocks repeat, and one message will do.
    """
    first: dict[int, str] = {}
    for block in blocks:
        for name, layer in block.layers.items():
            if not isinstance(layer, LinearLayer):
                raise ConfigError(
                    f"activations={activations.name}: expected a model whose linear layers are "
                    f"modules, but block {block.index} {name} is one of several fused experts, in "
                    "front of which nothing can stand. Type activations=null, or choose a model "
                    "without fused experts."
                )
            first.setdefault(layer.weight_OI().shape[1], f"block {block.index} {name}")
    with collected() as problems:
        for num_in, name in first.items():
            problems.of(activations.check_shape, name, num_in)
