"""The survey: one dense pass over the decoder blocks, for methods that plan before they compress.

per block:  observe    run the dense block, accumulate a statistic of every linear's inputs
            rate       one number for the block
            propagate  its dense outputs are the next block's inputs
at the end: plan       a method for every block
"""

from torch import nn

from calib_sweep.layer import check_finite
from calib_sweep.method.base import LayerMethod, ModelMethod
from calib_sweep.model.blocks import linear_layers
from calib_sweep.model.observation import observe
from calib_sweep.model.replay import BlockInputs


def survey(blocks: nn.ModuleList, method: ModelMethod, inputs: BlockInputs) -> list[LayerMethod]:
    """Let `method` see all dense blocks; return what each of them is to be compressed with.

    `inputs` are used up: they end as those of the last block.
    """
    assert method.statistic is not None
    ratings_B, num_weights_B = [], []
    for index, block in enumerate(blocks):
        layers = linear_layers(block)
        is_last = index == len(blocks) - 1
        seen = observe(block, index, layers, inputs, method.statistic, keep_outputs=not is_last)
        weights = {name: layer.weight_OI() for name, layer in layers.items()}
        statistics = {
            name: seen.statistics.get(name) or method.statistic(weight_OI.shape[1])
            for name, weight_OI in weights.items()
        }
        for name, layer in layers.items():
            check_finite(index, name, layer, statistics[name])
        ratings_B.append(method.rate_block(weights, statistics))
        num_weights_B.append(sum(weight_OI.numel() for weight_OI in weights.values()))
    return method.plan_model(ratings_B, num_weights_B)
