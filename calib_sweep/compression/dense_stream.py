"""The dense model beside the one that is being compressed, one block of it at a time.

    seen     hidden states as compressed blocks and quantised inputs leave them
    dense    those of the same samples in the model as it was

A batch goes through the block as it is now, which tells what each layer sees; then the dense states
of the batch go through the dense block. So a statistic gets pairs of rows, and no more than a batch
of them waits. The dense block is the block without quantisers of inputs; where layers are
compressed in order, it also gets the weights back that it had.

Experts differ in the tokens that a router sends to them in the two models. Pairs are of the tokens
that it sends now: what the same expert would make of their dense states.

Shapes: N = samples, T = tokens of a sample, D = hidden size, R = rows of a layer, I = in_features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from torch import Tensor, nn

from calib_sweep.compression.replay import BlockInputs
from calib_sweep.compression.rows import Taken
from calib_sweep.errors import ConfigError, require
from calib_sweep.method.base import Method
from calib_sweep.method.statistics.cross_hessian import CrossHessian
from calib_sweep.model.blocks import DecoderBlock, ExpertLinear, LinearLayer
from calib_sweep.model.calls import first_tensor
from calib_sweep.model.experts import Routing
from calib_sweep.model.input_quantizer import without_input_quantizers


class DenseStream:
    """A block as it was, and the hidden states that enter it in the dense model."""

    def __init__(
        self, block: DecoderBlock, inputs: BlockInputs, *, keeps_weights: bool, advances: bool
    ) -> None:
        """`keeps_weights`: the block's will change meanwhile. `advances`: with each pair."""
        assert inputs.dense is not None
        inputs.part()
        self._block, self._inputs, self._advances = block, inputs.dense, advances
        layers = block.layers if keeps_weights else {}
        self._weights = {name: layer.weight_OI().clone() for name, layer in layers.items()}
        self._taken: list[Taken] = []

    def take(self, taken: Taken) -> None:
        """Let rows wait for those of the dense model."""
        self._taken.append(taken)

    def pair(self, batch: int) -> None:
        """Run the dense block on a batch; add what waits, each with what is seen in its place."""
        waiting: dict[nn.Module, list[Taken]] = {}
        for taken in self._taken:
            waiting.setdefault(self._module_of(taken), []).append(taken)
        self._taken = []
        handles = [
            module.register_forward_pre_hook(self._hook_of(waiting), with_kwargs=True)
            for module in waiting
        ]
        try:
            with self._as_it_was(), suppress(_AllPaired):
                output_BTD = self._inputs.run(self._block.module, self._block.index, batch)
                if self._advances:
                    self._inputs.replace(batch, output_BTD)
        finally:
            for handle in handles:
                handle.remove()
        assert not any(waiting.values()), "a layer that the dense block does not call"

    def advance(self) -> None:
        """Go on to the next block."""
        with self._as_it_was():
            self._inputs.advance(self._block.module, self._block.index)

    def _module_of(self, taken: Taken) -> nn.Module:
        layer = self._block.layers[taken.name]
        return layer.experts if isinstance(layer, ExpertLinear) else layer.module

    def _hook_of(self, waiting: dict[nn.Module, list[Taken]]) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            queue = waiting[module]
            is_fused = any(isinstance(self._block.layers[t.name], ExpertLinear) for t in queue)
            now = list(queue) if is_fused else queue[:1]
            del queue[: len(now)]
            for taken in now:
                dense_RI = self._rows_of(taken, module, args, kwargs)
                assert isinstance(taken.statistic, CrossHessian), taken.statistic
                rows = taken.rows
                taken.statistic.add_pair(
                    dense_RI, rows.hidden_RI, taken.num_samples, rows.weights_R
                )
            if not self._advances and not any(waiting.values()):
                raise _AllPaired

        return hook

    def _rows_of(
        self,
        taken: Taken,
        module: nn.Module,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> Tensor:
        """What the layer sees in the dense model of the tokens that were taken."""
        layer, is_row_T = self._block.layers[taken.name], taken.rows.is_row_T
        if isinstance(layer, ExpertLinear):
            routing = Routing.of_call(module, args, kwargs)
            dense_RD = routing.hidden_TD if is_row_T is None else routing.hidden_TD[is_row_T]
            return routing.gated(layer.expert, dense_RD) if layer.is_down else dense_RD
        inputs = first_tensor(args, kwargs)
        dense_TI = inputs.reshape(-1, inputs.shape[-1])
        return dense_TI if is_row_T is None else dense_TI[is_row_T]

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """The block with its inputs as they come and its dense weights; later as it is now."""
        layers = self._block.layers
        now = {name: layers[name].weight_OI().clone() for name in self._weights}
        try:
            for name, weight_OI in self._weights.items():
                layers[name].set_weight_OI(weight_OI)
            with without_input_quantizers(self._block.module):
                yield
        finally:
            for name, weight_OI in now.items():
                layers[name].set_weight_OI(weight_OI)


class _AllPaired(Exception):
    """Ends a run of the dense block early: nothing that follows would be looked at."""


def check_streams_part(method: Method, *, is_dense: bool) -> None:
    """Raise `ConfigError` where a method compares two streams that are one and the same."""
    require(
        not (method.compares_streams and is_dense),
        "walk.propagate",
        "dense",
        f"published or compressed with {type(method).__name__}, which makes up for what inputs "
        "lose on their way through compressed blocks",
        "Type walk.propagate=published.",
    )


def check_streams(blocks: Sequence[DecoderBlock]) -> None:
    """Raise `ConfigError` where what layers see cannot be told token by token in both models."""
    for block in blocks:
        for name, layer in block.layers.items():
            if isinstance(layer, LinearLayer) and layer.is_routed:
                raise ConfigError(
                    "method: expected a model whose layers see a row for every token, or fused "
                    "experts, to compare each token with the same one in the dense model, but "
                    f"block {block.index} {name} is an expert of its own, and which tokens its "
                    "router sends cannot be told. Choose another method, such as method=gptq, or "
                    "a release of transformers from 5 on."
                )
