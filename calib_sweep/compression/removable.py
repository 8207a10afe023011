"""Whether a model has the parts that a structured method removes; it may be without weights.

A block whose linear layers all give zeros has to pass on what enters it: only then is a removed
block the same as one whose weights are zero. A few tokens tell.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from calib_sweep.compression.contract import hollow
from calib_sweep.compression.replay import hidden_of, without_head
from calib_sweep.compression.surveyed import Hook, hooked, silence
from calib_sweep.errors import ConfigError
from calib_sweep.method.structured import StructuredMethod
from calib_sweep.model.additions import check_router
from calib_sweep.model.blocks import DecoderBlock, LinearLayer, enumerate_blocks
from calib_sweep.model.calls import first_tensor
from calib_sweep.model.structure import parts_of

NUM_TOKENS = 8
TOLERANCE = 1e-3  # of the largest hidden state: rounding in half precision


def check_structured(model: nn.Module, method: StructuredMethod) -> None:
    """Raise `ConfigError` where the parts that `method` removes are no parts of `model`.

    `model` may be without weights, on the device meta.
    """
    blocks = enumerate_blocks(model)
    method.check_blocks([parts_of(block) for block in blocks])
    if next(model.parameters()).is_meta:
        model = hollow(model)
    check_silent(model, method)


@torch.no_grad()
def check_silent(model: nn.Module, method: StructuredMethod) -> None:
    """Raise `ConfigError` unless a block whose layers give zeros passes on what enters it.

    Also unless routers are of the known form, where `method` removes experts.
    """
    blocks = enumerate_blocks(model)
    entered: dict[int, Tensor] = {}
    left: dict[int, Tensor] = {}
    hooks: list[Hook] = [(module, silence) for block in blocks for module in _modules(block)]
    for block in blocks:
        hooks.append((block.module, _noting(block.index, entered, left)))
        mixture = parts_of(block).mixture
        if method.removes_experts and mixture is not None:
            hooks.append((block.module.get_submodule(mixture.router), _checking(mixture.router)))
    with hooked(hooks):
        tokens_BT = torch.arange(NUM_TOKENS, device=next(model.parameters()).device).unsqueeze(0)
        without_head(model)(input_ids=tokens_BT, use_cache=False)
    for block in blocks:
        before, after = entered[block.index].float(), left[block.index].float()
        if not bool((after - before).abs().max() <= TOLERANCE * before.abs().max()):
            kind = type(block.module).__name__
            raise ConfigError(
                f"model={type(model).__name__}: expected blocks that pass on what enters them when "
                f"their linear layers give zeros, but block {block.index} ({kind}) changes it "
                "(does it norm what it adds?). Choose another model, or a method that removes "
                "weights one by one, such as method=wanda."
            )


def _modules(block: DecoderBlock) -> set[nn.Module]:
    """The modules that call the linear layers of a block: fused experts have one for all."""
    return {
        layer.module if isinstance(layer, LinearLayer) else layer.experts
        for layer in block.layers.values()
    }


def _noting(index: int, entered: dict[int, Tensor], left: dict[int, Tensor]) -> Callable[..., None]:
    def hook(
        _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object
    ) -> None:
        entered[index] = first_tensor(args, kwargs)
        left[index] = hidden_of(output)

    return hook


def _checking(name: str) -> Callable[..., None]:
    def hook(_m: nn.Module, _a: object, _k: object, output: object) -> None:
        check_router(name, output)

    return hook
