"""What structured methods change of a model beside its weights, and what takes it away again.

    biases     a layer that came without one has got one: a parameter like any other
    routers    a router chooses among some of its experts, as if it had their rows only

No checkpoint of the architecture has a place for either: saving such a model is refused.

Shapes: O = out_features, E = experts, K = experts of a token.
"""

import copy

import torch
from torch import Tensor, nn

from calib_sweep.errors import ConfigError


class AddedBias(nn.Parameter):
    """A bias that the model came without."""


def set_bias(module: nn.Module, bias_O: Tensor) -> None:
    """Give `module` a bias: new values of its own, or one that it came without."""
    own = module._parameters.get("bias")
    if own is not None:
        assert own.shape == bias_O.shape, bias_O.shape
        own.data.copy_(bias_O)
        return
    module.register_parameter("bias", AddedBias(bias_O.detach().clone(), requires_grad=False))


def is_plain_router(router: nn.Module, num_experts: int) -> bool:
    """Tell whether all that a router has are rows, one for each expert, and how many it chooses."""
    tensors = dict(router.named_parameters())
    rows = all(len(tensor) == num_experts for tensor in tensors.values())
    is_plain = set(tensors) in ({"weight"}, {"weight", "bias"}) and not list(router.buffers())
    return is_plain and rows and isinstance(getattr(router, "top_k", None), int)


class _Restricted:
    """The forward of a router that has the rows of some experts only."""

    def __init__(self, router: nn.Module, removed_E: Tensor) -> None:
        self._router = router
        self._kept = (~removed_E).nonzero().flatten()
        self._smaller = copy.copy(router)
        self._smaller.__dict__.pop("forward", None)
        self._smaller.__dict__["_parameters"] = {}

    def __call__(self, *args: object, **kwargs: object) -> tuple[Tensor, Tensor, Tensor]:
        kept = self._kept.to(self._router.get_parameter("weight").device)
        for name, parameter in self._router.named_parameters():
            self._smaller.__dict__[name] = parameter[kept]
        logits, gates, choice_TK = type(self._router).forward(self._smaller, *args, **kwargs)
        return logits, gates, kept[choice_TK]


def restrict_router(router: nn.Module, removed_E: Tensor) -> None:
    """Have a router choose among the other experts; it numbers them as before."""
    router.forward = _Restricted(router, removed_E)


def check_router(name: str, output: object) -> None:
    """Raise `ConfigError` unless a router returns logits, gates and choices."""
    parts = output if isinstance(output, tuple) else ()
    tensors = [part for part in parts if isinstance(part, Tensor)]
    is_known = len(parts) == len(tensors) == 3 and tensors[1].shape == tensors[2].shape
    if not is_known or tensors[2].dtype != torch.int64:
        raise ConfigError(
            f"model: expected routers that return logits, gates and choices, but {name} returns "
            "something else. Choose another model, or method=shortgpt, which removes whole blocks."
        )


def remove_additions(model: nn.Module) -> None:
    """Take all of them away: with its dense weights `model` computes what it did."""
    for module in model.modules():
        if isinstance(module._parameters.get("bias"), AddedBias):
            module.register_parameter("bias", None)
        if isinstance(module.__dict__.get("forward"), _Restricted):
            del module.forward


def refuse_additions(model: nn.Module) -> None:
    """Raise `ConfigError` where a checkpoint of `model` would be read without something."""
    for name, module in model.named_modules():
        found = None
        if isinstance(module._parameters.get("bias"), AddedBias):
            found = f"{name} has got a bias (method.compensation=false adds none)"
        if isinstance(module.__dict__.get("forward"), _Restricted):
            found = f"{name} chooses among some of its experts"
        if found is not None:
            raise ConfigError(
                f"save_model: expected a model that its architecture can hold, but {found}, for "
                "which no checkpoint of it has a place. Type save_model=null, or leave the method "
                "out of this sweep."
            )
