"""Random LLaMAs of any shape, and what a walk over them has to compute at least.

Weights are drawn on the device that computes, block by block, from a seeded generator: a 7B model
in a second, again for every method. Tokens are uniform.

Shapes: N samples, T tokens of all samples, S tokens of a sample, D hidden size, M intermediate
size, L blocks. Units: FLOP, two per multiplication with addition.
"""

from dataclasses import dataclass, replace

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from calib_sweep.model import placement
from calib_sweep.model.blocks import decoder_blocks
from calib_sweep.model.placement import onload

WEIGHT_SD = 0.02  # as transformers initialises LLaMA


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    num_blocks: int
    num_heads: int
    vocab: int
    num_samples: int
    seq_len: int
    num_kv_heads: int | None = None  # None: as many as heads

    @property
    def num_tokens(self) -> int:
        return self.num_samples * self.seq_len

    def with_blocks(self, num_blocks: int | None) -> "Shape":
        return self if num_blocks is None else replace(self, num_blocks=num_blocks)

    def layer_shapes(self) -> list[tuple[int, int]]:
        """(out_features, in_features) of a block's linear layers."""
        hidden, inner = self.hidden, self.intermediate
        keys = hidden // self.num_heads * (self.num_kv_heads or self.num_heads)
        attention = [(hidden, hidden), (keys, hidden), (keys, hidden), (hidden, hidden)]
        return attention + [(inner, hidden)] * 2 + [(hidden, inner)]

    def forward_flop(self) -> float:
        """Both forwards; the last block's second one is needed by nobody. Causal attention."""
        weights = sum(out * num_in for out, num_in in self.layer_shapes())
        attention = self.hidden * self.seq_len  # q k and p v, half of each
        return 2 * self.num_tokens * (weights + attention) * (2 * self.num_blocks - 1)

    def hessian_flop(self) -> float:
        """One full product for each different input: of q, k, v; of o; of gate, up; of down."""
        return 2 * self.num_tokens * sum(size**2 for size in self._inputs()) * self.num_blocks

    def solve_flop(self) -> float:
        """Factors of inverses (n^3/3 and n^3), and the update of every column by all before it."""
        factors = sum(size**3 * 4 / 3 for size in self._inputs())
        updates = sum(out * num_in**2 for out, num_in in self.layer_shapes())
        return (factors + updates) * self.num_blocks

    def _inputs(self) -> tuple[int, ...]:
        return self.hidden, self.hidden, self.hidden, self.intermediate


SHAPES = {
    "llama-7b": Shape(4096, 11008, 32, 32, 32000, 128, 2048),
    "llama-70b": Shape(8192, 28672, 80, 64, 32000, 128, 2048, num_kv_heads=8),
    "cpu": Shape(1024, 2816, 8, 16, 8192, 32, 512),
    "small": Shape(512, 1408, 4, 8, 4096, 8, 512),
    "tiny": Shape(128, 384, 2, 4, 256, 4, 32),
}


def random_llama(
    shape: Shape, dtype: torch.dtype, device: torch.device, *, offload: bool
) -> object:
    """A LLaMA without values: `draw_weights` gives it some."""
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.num_blocks,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads or shape.num_heads,
        vocab_size=shape.vocab,
        max_position_embeddings=shape.seq_len,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    model.to_empty(device="cpu" if offload else device)
    # Not a weight: computed when the module is made, and lost on the meta device.
    model.model.rotary_emb = LlamaRotaryEmbedding(config=config).to(device)
    model.eval().requires_grad_(False)
    if offload:
        placement.offload(model, device)
    return model


@torch.no_grad()
def draw_weights(model: torch.nn.Module, device: torch.device, seed: int = 0) -> None:
    """Normal matrices, norms of one; the same for the same seed, shape, dtype and device."""
    generator = torch.Generator(device).manual_seed(seed)
    blocks = decoder_blocks(model)
    inside = {id(parameter) for parameter in blocks.parameters()}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    _draw(rest, generator)
    for block in blocks:
        with onload(block):
            _draw(list(block.parameters()), generator)


def random_tokens(shape: Shape, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, shape.vocab, (shape.num_samples, shape.seq_len), generator=generator)


def _draw(parameters: list[torch.nn.Parameter], generator: torch.Generator) -> None:
    for parameter in parameters:
        if parameter.ndim == 1:
            parameter.data.fill_(1.0)
        else:
            parameter.data.normal_(0.0, WEIGHT_SD, generator=generator)
