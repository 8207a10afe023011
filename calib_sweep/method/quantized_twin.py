"""A model that compressed-tensors rounds at every call, read off as one that is rounded already.

    W'   = rounding of the module's weight, by the library's own function
    q(x) = rounding of the module's input, by the same, each token by itself

With these a plain model computes what the library's model computes, to the last bit.

Shapes: O, I = out_features, in_features.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from calib_sweep.method.whole_model import CompressedModel, ToolError

ROUNDING = "compressed_tensors.quantization.lifecycle.forward"
# What the library hangs on a module that it quantises, beside its weight.
ITS_OWN = ("weight_", "input_", "output_")


def library(module: str) -> Any:
    """Import a module of a library that may not be there, or has no types."""
    return importlib.import_module(module)


class QuantizedInput:
    """Rounds inputs [..., I] as the library does in front of a layer."""

    def __init__(self, module: Any, args: Any) -> None:
        kept = ("scale", "zero_point", "global_scale")
        found = {name: getattr(module, f"input_{name}", None) for name in kept}
        self._args = args
        self._kept = {k: v.detach().clone() for k, v in found.items() if v is not None}
        how = "dynamic" if args.dynamic else "static"
        self.__name__ = f"{args.type}{args.num_bits} per {args.strategy}, {how}"

    def __call__(self, inputs: Tensor) -> Tensor:
        rounding, scales = library(ROUNDING), library("compressed_tensors.quantization.utils")
        kept = {key: value.to(inputs.device) for key, value in self._kept.items()}
        factor, scale = kept.get("global_scale"), kept.get("scale")
        zero_point = kept.get("zero_point")
        if self._args.dynamic:
            module: Any = None  # it is asked for, and not looked at
            scale, zero_point = scales.compute_dynamic_scales_and_zp(
                inputs, self._args, module, global_scale=factor
            )
        return rounding.fake_quantize(inputs, scale, zero_point, self._args, global_scale=factor)


def taken_from(twin: Any) -> CompressedModel:
    """Read off the twin what a plain model with its weights would have to compute."""
    rounding = library(ROUNDING)
    quantized = {
        name: module
        for name, module in twin.named_modules()
        if getattr(module, "quantization_scheme", None) is not None
    }
    weights = {
        name: parameter.detach().cpu()
        for name, parameter in twin.named_parameters()
        if not _is_its_own(name, quantized)
    }
    bits: dict[str, float] = {}
    inputs: dict[str, Any] = {}
    for name, module in quantized.items():
        scheme = module.quantization_scheme
        _refuse_untold(name, module, scheme)
        if scheme.weights is not None:
            dense_OI = module.weight.detach()
            rounded = rounding.forward_quantize(module, dense_OI, "weight", scheme.weights)
            weights[f"{name}.weight"] = rounded.cpu()
            bits[name] = _bits(module, scheme.weights)
        if scheme.input_activations is not None:
            inputs[name] = QuantizedInput(module, scheme.input_activations)
    return CompressedModel(weights=weights, bits=bits, input_quantizers=inputs)


def _is_its_own(name: str, quantized: Mapping[str, Any]) -> bool:
    """Tell what the library hung on a module from what the model is made of."""
    owner, _, last = name.rpartition(".")
    return owner in quantized and last.startswith(ITS_OWN)


def _refuse_untold(name: str, module: Any, scheme: Any) -> None:
    """Raise for what a weight and a quantiser of inputs, each token by itself, cannot stand for."""
    inputs = scheme.input_activations
    if scheme.output_activations is not None or not hasattr(module, "weight"):
        raise ToolError(
            f"llm-compressor: the recipe quantises outputs or caches ({name}), which stay as they "
            "are here. Leave that out of the recipe."
        )
    if inputs is not None and inputs.dynamic and inputs.strategy == "tensor":
        raise ToolError(
            f"llm-compressor: the recipe has one scale for all inputs of a call ({name}), so that "
            "scores would depend on what is scored together. Use the strategy token."
        )


def _bits(module: Any, args: Any) -> float:
    """Return the bits per weight, its share of scales and zero points included."""
    is_microscaled = args.type == "float" and args.num_bits == 4
    each = (8 if is_microscaled else 16) + (0 if args.symmetric else args.num_bits)
    total = module.weight_scale.numel() * each
    if getattr(module, "weight_global_scale", None) is not None:
        total += 32
    return args.num_bits + total / module.weight.numel()
