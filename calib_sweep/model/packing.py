"""Weights on grids packed, in the form of the `compressed-tensors` library.

    weight_packed       codes of integers, one after the other along a row; of FP4 two in a byte
    weight              FP8 numbers
    weight_scale        [O, G]; a weight is scale * (q - zero point)
    weight_zero_point   codes too, packed down a column; asymmetric grids only
    weight_global_scale what the scales of NVFP4 are divided by
    weight_shape        O, I; of integers

The codes are worked out from weights and grids, and unpacked again before anything is written: they
give back the very weights. `packed_layouts.py` knows the formats. Only a scale in half precision
rounds: a loaded weight then differs from
the one that was scored by a few units in its last place; in float32 it is equal.

What a weight is called in a checkpoint is asked of transformers: numbered labels are sent through
its own conversion in the place of weights. Experts fused in memory are separate again on disk.

Shapes: O, I = out_features, in_features, G = groups per row.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from calib_sweep import valid_json
from calib_sweep.errors import ConfigError, require
from calib_sweep.method.grids.weight_format import WeightFormat, WeightGrid
from calib_sweep.model.blocks import Layer, LinearLayer, enumerate_blocks
from calib_sweep.model.experts import ExpertLinear
from calib_sweep.model.packed_layouts import (
    DENSE,
    Layout,
    check_dtype,
    layout_of,
    misfit,
    refused,
)
from calib_sweep.model.saving import write_checkpoint

if TYPE_CHECKING:
    from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Key = tuple[int, str]  # index of a block, name of a layer in it

LEAST_TRANSFORMERS = (5, 23)  # older ones mistake the shape of packed zero points


def save_packed(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    grids: Mapping[Key, WeightGrid],
    form: WeightFormat,
) -> None:
    """Write model and tokenizer as a packed checkpoint, which transformers and vLLM read."""
    layout = layout_of(form)
    scheme = _scheme(layout)
    state, dense = _packed_state(model, grids, layout, scheme)
    write_checkpoint(model, tokenizer, folder, state_dict=state, save_original_format=False)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["quantization_config"] = _settings(scheme, dense).model_dump(mode="json")
    path.write_text(valid_json.dumps(config, indent=2) + "\n", encoding="utf-8")


def check_packable(name: str, model: "PreTrainedModel", form: WeightFormat, dtype: str) -> None:
    """Raise `ConfigError` unless every layer of `model` can be packed; no weight is read."""
    _check_library("save_model", "compressed-tensors")
    layout = layout_of(form)
    check_dtype(layout, dtype)
    names = checkpoint_names(model)
    for key, layer in _layers(model).items():
        if key not in names or (isinstance(layer, LinearLayer) and layer.is_transposed):
            reason = "is stored transposed or fused with others", DENSE
        else:
            num_in = layer.weight_OI().shape[1]
            reason = misfit(layout, form, dtype, num_in, isinstance(layer, ExpertLinear))
        if reason is not None:
            raise refused(name, f"block {key[0]} {key[1]}", *reason)


def reading_settings(path: str, config: "PretrainedConfig") -> dict[str, "PretrainedConfig"]:
    """Return what `from_pretrained` needs to make a packed checkpoint an ordinary dense model."""
    found = getattr(config, "quantization_config", None)
    if found is None:
        return {}
    assert isinstance(found, dict), type(found)
    form = found.get("quant_method")
    require(
        form == "compressed-tensors",
        "model.path",
        path,
        f"plain weights, or weights packed by compressed-tensors, but {form} has quantized them",
        "Set model.path to the model from which it was made.",
    )
    _check_library("model.path", path)
    config.quantization_config = {**found, "dequantize": True}
    return {"config": config}


def checkpoint_names(model: "PreTrainedModel") -> dict[Key, str]:
    """Name in a checkpoint of every layer's weight; without those that have no tensor of their own.

    A label is a tensor as small as can be split like the weight it stands for. It holds the number
    of its layer, 0 for none.
    """
    from transformers.core_model_loading import revert_weight_conversion

    labels = {name: torch.zeros(1) for name in model.state_dict()}
    paths = {id(module): name for name, module in model.named_modules()}
    layers = _layers(model)
    for number, layer in enumerate(layers.values(), start=1):
        if isinstance(layer, LinearLayer):
            labels[f"{paths[id(layer.module)]}.weight"] = torch.full((1, 1), float(number))
            continue
        name = f"{paths[id(layer.experts)]}.{layer.parameter}"
        if labels[name].ndim == 1:
            num_experts = len(getattr(layer.experts, layer.parameter))
            labels[name] = torch.zeros(num_experts, layer.num_parts, 1)
        labels[name][layer.expert, layer.part, 0] = number
    keys = [None, *layers]
    found = revert_weight_conversion(model, labels)
    named = {keys[int(label)]: name for name, label in found.items() if label.numel() == 1}
    return {key: name for key, name in named.items() if key is not None}


def _packed_state(
    model: "PreTrainedModel",
    grids: Mapping[Key, WeightGrid],
    layout: Layout,
    scheme: "QuantizationScheme",
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of the checkpoint, and the names of matrices that stay as they are."""
    from transformers.core_model_loading import revert_weight_conversion

    names, layers = checkpoint_names(model), _layers(model)
    state = dict(revert_weight_conversion(model, model.state_dict()))
    for key, name in names.items():
        if key not in grids:
            raise ConfigError(
                f"grids: expected one of every layer, but that of block {key[0]} {key[1]} is "
                "missing. Call compress(..., keep_grids=True), which leaves them in its reports."
            )
        weight_OI = state.pop(name)
        assert torch.equal(weight_OI, layers[key].weight_OI()), name
        packed = _packed(weight_OI, grids[key], layout, scheme)
        state |= {f"{name.removesuffix('weight')}{part}": x for part, x in packed.items()}
    packed_names = set(names.values())
    matrices = [n for n, tensor in state.items() if tensor.ndim == 2 and n not in packed_names]
    dense = [name.removesuffix(".weight") for name in matrices if name.endswith(".weight")]
    return state, dense


