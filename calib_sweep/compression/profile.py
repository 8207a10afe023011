"""The profile: one dense pass over the decoder blocks, for methods that plan before they compress.

    per block:  observe    run the dense block, accumulate a statistic of every linear's inputs
                rate       one number for the block
                propagate  its dense outputs are the next block's inputs
    at the end: plan       a method for every block

Nothing is changed: the walk that follows starts anew from the first block's inputs.
"""

from torch import nn

from calib_sweep.compression.layer import check_finite
from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.method.base import LayerMethod, ModelMethod
from calib_sweep.model.blocks import linear_layers
from calib_sweep.model.placement import onload


def profile(blocks: nn.ModuleList, method: ModelMethod, inputs: BlockInputs) -> list[LayerMethod]:
    """Let `method` see all dense blocks; return what each of them is to be compressed with.

    `inputs` are used up: they end as those of the last block.
    """
    ratings_B, num_weights_B = [], []
    for index, block in enumerate(blocks):
        is_last = index == len(blocks) - 1
        with onload(block):
            rating, num_weights = _rate(block, index, method, inputs, is_last)
        ratings_B.append(rating)
        num_weights_B.append(num_weights)
    return method.plan_model(ratings_B, num_weights_B)


def _rate(
    block: nn.Module, index: int, method: ModelMethod, inputs: BlockInputs, is_last: bool
) -> tuple[float, int]:
    """Rating and number of weights of a block; its outputs take the place of its inputs."""
    assert method.statistic is not None
    layers = linear_layers(block)
    seen = observe(block, index, layers, inputs, method.statistic, keep_outputs=not is_last)
    weights = {name: layer.weight_OI() for name, layer in layers.items()}
    statistics = {
        name: seen.statistics.get(name) or method.statistic(weight_OI.shape[1], weight_OI.device)
        for name, weight_OI in weights.items()
    }
    for name, layer in layers.items():
        check_finite(index, name, layer, statistics[name])
    num_weights = sum(weight_OI.numel() for weight_OI in weights.values())
    return method.sensitivity(weights, statistics), num_weights
