"""Quantisers of the inputs of linear layers, put in front of their modules and taken away again.

    y = W' q(x) + b,   q what a method hands back beside W' (`CompressedWeight.input_quantizer`)

A quantiser is a hook that runs before the module, so evaluation and propagation run with it. It is
no part of the weights: a checkpoint cannot hold it, and saving such a model is refused.
"""

from collections.abc import Callable

from torch import Tensor, nn

from calib_sweep.errors import ConfigError
from calib_sweep.model.calls import first_tensor

InputQuantizer = Callable[[Tensor], Tensor]  # same shape and dtype as what goes in


class _QuantizedInput:
    """The hook; its class tells it from hooks of others."""

    def __init__(self, quantizer: InputQuantizer) -> None:
        self.quantizer = quantizer

    def __call__(
        self, _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        quantized = self.quantizer(first_tensor(args, kwargs))
        if args:
            return (quantized, *args[1:]), kwargs
        return args, kwargs | {next(iter(kwargs)): quantized}


def set_input_quantizer(module: nn.Module, quantizer: InputQuantizer | None) -> None:
    """Have `module` quantise its input, or None: not quantise it; one it has goes."""
    hooks = module._forward_pre_hooks
    for key in [key for key, hook in hooks.items() if isinstance(hook, _QuantizedInput)]:
        del hooks[key]
        module._forward_pre_hooks_with_kwargs.pop(key, None)
    if quantizer is not None:
        module.register_forward_pre_hook(_QuantizedInput(quantizer), with_kwargs=True)


def remove_input_quantizers(model: nn.Module) -> None:
    """Take all of them away: with its dense weights `model` computes what it did."""
    for module in model.modules():
        set_input_quantizer(module, None)


def refuse_input_quantizers(model: nn.Module) -> None:
    """Raise `ConfigError` where a checkpoint of `model` would leave quantisers of inputs out."""
    for name, module in model.named_modules():
        if any(isinstance(hook, _QuantizedInput) for hook in module._forward_pre_hooks.values()):
            raise ConfigError(
                "save_model: expected a model that its weights say all about, but the inputs of "
                f"{name} are quantised, which no checkpoint written here can hold. Type "
                "save_model=null, or leave the method out of this sweep."
            )


def name_of(quantizer: InputQuantizer) -> str:
    """Return the name that a report gives it: of the function, or of the class."""
    return getattr(quantizer, "__name__", type(quantizer).__name__)
