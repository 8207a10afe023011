"""Accumulating statistics of the inputs of a block's linear layers.

Layers fed by the very same tensor (q, k and v; gate and up) are found by the identity of that
tensor's storage and share one statistic.

Shapes: B = samples of a batch, T = tokens of a sample, I = in_features.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from calib_sweep.errors import ConfigError
from calib_sweep.method.statistics import Statistic
from calib_sweep.model.blocks import LinearLayer
from calib_sweep.model.replay import BlockInputs


@dataclass(frozen=True)
class Observation:
    """Statistics of the observed layers, in order of execution."""

    statistics: dict[str, Statistic]  # layers fed by the same tensor hold the same object
    each_once: bool  # whether every layer was called exactly once for the first batch

    def groups(self) -> list[list[str]]:
        """Names of layers that share an input, in order of execution."""
        groups: dict[int, list[str]] = {}
        for name, statistic in self.statistics.items():
            groups.setdefault(id(statistic), []).append(name)
        return list(groups.values())


def observe(
    block: nn.Module,
    index: int,
    layers: Mapping[str, LinearLayer],
    inputs: BlockInputs,
    statistic_type: type[Statistic],
    *,
    keep_outputs: bool = False,
    num_batches: int | None = None,
    may_stop: bool = False,
) -> Observation:
    """Run `block` on its inputs and accumulate a statistic of the inputs of each of `layers`.

    `keep_outputs`: outputs take the place of the inputs. `num_batches`: only so many (None: all).
    `may_stop`: a run may end as soon as every layer was called, known to happen once per batch.
    """
    observer = _Observer(layers, statistic_type)
    handles = [
        layer.module.register_forward_pre_hook(observer.hook_of(name))
        for name, layer in layers.items()
    ]
    each_once = may_stop
    try:
        for batch in range(len(inputs.batches))[:num_batches]:
            observer.start_batch(
                inputs.batch_size(batch),
                inputs.valid_BT(batch),
                stop=each_once and not keep_outputs,
            )
            try:
                output_BTD = inputs.run(block, index, batch)
            except _AllSeen:
                continue
            if batch == 0:
                each_once = observer.saw_each_once()
            if keep_outputs:
                inputs.replace(batch, output_BTD)
    finally:
        for handle in handles:
            handle.remove()
    return Observation(statistics=observer.statistics, each_once=each_once)


class _AllSeen(Exception):
    """Ends a run of the block early: nothing that follows would be observed."""


class _Observer:
    """Collects what the hooks see during one batch after the other."""

    def __init__(self, layers: Mapping[str, LinearLayer], statistic_type: type[Statistic]) -> None:
        self._layers = layers
        self._statistic_type = statistic_type
        self._num_calls: Counter[str] = Counter()
        self.statistics: dict[str, Statistic] = {}
        self.start_batch(0, None, stop=False)

    def start_batch(self, num_samples: int, valid_BT: Tensor | None, *, stop: bool) -> None:
        self._num_samples = num_samples
        self._valid_BT = valid_BT
        self._stop = stop
        self._num_calls.clear()
        # Holding on to the tensors keeps their addresses from being used again within the batch.
        self._seen: dict[tuple[Any, ...], tuple[Tensor, Statistic]] = {}
        self._started: set[int] = set()  # statistics that began with this batch

    def saw_each_once(self) -> bool:
        return all(self._num_calls[name] == 1 for name in self._layers)

    def hook_of(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            self._num_calls[name] += 1
            if args[0].numel() > 0:
                self._take(name, args[0])
            if self._stop and len(self._num_calls) == len(self._layers):
                raise _AllSeen

        return hook

    def _take(self, name: str, inputs: Tensor) -> None:
        key = (inputs.data_ptr(), inputs.shape, inputs.stride(), inputs._version)
        seen = self._seen.get(key)
        own = self.statistics.get(name)
        if seen is not None and (own is seen[1] or (own is None and id(seen[1]) in self._started)):
            self.statistics[name] = seen[1]
            return
        if own is None:
            own = self._statistic_type(inputs.shape[-1], inputs.device)
            self.statistics[name] = own
            self._started.add(id(own))
        sharing = [other for other, shared in self.statistics.items() if shared is own]
        assert sharing[0] == name, f"{sharing} had the same input before, now {name} has another"
        own.add(self._rows(name, inputs), num_samples=self._num_samples)
        self._seen[key] = (inputs, own)

    def _rows(self, name: str, inputs: Tensor) -> Tensor:
        """One row per token, padding left out."""
        rows_TI = inputs.reshape(-1, inputs.shape[-1])
        if self._valid_BT is None:
            return rows_TI
        if len(rows_TI) != self._valid_BT.numel():
            raise ConfigError(
                f"calibration.window='document': expected unpadded samples, because {name} sees "
                f"{len(rows_TI)} of {self._valid_BT.numel()} tokens and padding cannot be told "
                "apart (a mixture of experts?). Set calibration.window=slice."
            )
        return rows_TI[self._valid_BT.flatten()]
