"""The profile: one dense pass over the decoder blocks, for methods that plan before they compress.

    per block:  observe    run the dense block, accumulate a statistic of every linear's inputs
                rate       one number for the block
                propagate  its dense outputs are the next block's inputs
    at the end: plan       a method for every block

Nothing is changed: the walk that follows starts anew from the first block's inputs.
"""

from collections.abc import Sequence

from calib_sweep.compression.layer import check_finite
from calib_sweep.compression.nothing_kept import NOTHING_KEPT, NothingKept
from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.method.base import LayerMethod, ModelMethod
from calib_sweep.model.blocks import DecoderBlock
from calib_sweep.model.placement import onload


def profile(
    blocks: Sequence[DecoderBlock],
    method: ModelMethod,
    inputs: BlockInputs,
    checkpoint: NothingKept = NOTHING_KEPT,
) -> list[LayerMethod]:
    """Let `method` see all dense blocks; return what each of them is to be compressed with.

    `inputs` are used up: they end as those of the last block.
    """
    rated_B: list[tuple[float, int]] = checkpoint.noted(inputs)
    for block in blocks[len(rated_B) :]:
        with onload(block.module):
            rated_B.append(_rate(block, method, inputs, block is blocks[-1]))
        checkpoint.after_noted(rated_B[-1], inputs)
    ratings_B, num_weights_B = zip(*rated_B, strict=True)
    return method.plan_model(ratings_B, num_weights_B)


def _rate(
    block: DecoderBlock, method: ModelMethod, inputs: BlockInputs, is_last: bool
) -> tuple[float, int]:
    """Rating and number of weights of a block; its outputs take the place of its inputs."""
    assert method.statistic is not None
    seen = observe(
        block.module,
        block.index,
        block.layers,
        inputs,
        method.statistic,
        keep_outputs=not is_last,
    )
    weights = {name: layer.weight_OI() for name, layer in block.layers.items()}
    statistics = {
        name: seen.statistics.get(name) or method.statistic(weight_OI.shape[1], weight_OI.device)
        for name, weight_OI in weights.items()
    }
    for name, layer in block.layers.items():
        check_finite(block.index, name, layer, statistics[name])
    num_weights = sum(weight_OI.numel() for weight_OI in weights.values())
    rating = inputs.ranks.from_rank(0, lambda: method.sensitivity(weights, statistics))
    return rating, num_weights
