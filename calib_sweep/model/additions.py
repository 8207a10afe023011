"""What a structured method adds to a model beside its weights, and takes away again: biases.

A bias of a layer that came without one is a parameter like any other, but no checkpoint of the
architecture has a place for it: saving such a model is refused.

Shapes: O = out_features.
"""

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


def remove_additions(model: nn.Module) -> None:
    """Take all of them away: with its dense weights `model` computes what it did."""
    for module in model.modules():
        if isinstance(module._parameters.get("bias"), AddedBias):
            module.register_parameter("bias", None)


def refuse_additions(model: nn.Module) -> None:
    """Raise `ConfigError` where a checkpoint of `model` would be read without something."""
    for name, module in model.named_modules():
        if isinstance(module._parameters.get("bias"), AddedBias):
            raise ConfigError(
                f"save_model: expected a model that its architecture can hold, but {name} has got "
                "a bias, for which no checkpoint of it has a place. Type save_model=null, or "
                "leave the method out of this sweep. method.compensation=false adds no bias."
            )
