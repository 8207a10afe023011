"""Rotating the residual stream of a model: other weights, the same logits.

Hidden states h become h Q, Q orthogonal, as QuaRot (Ashkboos et al. 2024, arXiv:2404.00456) and
SliceGPT (arXiv:2401.15024) do it. A norm without a gain, h / rms(h), commutes with Q, so gains
first go into the matrices that read what a norm gives:

    embedding                E <- E Q
    readers (q, k, v,        W <- W diag(g) Q       g the gain of the norm before them
      gate, up, routers, head)
    norms                    g <- 1
    writers (o, down)        W <- Q^T W,  b <- Q^T b

Sums and products are float64, weights are stored as they were: in float32 logits move by rounding
alone, in half precision every weight is rounded once more. A head that is the embedding gets a
matrix of its own, as the gain of the last norm is in it alone.

Known are families with such norms before attention and MLP, and nowhere else on the stream.
LayerNorm takes a mean out, which Q does not keep (QuaRot puts other norms in its place, so other
software could not load the model); a norm of what is added has a gain that cannot move.

Shapes: O, I = out_features, in_features, D = hidden size, R rows.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import ROUTERS, DecoderBlock, Layer, LinearLayer, enumerate_blocks
from calib_sweep.model.placement import onload

Turn = Callable[[Tensor], Tensor]  # x -> x Q along the last axis
Undo = Callable[[], None]

AT_ONCE = 2**24  # numbers in float64: it bounds memory and moves no result

# Classes of blocks, as transformers calls them, and what their norms add to their weight.
NORM_OFFSETS = {
    "LlamaDecoderLayer": 0.0,
    "MistralDecoderLayer": 0.0,
    "Qwen2DecoderLayer": 0.0,
    "Qwen3DecoderLayer": 0.0,
    "GraniteDecoderLayer": 0.0,
    "SmolLM3DecoderLayer": 0.0,
    "Phi3DecoderLayer": 0.0,
    "MixtralDecoderLayer": 0.0,
    "Qwen2MoeDecoderLayer": 0.0,
    "Qwen3MoeDecoderLayer": 0.0,
    "GptOssDecoderLayer": 0.0,
    "GemmaDecoderLayer": 1.0,
}
LAYER_NORM = "its LayerNorm takes a mean out, which a rotation does not keep"
NORMS_SUMMANDS = "it norms what attention and MLP add, by gains that no matrix can take"
REASONS = {
    "OPTDecoderLayer": LAYER_NORM,
    "GPT2Block": LAYER_NORM,
    "GPTNeoXLayer": LAYER_NORM,
    "BloomBlock": LAYER_NORM,
    "FalconDecoderLayer": LAYER_NORM,
    "PhiDecoderLayer": LAYER_NORM,
    "StableLmDecoderLayer": LAYER_NORM,
    "CohereDecoderLayer": LAYER_NORM,
    "Gemma2DecoderLayer": NORMS_SUMMANDS,
    "Gemma3DecoderLayer": NORMS_SUMMANDS,
    "Olmo2DecoderLayer": NORMS_SUMMANDS,
    "Olmo3DecoderLayer": NORMS_SUMMANDS,
}
LAST_NORM = "model.norm"
ATTENTION_NORM, MLP_NORM = "input_layernorm", "post_attention_layernorm"
DOWN = ("down_proj", "w2")  # of MLPs and experts, by the last part of their names
WRITERS = ("o_proj", *DOWN)  # all other layers read


class _Ends(NamedTuple):
    """What reads and writes the stream outside of the blocks."""

    embedding: nn.Module
    head: nn.Module
    norm: nn.Module


def check_rotation(model: nn.Module) -> None:
    """Raise `ConfigError` unless it is known how the residual stream of `model` is rotated."""
    for name in {type(block.module).__name__ for block in enumerate_blocks(model)}:
        if name not in NORM_OFFSETS:
            reason = REASONS.get(name, "nobody has told how")
            raise ConfigError(
                f"rotation: expected a model of {', '.join(sorted(NORM_OFFSETS))}, and {name} "
                f"cannot be rotated: {reason}. Type rotation=null."
            )
    if dict(model.named_modules()).get(LAST_NORM) is None:
        raise ConfigError(
            f"rotation: expected a model of text alone, whose last norm is {LAST_NORM}, but "
            f"{type(model).__name__} has none. Type rotation=null."
        )


@torch.no_grad()
def rotate(model: nn.Module, turn: Turn) -> Undo:
    """Rotate the residual stream in place; return what undoes it, but for values of parameters."""
    check_rotation(model)
    blocks = enumerate_blocks(model)
    offset = NORM_OFFSETS[type(blocks[0].module).__name__]
    ends = _ends(model)
    undo = _untie(model, ends)
    turn_rows(_weight(ends.embedding), None, turn)
    for block in blocks:
        with onload(block.module):
            _rotate_block(block, offset, turn)
    turn_rows(_weight(ends.head), _take_gain(ends.norm, offset), turn)
    return undo


def _rotate_block(block: DecoderBlock, offset: float, turn: Turn) -> None:
    gains = {
        norm: _take_gain(block.module.get_submodule(norm), offset)
        for norm in (ATTENTION_NORM, MLP_NORM)
    }
    for name, layer in block.layers.items():
        if name.rpartition(".")[2] in WRITERS:
            _rotate_writer(layer, turn)
            continue
        norm = ATTENTION_NORM if name.startswith("self_attn.") else MLP_NORM
        weight_OI = layer.weight_OI().clone()
        turn_rows(weight_OI, gains[norm], turn)
        layer.set_weight_OI(weight_OI)
    for router in _routers(block.module):
        turn_rows(_weight(router), gains[MLP_NORM], turn)


def _rotate_writer(layer: Layer, turn: Turn) -> None:
    weight_IO = layer.weight_OI().T.contiguous()
    turn_rows(weight_IO, None, turn)
    layer.set_weight_OI(weight_IO.T)
    bias_O = _bias(layer)
    if bias_O is not None:
        turn_rows(bias_O[None], None, turn)


def _bias(layer: Layer) -> Tensor | None:
    """Return the bias of a writer, a view."""
    if isinstance(layer, LinearLayer):
        return layer.module.bias
    bias_EO = dict(layer.experts.named_parameters()).get(f"{layer.parameter}_bias")
    return None if bias_EO is None else bias_EO[layer.expert]


def _routers(block: nn.Module) -> Iterator[nn.Module]:
    for module in block.modules():
        children = dict(module.named_children())
        if "experts" in children:
            yield from (child for name, child in children.items() if name in ROUTERS)


def _take_gain(norm: nn.Module, offset: float) -> Tensor:
    """Return the gain of a norm [D], float64, and set it to 1."""
    weight_D = _weight(norm)
    gain_D = weight_D.to(torch.float64) + offset
    weight_D.fill_(1 - offset)
    return gain_D


def turn_rows(weight_RD: Tensor, gain_D: Tensor | None, turn: Turn) -> None:
    """W <- W diag(g) Q in place, some rows at once."""
    for part_RD in weight_RD.split(max(1, AT_ONCE // weight_RD.shape[1])):
        wide_RD = part_RD.to(torch.float64)
        part_RD.copy_(turn(wide_RD if gain_D is None else wide_RD * gain_D.to(wide_RD.device)))


def _weight(module: nn.Module) -> Tensor:
    return module.get_parameter("weight").detach()


def _ends(model: Any) -> _Ends:
    norm = model.get_submodule(LAST_NORM)
    return _Ends(model.get_input_embeddings(), model.get_output_embeddings(), norm)


def _untie(model: Any, ends: _Ends) -> Undo:
    """Give the head a matrix of its own; return what ties it again where it was tied."""
    head: Any = ends.head
    embedding: Any = ends.embedding
    if head.weight is not embedding.weight:
        return lambda: None
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    configs = [model.config, model.config.get_text_config()]  # of such a model mostly one
    for config in configs:
        config.tie_word_embeddings = False

    def tie() -> None:
        head.weight = embedding.weight
        for config in configs:
            config.tie_word_embeddings = True

    return tie
