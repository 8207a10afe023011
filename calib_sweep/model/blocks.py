"""Where a model keeps its decoder blocks, and the linear layers inside a block.

The only file that knows architectures. Embeddings, the head, norms and biases are never compressed,
as in the published code.

Shapes: O = out_features, I = in_features.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from calib_sweep.errors import ConfigError

# Attribute path of the decoder blocks, and the families that use it.
BLOCK_PATHS = {
    "model.layers": "LLaMA, Mistral, Qwen, Gemma, Phi-3 and most recent models",
    "model.decoder.layers": "OPT",
    "transformer.h": "GPT-2, GPT-J, BLOOM, Falcon",
    "gpt_neox.layers": "GPT-NeoX, Pythia",
    "model.language_model.layers": "text part of image-and-text models",
}


@dataclass(frozen=True)
class LinearLayer:
    """A linear map inside a block, whichever way round its module stores the matrix."""

    module: nn.Linear | Conv1D

    @property
    def is_transposed(self) -> bool:
        return isinstance(self.module, Conv1D)

    def weight_OI(self) -> Tensor:
        """The weight as out_features x in_features; a view, so do not write to it."""
        weight = self.module.weight.detach()
        return weight.T if self.is_transposed else weight

    def set_weight_OI(self, weight_OI: Tensor) -> None:
        assert weight_OI.shape == self.weight_OI().shape, weight_OI.shape
        self.module.weight.data.copy_(weight_OI.T if self.is_transposed else weight_OI)


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks of a causal language model, in order of execution."""
    for path in BLOCK_PATHS:
        blocks = _follow(model, path)
        if isinstance(blocks, nn.ModuleList) and len(blocks) > 0:
            return blocks
    known = "; ".join(f"{path} ({families})" for path, families in BLOCK_PATHS.items())
    raise ConfigError(
        f"model={type(model).__name__}: expected decoder blocks at one of {known}. "
        "Add the attribute path of this architecture to calib_sweep/model/blocks.py."
    )


def linear_layers(block: nn.Module) -> dict[str, LinearLayer]:
    """The linear layers of a decoder block by name, in order of definition.

    The exact types only: a subclass may store its weight packed or as a sum of parts.
    """
    _refuse_fused_experts(block)
    return {
        name: LinearLayer(module)
        for name, module in block.named_modules()
        if type(module) is nn.Linear or type(module) is Conv1D
    }


def _refuse_fused_experts(block: nn.Module) -> None:
    """Experts kept in one three-dimensional parameter would silently stay dense."""
    for name, parameter in block.named_parameters():
        owner = block.get_submodule(name.rpartition(".")[0])
        if parameter.ndim == 3 and not isinstance(owner, nn.Conv1d):
            raise ConfigError(
                f"model={type(block).__name__}: expected linear layers, but {name} holds fused "
                f"experts of shape {tuple(parameter.shape)}. "
                "Mixture-of-experts models of this form cannot be compressed yet."
            )


def _follow(module: nn.Module, path: str) -> object:
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
