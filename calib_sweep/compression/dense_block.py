"""A dense decoder block as a method sees it that looks at blocks as a whole.

Shapes: B = samples of a batch, T = tokens of a sample, D = hidden size, O, I = out_features,
in_features.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from calib_sweep.compression.replay import BlockInputs, hidden_of
from calib_sweep.method.base import ScalingGroup
from calib_sweep.method.statistics.statistic import Statistic, as_often
from calib_sweep.model.blocks import DecoderBlock
from calib_sweep.model.scaling_groups import architecture_of, scaling_groups

Weights = Mapping[str, Tensor]


class ObservedBlock:
    """A block, its calibration inputs, and statistics of its layers' inputs."""

    def __init__(
        self,
        block: DecoderBlock,
        inputs: BlockInputs,
        statistics: Mapping[str, Statistic],
    ) -> None:
        self.index = block.index
        self.layers = block.layers
        self.weights = {name: layer.weight_OI() for name, layer in self.layers.items()}
        self.statistics = statistics
        self.groups = scaling_groups(block)
        self.follower_weights = {
            name: block.module.get_submodule(name).get_parameter("weight").data
            for group in self.groups
            for name in group.followers
        }
        self.score_layers = architecture_of(block).score_layers
        self._block = block.module
        self._inputs = inputs

    def output_errors(
        self, group: ScalingGroup, candidates: Sequence[Callable[[], Weights]]
    ) -> list[float]:
        """Squared change of the inspected module's output, summed over tokens, per candidate.

        A token counts as often as its weight says.
        """
        if group.inspected is None:
            return [self._own_error(group, candidate()) for candidate in candidates]
        module = self._block.get_submodule(group.inspected)
        own = self._inputs.ranks.together(lambda: self._errors(module, candidates))
        of_ranks = self._inputs.ranks.gathered([own])
        return [sum(errors) for errors in zip(*of_ranks, strict=True)]

    def _errors(
        self, module: nn.Module, candidates: Sequence[Callable[[], Weights]]
    ) -> list[float]:
        """Of this rank's samples."""
        errors = [0.0] * len(candidates)
        for batch in range(len(self._inputs.batches)):
            call = self._call_of(module, batch)
            for place, candidate in enumerate(candidates):
                with self._replaced(candidate()):
                    output = hidden_of(module(*call.args, **call.kwargs))
                errors[place] += self._square_change(call.output, output, batch)
        return errors

    def _own_error(self, group: ScalingGroup, weights: Weights) -> float:
        """Of a layer's own output the statistic tells, without a run."""
        (name,) = group.layers
        change_OI = self.weights[name].to(torch.float32) - weights[name].to(torch.float32)
        statistic = self.statistics.get(name)
        error = 0.0 if statistic is None else statistic.weighted_square_sum(change_OI)
        assert error is not None, statistic
        return error

    def _call_of(self, module: nn.Module, batch: int) -> "_Call":
        """Record how the dense block calls a module, or is itself called, and what comes out."""
        calls: list[_Call] = []

        def hook(
            _module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], output: object
        ) -> None:
            calls.append(_Call(args, kwargs, hidden_of(output)))
            raise _Reached

        handle = module.register_forward_hook(hook, with_kwargs=True)
        try:
            self._inputs.run(self._block, self.index, batch)
        except _Reached:
            return calls[0]
        finally:
            handle.remove()
        raise AssertionError(f"{type(module).__name__} was not called")

    def _square_change(self, before: Tensor, after: Tensor, batch: int) -> float:
        change_TD = (after.to(torch.float32) - before.to(torch.float32)).flatten(0, -2)
        valid_BT = self._inputs.valid_BT(batch)
        if valid_BT is not None:
            change_TD = change_TD[valid_BT.flatten()]
        weights_BT = self._inputs.weights_BT(batch)
        if weights_BT is not None:
            weights_T = weights_BT.flatten() if valid_BT is None else weights_BT[valid_BT]
            change_TD = as_often(change_TD, weights_T)
        return float(change_TD.square().sum(dtype=torch.float64))

    @contextmanager
    def _replaced(self, weights: Weights) -> Iterator[None]:
        """Put other weights in; whatever happens, put the dense ones back."""
        dense = {name: self.layers[name].weight_OI().clone() for name in weights}
        try:
            for name, weight_OI in weights.items():
                self.layers[name].set_weight_OI(weight_OI)
            yield
        finally:
            for name, weight_OI in dense.items():
                self.layers[name].set_weight_OI(weight_OI)


@dataclass(frozen=True)
class _Call:
    args: tuple[object, ...]
    kwargs: dict[str, object]
    output: Tensor


class _Reached(Exception):
    """Ends a run of the block early: the module in question has been called."""
