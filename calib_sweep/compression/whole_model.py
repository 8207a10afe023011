"""Compressing a model as a whole: hand it over, check what comes back, put it in place, report.

Nothing of the model is changed before all that came back is in order: the same parameters, the same
shapes, finite. The account of a layer comes from comparing its weight before and after.

Shapes: N = samples, T = tokens of a sample, O, I = out_features, in_features.
"""

import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from calib_sweep.compression.given import checked_tokens
from calib_sweep.compression.layer import LayerError, LayerReport
from calib_sweep.errors import ConfigError
from calib_sweep.method.whole_model import CompressedModel, ToolError, WholeModelMethod
from calib_sweep.model.blocks import DecoderBlock, LinearLayer, enumerate_blocks
from calib_sweep.model.input_quantizer import name_of, set_input_quantizer
from calib_sweep.model.placement import onload, without_visits
from calib_sweep.model.saving import save_dense
from calib_sweep.model.weight_files import some

logger = logging.getLogger(__name__)

UNCHANGED = "weight left as it was"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What goes beside model and tokens into the hands of a method of whole models."""

    tokenizer: Callable[[], Any]
    write_set: Callable[[Path], None]  # into a folder that is not there yet
    read_model: Callable[[Path, str], nn.Module]  # in a dtype, on the CPU


@dataclass(frozen=True, kw_only=True)
class HandedModel:
    """A model as a method gets it: `method.whole_model.Handed`."""

    model: Any
    samples: Sequence[Tensor]
    beside: Beside

    @property
    def tokenizer(self) -> Any:
        return self.beside.tokenizer()

    def private_copy(self) -> Any:
        """Copy the model to the CPU: without hooks of ours, without a second one on the GPU."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        memo: dict[int, Any] = {id(tensor): _on_cpu(tensor) for tensor in tensors}
        with without_visits(self.model):
            twin = copy.deepcopy(self.model, memo)
        for module in twin.modules():
            set_input_quantizer(module, None)
        twin.get_input_embeddings()._forward_pre_hooks.clear()
        return twin

    def write_model(self, folder: Path) -> None:
        save_dense(self.model, self.tokenizer, folder)

    def write_set(self, folder: Path) -> None:
        self.beside.write_set(folder)

    def read_weights(self, folder: Path) -> Mapping[str, Tensor]:
        dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")
        return dict(self.beside.read_model(folder, dtype).named_parameters())


def compress_whole(
    model: nn.Module,
    method: WholeModelMethod,
    data: tuple[Tensor | None, Tensor | None, Tensor | None],
    beside: Beside | None,
) -> list[LayerReport]:
    """Compress `model` in place. `data`: tokens, lengths and weights."""
    if beside is None:
        raise ConfigError(
            f"method={type(method).__name__}: expected a tokenizer and a set beside the model. "
            "Call calib_sweep.compress, which finds them."
        )
    start_s = time.perf_counter()
    handed = HandedModel(model=model, samples=_samples(method, data), beside=beside)
    made = method.compress_model(handed)
    parameters = dict(model.named_parameters())
    weights = _checked(parameters, _without_aliases(model, made.weights))
    for name in made.input_quantizers:
        model.get_submodule(name)  # of a module that is there
    blocks = enumerate_blocks(model)
    reports = [row for block in blocks for row in _put_in_place(model, block, weights, made)]
    changed = _put_the_rest(parameters, blocks, weights)
    if not (changed or made.input_quantizers or any(row["note"] is None for row in reports)):
        _say_unchanged(method)
    for name, quantizer in made.input_quantizers.items():
        set_input_quantizer(model.get_submodule(name), quantizer)
    share_s = (time.perf_counter() - start_s) / max(len(reports), 1)
    return [LayerReport(**{**row, "seconds": share_s}) for row in reports]


def _samples(
    method: WholeModelMethod, data: tuple[Tensor | None, Tensor | None, Tensor | None]
) -> list[Tensor]:
    tokens_NT, lengths_N, weights_NT = data
    if not method.needs_data:
        return []
    tokens_NT = checked_tokens([method], tokens_NT, lengths_N)
    if weights_NT is not None:
        raise ConfigError(
            f"weights: expected none with {type(method).__name__}, which counts every token once. "
            "Type calibration.weighting=tokens."
        )
    num_samples, seq_len = tokens_NT.shape
    ends = [seq_len] * num_samples if lengths_N is None else lengths_N.tolist()
    return [row_T[:end].cpu() for row_T, end in zip(tokens_NT, ends, strict=True)]


