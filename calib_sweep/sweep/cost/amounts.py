"""How much work a cell is: the cost model's amounts, from configurations alone.

A cell's seconds are a sum over five amounts, each with a rate of its own (`rates.py`):

    products    FLOP of matrix products, two per multiplication with addition
    solves      the same where sums are float32: factors, column updates, output errors
    moved       bytes that operations element by element read and write
    steps       operations that wait for each other, however small: kernels that Python starts
    columns     the same in loops over the columns of a layer, which a GPU replays by itself

Shapes: L blocks, W weights of all linear layers in blocks, D hidden size, V vocabulary, T tokens of
a sequence, O, I = out_features, in_features.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from calib_sweep.parts.interfaces import Model

if TYPE_CHECKING:
    from calib_sweep.method.base import Work

KERNELS_OF_A_BLOCK = 40  # of one forward: products, norms, rotations, activations
READS_OF_ACTIVATIONS = 3  # what each linear layer reads and writes passes so often through memory
READS_OF_LOGITS = 6  # 4 bytes each: a float32 copy, its log-softmax, what is gathered of it
SOLVED_FACTOR = 4 / 3  # x I^3: a Hessian's factor, its inverse, the factor of that


class Amounts(NamedTuple):
    """Work of one part of a cell."""

    products: float = 0.0
    solves: float = 0.0
    moved: float = 0.0
    steps: float = 0.0
    columns: float = 0.0

    def plus(self, other: "Amounts") -> "Amounts":
        """Return both together."""
        return Amounts(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Shape:
    """What the cost of a model depends on."""

    layers: tuple[tuple[int, int, int], ...]  # out_features, in_features, how many of them
    inputs: tuple[tuple[int, int], ...]  # in_features, different inputs of that size in the model
    num_blocks: int
    hidden: int
    vocab: int
    parameters: int  # all, tied ones once

    @property
    def weights(self) -> int:
        """Weights of the linear layers in blocks, W."""
        return sum(num_out * num_in * num for num_out, num_in, num in self.layers)

    @property
    def activations(self) -> int:
        """Numbers that linear layers read and write for one token."""
        return sum((num_out + num_in) * num for num_out, num_in, num in self.layers)

    @property
    def widest(self) -> int:
        """Features of the largest input or output of a linear layer."""
        return max(max(num_out, num_in) for num_out, num_in, _ in self.layers)

    def forward(
        self, tokens: float, seq_len: float, batch_tokens: float, logits: float, width: int
    ) -> Amounts:
        """Work of running the model. `logits`: places with a head. `width`: bytes of a number."""
        attention = self.num_blocks * self.hidden * seq_len  # q k and p v, half of each
        batches = max(1.0, tokens / batch_tokens) if tokens else 0.0
        head = 2.0 * logits * self.hidden * self.vocab
        moved = READS_OF_ACTIVATIONS * width * tokens * self.activations
        return Amounts(
            products=2.0 * tokens * (self.weights + attention) + head,
            moved=moved + 4.0 * READS_OF_LOGITS * logits * self.vocab,
            steps=batches * self.num_blocks * KERNELS_OF_A_BLOCK,
        )


def shape_of(model: Model) -> Shape:
    """Read the shape off a model without weights; `ConfigError` if its configuration is not here.

    Layers that read one tensor (q, k, v; gate, up) share it: of the layers of one block with equal
    in_features at most three read tensors of their own, of many experts' layers every second.
    """
    from calib_sweep.model.blocks import enumerate_blocks

    skeleton = model.skeleton()
    layers: Counter[tuple[int, int]] = Counter()
    inputs: Counter[int] = Counter()
    blocks = enumerate_blocks(skeleton)
    for block in blocks:
        shapes = [tuple(layer.weight_OI().shape) for layer in block.layers.values()]
        layers.update((num_out, num_in) for num_out, num_in in shapes)
        for size, num in Counter(num_in for _, num_in in shapes).items():
            inputs[size] += num // 2 if num > 6 else min(num, 3)
    embeddings: Any = skeleton.get_input_embeddings()
    vocab, hidden = embeddings.weight.shape
    return Shape(
        layers=tuple((num_out, num_in, num) for (num_out, num_in), num in layers.items()),
        inputs=tuple(inputs.items()),
        num_blocks=len(blocks),
        hidden=hidden,
        vocab=vocab,
        parameters=sum(parameter.numel() for parameter in skeleton.parameters()),
    )


def compression(
    shape: Shape, method: "Work", tokens: int, seq_len: int, batch_tokens: int, width: int
) -> Amounts:
    """Work of the walk: passes over the set, statistics, the method's own work, the report."""
    passes = max(0.0, method.passes - 1 / shape.num_blocks)  # the last block's is not propagated
    run = shape.forward(tokens, seq_len, batch_tokens, 0, width)
    total = Amounts(*(passes * one for one in run)) if passes else Amounts()
    seen = sum(size * num for size, num in shape.inputs)
    if method.passes:
        total = total.plus(Amounts(moved=2.0 * width * tokens * seen))
    columns = sum(num_in * num for _, num_in, num in shape.layers)
    own = Amounts(moved=8.0 * method.sweeps * shape.weights, columns=method.column_steps * columns)
    if method.solves:
        squares = sum(float(size) ** 2 * num for size, num in shape.inputs)
        cubes = sum(float(size) ** 3 * num for size, num in shape.inputs)
        updates = sum(float(num_out) * num_in**2 * num for num_out, num_in, num in shape.layers)
        hessians = Amounts(products=2.0 * tokens * squares * method.streams)
        own = own.plus(hessians).plus(Amounts(solves=SOLVED_FACTOR * cubes + 2 * updates))
        own = own.plus(Amounts(products=2 * method.products * updates))
    return total.plus(own)
