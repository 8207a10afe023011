"""Where a model keeps its decoder blocks, and the linear layers inside a block.

The only file that knows architectures, with `experts.py`. Embeddings, the head, norms and biases
are never compressed, as in the published code. Nor are routers, which the published code, written
before them, would take for linear layers: they choose the experts of every token, and are tiny. Nor
are matrices that a block multiplies by itself, past their modules: nobody can see their inputs.

Shapes: O = out_features, I = in_features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers.models.falcon.modeling_falcon import FalconLinear
from transformers.pytorch_utils import Conv1D

from calib_sweep.errors import ConfigError
from calib_sweep.model.additions import set_bias
from calib_sweep.model.experts import ExpertLinear, expert_linears, holds_fused_experts

# Attribute path of the decoder blocks, and the families that use it.
BLOCK_PATHS = {
    "model.layers": "LLaMA, Mistral, Qwen, Gemma, Phi-3 and most recent models",
    "model.decoder.layers": "OPT",
    "transformer.h": "GPT-2, GPT-J, BLOOM, Falcon",
    "gpt_neox.layers": "GPT-NeoX, Pythia",
    "model.language_model.layers": "text part of image-and-text models",
}

# Exact types of modules that multiply by the matrix they hold and add a bias. Other subclasses may
# keep their weight packed, or as a sum of parts.
LINEAR_TYPES = (nn.Linear, FalconLinear, Conv1D)

# Modules beside a module `experts` that decide how much each expert counts.
ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})


# Modules of which blocks read the weight and never call the module: the time steps of Mamba.
READ_BY_BLOCKS = frozenset({"dt_proj"})


@dataclass(frozen=True)
class LinearLayer:
    """A linear map inside a block, whichever way round its module stores the matrix."""

    module: nn.Linear | Conv1D
    is_routed: bool = False  # whether it sees some of the tokens only, in an order of their own

    @property
    def is_transposed(self) -> bool:
        return isinstance(self.module, Conv1D)

    @property
    def stored(self) -> Tensor:
        """The parameter that holds the matrix, alone or with others."""
        return self.module.weight

    def weight_OI(self) -> Tensor:
        """The weight as out_features x in_features; a view, so do not write to it."""
        weight = self.module.weight.detach()
        return weight.T if self.is_transposed else weight

    def set_weight_OI(self, weight_OI: Tensor) -> None:
        assert weight_OI.shape == self.weight_OI().shape, weight_OI.shape
        self.module.weight.data.copy_(weight_OI.T if self.is_transposed else weight_OI)

    def bias_O(self) -> Tensor | None:
        """The bias; a view, so do not write to it. None: there is none."""
        return None if self.module.bias is None else self.module.bias.detach()

    def set_bias_O(self, bias_O: Tensor) -> None:
        """Set the bias, also of a layer that came without one."""
        set_bias(self.module, bias_O)


Layer = LinearLayer | ExpertLinear


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


def linear_layers(block: nn.Module) -> dict[str, Layer]:
    """The linear layers of a decoder block by name, in order of definition.

    Raises `ConfigError` for matrices in a form that is not known: they would silently stay dense.
    """
    _refuse_unknown_experts(block)
    routers = _routers(block)
    layers: dict[str, Layer] = {}
    for name, module in block.named_modules():
        if holds_fused_experts(module):
            layers |= {f"{name}.{part}": layer for part, layer in expert_linears(module).items()}
        elif isinstance(module, LINEAR_TYPES) and module not in routers:
            if _last(name) in READ_BY_BLOCKS:
                continue
            _refuse_altered(name, module)
            layers[name] = LinearLayer(module, is_routed="experts" in name.split("."))
    return layers


@dataclass(frozen=True)
class DecoderBlock:
    """A decoder block, its place in the model, and its linear layers, looked for once."""

    module: nn.Module
    index: int
    layers: Mapping[str, Layer]


def enumerate_blocks(model: nn.Module) -> list[DecoderBlock]:
    """The decoder blocks of `model` with their linear layers; errors as of `linear_layers`."""
    return [
        DecoderBlock(module, index, linear_layers(module))
        for index, module in enumerate(decoder_blocks(model))
    ]


def check_owners(model: nn.Module, blocks: Sequence[DecoderBlock] | None = None) -> None:
    """Raise `ConfigError` where a matrix to compress is used in two places of `model`.

    It is one matrix: compressed in each place, it would be another one than the first place fits.
    `blocks`: those of `model`, where they are enumerated already.
    """
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    for block in enumerate_blocks(model) if blocks is None else blocks:
        for name, layer in block.layers.items():
            places = owners[id(layer.stored)]
            if len(places) > 1:
                raise ConfigError(
                    f"model={type(model).__name__}: expected blocks that share no weights, but "
                    f"that of block {block.index} {name} is also {places[1]}. Choose another model."
                )


def _refuse_altered(name: str, module: nn.Module) -> None:
    found = f"a {type(module).__name__}"
    if "base_layer" in name.split("."):
        found = "wrapped in an adapter"
    elif "weight" not in dict(module.named_parameters(recurse=False)):
        found = "made of other tensors at every call"
    elif type(module) in LINEAR_TYPES:
        return
    raise ConfigError(
        f"model: expected plain linear layers, but {name} is {found}. "
        "Merge adapters into the model, or take the model that is not quantized."
    )


def _routers(block: nn.Module) -> set[nn.Module]:
    """Every module of the routers of a mixture of experts; empty where there is none."""
    routers = [
        child
        for module in block.modules()
        for name, child in module.named_children()
        if name in ROUTERS and "experts" in dict(module.named_children())
    ]
    return {module for router in routers for module in router.modules()}


def _refuse_unknown_experts(block: nn.Module) -> None:
    known = (nn.Linear, nn.Conv1d)
    for name, parameter in block.named_parameters():
        path = name.split(".")[:-1]
        owner = block.get_submodule(".".join(path))
        is_matrix = parameter.ndim >= (2 if "experts" in path else 3)
        is_matrix &= sum(size > 1 for size in parameter.shape) > 1
        if is_matrix and not isinstance(owner, known) and not holds_fused_experts(owner):
            raise ConfigError(
                f"model={type(block).__name__}: expected linear layers, or experts as transformers "
                f"5 fuses them, but {name} of shape {tuple(parameter.shape)} is neither. "
                "Choose another model, or try a later release of transformers."
            )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _follow(module: nn.Module, path: str) -> object:
    found: object = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