def _packed(
    weight_OI: Tensor, grid: WeightGrid, layout: Layout, scheme: "QuantizationScheme"
) -> dict[str, Tensor]:
    from compressed_tensors.compressors import BaseCompressor

    scales = {k: v.to(weight_OI.device).contiguous() for k, v in layout.scales(grid).items()}
    library: Any = BaseCompressor.get_value_from_registry(layout.name)
    packed = library.compress({"weight": weight_OI.to(torch.float32), **scales}, scheme)
    unpacked = library.decompress(packed, scheme)["weight"].to(weight_OI.dtype)
    assert torch.equal(unpacked, weight_OI), "the weight does not lie on its grid"
    if layout.rounds_scales:
        packed["weight_scale"] = packed["weight_scale"].to(weight_OI.dtype)
    return packed


def _scheme(layout: Layout) -> "QuantizationScheme":
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    weights = QuantizationArgs.model_validate(layout.arguments)
    return QuantizationScheme.model_validate(
        {"targets": ["Linear"], "weights": weights, "format": layout.name}
    )


def _settings(scheme: "QuantizationScheme", dense: list[str]) -> "QuantizationConfig":
    from compressed_tensors.quantization import QuantizationConfig

    return QuantizationConfig.model_validate(
        {
            "config_groups": {"group_0": scheme},
            "format": scheme.format,
            "quantization_status": "compressed",
            "ignore": dense,
        }
    )


def _layers(model: "PreTrainedModel") -> dict[Key, Layer]:
    return {
        (block.index, name): layer
        for block in enumerate_blocks(model)
        for name, layer in block.layers.items()
    }


def _check_library(key: str, value: str) -> None:
    try:
        import compressed_tensors  # noqa: F401
        import transformers
    except ImportError:
        is_there = False
    else:
        is_there = tuple(map(int, transformers.__version__.split(".")[:2])) >= LEAST_TRANSFORMERS
    least = ".".join(map(str, LEAST_TRANSFORMERS))
    require(
        is_there,
        key,
        value,
        f"the library compressed-tensors, and transformers {least} or newer",
        "Run pip install 'calib-sweep[compressed-tensors]'.",
    )