def _without_aliases(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out the second names of shared parameters; `ToolError` where they are shared no more.

    Of a model whose head is its embedding, a tool may give back both.
    """
    first: dict[int, str] = {}
    aliases: dict[str, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            aliases[name] = first[id(parameter)]
    for name, main in aliases.items():
        if name in weights and not torch.equal(weights[name], weights.get(main, weights[name])):
            raise ToolError(
                f"the compressed model has two matrices in {main} and {name}, which are one in the "
                "dense model. Only weights may change, not what a model is made of."
            )
    return {name: weight for name, weight in weights.items() if name not in aliases}


def _checked(
    parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return a tensor for each parameter of the model; `ToolError` names those that do not fit."""
    lacking = [name for name in parameters if name not in weights]
    unknown = [name for name in weights if name not in parameters]
    if lacking or unknown:
        found = [f"without {some(lacking)}"] if lacking else []
        found += [f"with {some(unknown)}"] if unknown else []
        raise ToolError(
            f"the compressed model has other parameters than the dense one: {'; '.join(found)}. "
            "Only weights may change, not what a model is made of."
        )
    misshapen = [
        f"{name} of shape {tuple(weights[name].shape)}, which was {tuple(old.shape)}"
        for name, old in parameters.items()
        if weights[name].shape != old.shape
    ]
    if misshapen:
        raise ToolError(
            f"the compressed model has other shapes: {some(misshapen, 3)}. Zeros stand for what "
            "is removed; a smaller model can be scored by model=hf model.path=FOLDER method=dense."
        )
    cast = {name: weights[name].detach().to(old.dtype) for name, old in parameters.items()}
    for name, new in cast.items():
        if not bool(torch.isfinite(new).all()):
            raise LayerError(f"{name}: the compressed weight is not finite in {new.dtype}.")
    return cast


def _put_in_place(
    model: nn.Module, block: DecoderBlock, weights: Mapping[str, Tensor], made: CompressedModel
) -> list[dict[str, Any]]:
    """Give a block its new parameters; return rows of reports, without seconds."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    paths = {id(module): name for name, module in model.named_modules()}
    with onload(block.module):
        before = {name: layer.weight_OI().clone() for name, layer in block.layers.items()}
        for parameter in block.module.parameters():
            parameter.data.copy_(weights[names[id(parameter)]])
        rows: list[dict[str, Any]] = []
        for name, layer in block.layers.items():
            new_OI = layer.weight_OI()
            path = paths[id(layer.module)] if isinstance(layer, LinearLayer) else None
            quantizer = None if path is None else made.input_quantizers.get(path)
            rows.append(
                {
                    "block": block.index,
                    "layer": name,
                    "num_out": new_OI.shape[0],
                    "num_in": new_OI.shape[1],
                    "sparsity": int((new_OI == 0).sum()) / new_OI.numel(),
                    "bits": None if path is None else made.bits.get(path),
                    "output_error": None,  # it takes the inputs, which only the tool has seen
                    "damping": None,
                    "num_tokens": None,
                    "products": None,
                    "note": UNCHANGED if torch.equal(new_OI, before[name]) else None,
                    "input_quantizer": None if quantizer is None else name_of(quantizer),
                }
            )
    return rows


def _put_the_rest(
    parameters: Mapping[str, nn.Parameter],
    blocks: Sequence[DecoderBlock],
    weights: Mapping[str, Tensor],
) -> list[str]:
    """Give everything outside of blocks its new values; return and say what of it has changed."""
    inside = {id(parameter) for block in blocks for parameter in block.module.parameters()}
    changed: list[str] = []
    for name, parameter in parameters.items():
        if id(parameter) in inside:
            continue
        new = weights[name].to(parameter.device)
        if not torch.equal(new, parameter.data):
            changed.append(name)
            parameter.data.copy_(new)
    if changed:
        logger.info("changed outside of decoder blocks as well: %s", some(changed))
    return changed


def _say_unchanged(method: WholeModelMethod) -> None:
    said = f"{type(method).__name__} left every weight as it was"
    if method.must_change:
        raise ToolError(
            f"{said}: do its targets name layers of this model? Of modifiers that prune, targets "
            "have to be a list: [Linear]."
        )
    logger.warning("%s", said)


def _on_cpu(tensor: Tensor) -> Tensor:
    own = tensor.detach().to("cpu", copy=True)
    is_parameter = isinstance(tensor, nn.Parameter)
    return nn.Parameter(own, requires_grad=False) if is_parameter else own
