"""Statistics of the inputs of a block's linear layers, of all that ranks see together.

`observer` looks at one batch after the other; what ranks have seen is then joined.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from calib_sweep.compression.dense_stream import DenseStream
from calib_sweep.compression.joining import Count, joined, joined_counts, tokens_before
from calib_sweep.compression.observer import Observer
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.compression.rows import add_alone
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.model.blocks import Layer
from calib_sweep.model.experts import ExpertLinear


@dataclass(frozen=True)
class Observation:
    """Statistics of the observed layers, in order of execution."""

    statistics: dict[str, Statistic]  # layers fed by the same tensor hold the same object
    each_once: bool  # whether every layer was called exactly once for the first batch
    layers: Mapping[str, Layer]
    routed: Mapping[str, int | None]  # to experts that saw all tokens; None: not known how many

    def take(self, name: str) -> tuple[Statistic | None, Mapping[str, int | None]]:
        """Hand over, not to be kept here, a layer's statistic (None: it saw nothing)."""
        return self.statistics.pop(name, None), self.routed

    def groups(self) -> list[list[str]]:
        """Names of layers that can be compressed together, in order of execution.

        They share an input, or are the same part of fused experts: these do not feed each other.
        """
        groups: dict[tuple[int, ...], list[str]] = {}
        for name, statistic in self.statistics.items():
            layer = self.layers[name]
            is_fused = isinstance(layer, ExpertLinear)
            key = (id(layer.experts), layer.is_down) if is_fused else (id(statistic),)
            groups.setdefault(key, []).append(name)
        return list(groups.values())


def observe(
    block: nn.Module,
    index: int,
    layers: Mapping[str, Layer],
    inputs: BlockInputs,
    statistic_type: type[Statistic],
    *,
    keep_outputs: bool = False,
    num_batches: int | None = None,
    may_stop: bool = False,
    dense: DenseStream | None = None,
) -> Observation:
    """Run `block` on its inputs and accumulate a statistic of the inputs of each of `layers`.

    `keep_outputs`: outputs take the place of the inputs. `num_batches`: only so many (None: all).
    `may_stop`: a run may end as soon as every layer was called, known to happen once per batch.
    `dense`: statistics are of pairs, with what the layers see in the dense model.
    Statistics are of the samples of all ranks.
    """
    ranks = inputs.ranks
    watch = partial(_observe_own, block, index, layers, inputs, num_batches=num_batches)
    if ranks.count == 1:
        return watch(statistic_type, {}, keep_outputs, may_stop, dense)
    before: dict[str, int] = {}
    if statistic_type.sees_places:
        counted = ranks.together(lambda: watch(Count, {}, False, may_stop, None))
        before = tokens_before(counted.statistics, ranks)
    own = ranks.together(lambda: watch(statistic_type, before, keep_outputs, may_stop, dense))
    statistics = joined(own.statistics, statistic_type, layers, ranks)
    return replace(own, statistics=statistics, routed=joined_counts(own.routed, ranks))


def _observe_own(
    block: nn.Module,
    index: int,
    layers: Mapping[str, Layer],
    inputs: BlockInputs,
    statistic_type: type[Statistic],
    before: Mapping[str, int],
    keep_outputs: bool,
    may_stop: bool,
    dense: DenseStream | None,
    *,
    num_batches: int | None,
) -> Observation:
    """Observe on this rank's samples. `before`: by layer, tokens that ranks before it see."""
    add = add_alone if dense is None else dense.take
    observer = Observer(layers, statistic_type, before, all_experts=inputs.all_experts, add=add)
    each_once = may_stop
    for batch in range(len(inputs.batches))[:num_batches]:
        observer.start_batch(inputs.tokens_of(batch), stop=each_once and not keep_outputs)
        output_BTD = observer.watch(block, partial(inputs.run, block, index, batch))
        if dense is not None:
            dense.pair(batch)
        if output_BTD is None:
            continue
        if batch == 0:
            each_once = observer.saw_each_once()
        if keep_outputs:
            inputs.replace(batch, output_BTD)
    return Observation(observer.statistics, each_once, layers, observer.routed)
