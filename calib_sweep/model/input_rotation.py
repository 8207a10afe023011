"""Rotations of the inputs of linear layers, put in front of their modules and taken away again.

    y = (W Q) (Q^T x) + b,   Q orthogonal: as before, but for what stands between the two

A rotation is a hook that runs before the module, and before a quantiser of its input that is set
later. No checkpoint can hold it.
"""

from collections.abc import Callable

from torch import Tensor, nn

from calib_sweep.errors import ConfigError
from calib_sweep.model.calls import pre_hooks_of, remove_pre_hooks, with_first_tensor

InputRotation = Callable[[Tensor], Tensor]  # same shape and dtype as what goes in


class _RotatedInput:
    """The hook; its class tells it from hooks of others."""

    def __init__(self, rotation: InputRotation) -> None:
        self.rotation = rotation

    def __call__(
        self, _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        return with_first_tensor(self.rotation, args, kwargs)


def rotate_input(module: nn.Module, rotation: InputRotation) -> None:
    """Have `module` rotate its input before anything else is done to it."""
    assert not has_rotated_input(module), module
    hook = _RotatedInput(rotation)
    module.register_forward_pre_hook(hook, with_kwargs=True, prepend=True)


def has_rotated_input(module: nn.Module) -> bool:
    return bool(pre_hooks_of(module, _RotatedInput))


def remove_input_rotations(model: nn.Module) -> None:
    """Take all of them away; weights stay rotated until they are restored."""
    for module in model.modules():
        remove_pre_hooks(module, _RotatedInput)


def refuse_input_rotations(model: nn.Module) -> None:
    """Raise `ConfigError` where a checkpoint of `model` would leave rotations of inputs out."""
    for name, module in model.named_modules():
        if has_rotated_input(module):
            raise ConfigError(
                "save_model: expected a model that its weights say all about, but the inputs of "
                f"{name} are rotated, which no checkpoint written here can hold. Type "
                "save_model=null, or rotation.online=false."
            )
