"""The parts of a model that structured methods remove, and where they are."""

from torch import nn

from calib_sweep.model.blocks import decoder_blocks

# Names of the norm between the last block and the head, beside the list of blocks.
FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def final_norm(model: nn.Module) -> nn.Module:
    """The norm between the last block and the head; where there is none, what changes nothing."""
    blocks = decoder_blocks(model)
    owner = next(module for module in model.modules() if blocks in list(module.children()))
    beside = dict(owner.named_children())
    return next((beside[name] for name in FINAL_NORMS if name in beside), nn.Identity())
