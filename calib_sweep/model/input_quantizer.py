"""Quantisers of the inputs of linear layers, put in front of their modules and taken away again.

    y = W' q(x) + b,   q what the cell's `activations` say, or what a method hands back beside W'
                       (`CompressedWeight.input_quantizer`)

A quantiser is a hook that runs before the module, so evaluation and propagation run with it. It is
no part of the weights: a checkpoint cannot hold it, and saving such a model is refused.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from calib_sweep.errors import ConfigError
from calib_sweep.model.calls import pre_hooks_of, remove_pre_hooks, with_first_tensor

InputQuantizer = Callable[[Tensor], Tensor]  # same shape and dtype as what goes in


class _QuantizedInput:
    """The hook; its class tells it from hooks of others."""

    def __init__(self, quantizer: InputQuantizer) -> None:
        self.quantizer = quantizer
        self.is_on = True

    def __call__(
        self, _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        if not self.is_on:
            return args, kwargs
        return with_first_tensor(self.quantizer, args, kwargs)


class SharedQuantizer:
    """Quantises a tensor once for all layers that read it: they still read one tensor.

    So what is known of their inputs is found to be the same, and is computed once. A result is kept
    as long as the tensor that went in. What an inference tensor holds may change unseen: it is
    quantised for every layer anew.
    """

    def __init__(self, quantizer: InputQuantizer) -> None:
        self.quantizer = quantizer
        self._known = WeakTensorKeyDictionary()  # tensor -> its version then, what came out

    def __call__(self, inputs: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or inputs.is_inference():
            return self.quantizer(inputs)
        known: tuple[int, Tensor] | None = self._known.get(inputs)
        if known is None or known[0] != inputs._version:
            known = inputs._version, self.quantizer(inputs)
            self._known[inputs] = known
        return known[1]


def set_input_quantizer(module: nn.Module, quantizer: InputQuantizer | None) -> None:
    """Have `module` quantise its input, or None: not quantise it; one it has goes."""
    remove_pre_hooks(module, _QuantizedInput)
    if quantizer is not None:
        module.register_forward_pre_hook(_QuantizedInput(quantizer), with_kwargs=True)


def input_quantizer_of(module: nn.Module) -> InputQuantizer | None:
    """Return what `module` puts its input through; None: nothing."""
    return next((hook.quantizer for hook in _hooks_of(module)), None)


@contextmanager
def without_input_quantizers(model: nn.Module) -> Iterator[None]:
    """Have all modules of `model` read their inputs as they come, and quantise them afterwards."""
    hooks = [hook for module in model.modules() for hook in _hooks_of(module) if hook.is_on]
    for hook in hooks:
        hook.is_on = False
    try:
        yield
    finally:
        for hook in hooks:
            hook.is_on = True


def quantizes_inputs(model: nn.Module) -> bool:
    """Tell whether any module of `model` quantises its input."""
    return any(_hooks_of(module) for module in model.modules())


def _hooks_of(module: nn.Module) -> list[_QuantizedInput]:
    return pre_hooks_of(module, _QuantizedInput)


def remove_input_quantizers(model: nn.Module) -> None:
    """Take all of them away: with its dense weights `model` computes what it did."""
    for module in model.modules():
        set_input_quantizer(module, None)


def refuse_input_quantizers(model: nn.Module) -> None:
    """Raise `ConfigError` where a checkpoint of `model` would leave quantisers of inputs out."""
    for name, module in model.named_modules():
        if _hooks_of(module):
            raise ConfigError(
                "save_model: expected a model that its weights say all about, but the inputs of "
                f"{name} are quantised, which no checkpoint written here can hold. Type "
                "save_model=null, or leave the method out of this sweep."
            )


def name_of(quantizer: InputQuantizer) -> str:
    """Return the name that a report gives it: its label, that of the function, or of the class."""
    if isinstance(quantizer, SharedQuantizer):
        return name_of(quantizer.quantizer)
    return getattr(quantizer, "label", None) or getattr(
        quantizer, "__name__", type(quantizer).__name__
    )
