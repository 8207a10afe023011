"""Accumulating statistics of the inputs of a block's linear layers.

Layers fed by the very same tensor (q, k and v; gate and up) are found by the identity of that
tensor's storage and share one statistic. Fused experts have no modules of their own to look at:
what each of them sees is worked out from the routing.

Shapes: B = samples of a batch, T = tokens of a sample, I = in_features.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from calib_sweep.compression.replay import BlockInputs
from calib_sweep.errors import ConfigError
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.model.blocks import Layer, LinearLayer
from calib_sweep.model.calls import first_tensor
from calib_sweep.model.experts import ExpertLinear, Routing


@dataclass(frozen=True)
class Observation:
    """Statistics of the observed layers, in order of execution."""

    statistics: dict[str, Statistic]  # layers fed by the same tensor hold the same object
    each_once: bool  # whether every layer was called exactly once for the first batch
    layers: Mapping[str, Layer]

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
) -> Observation:
    """Run `block` on its inputs and accumulate a statistic of the inputs of each of `layers`.

    `keep_outputs`: outputs take the place of the inputs. `num_batches`: only so many (None: all).
    `may_stop`: a run may end as soon as every layer was called, known to happen once per batch.
    """
    observer = _Observer(layers, statistic_type, all_experts=inputs.all_experts)
    handles = observer.attach()
    each_once = may_stop
    try:
        for batch in range(len(inputs.batches))[:num_batches]:
            observer.start_batch(
                inputs.batch_size(batch),
                inputs.valid_BT(batch),
                inputs.weights_BT(batch),
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
    return Observation(statistics=observer.statistics, each_once=each_once, layers=layers)


class _AllSeen(Exception):
    """Ends a run of the block early: nothing that follows would be observed."""


class _Observer:
    """Collects what the hooks see during one batch after the other."""

    def __init__(
        self,
        layers: Mapping[str, Layer],
        statistic_type: type[Statistic],
        *,
        all_experts: bool,
    ) -> None:
        self._layers = layers
        self._statistic_type = statistic_type
        self._all_experts = all_experts
        self._num_calls: Counter[str] = Counter()
        self.statistics: dict[str, Statistic] = {}
        self.start_batch(0, None, None, stop=False)

    def start_batch(
        self, num_samples: int, valid_BT: Tensor | None, weights_BT: Tensor | None, *, stop: bool
    ) -> None:
        self._num_samples = num_samples
        self._valid_BT = valid_BT
        self._weights_BT = weights_BT
        self._stop = stop
        self._num_calls.clear()
        # Holding on to the tensors keeps their addresses from being used again within the batch.
        self._seen: dict[tuple[object, ...], tuple[Tensor, Statistic]] = {}
        self._started: set[int] = set()  # statistics that began with this batch

    def saw_each_once(self) -> bool:
        return all(self._num_calls[name] == 1 for name in self._layers)

    def attach(self) -> list[RemovableHandle]:
        """Watch the layers' modules, and every module of fused experts once."""
        handles, fused = [], defaultdict[nn.Module, list[str]](list)
        for name, layer in self._layers.items():
            if isinstance(layer, ExpertLinear):
                fused[layer.experts].append(name)
            else:
                hook = self._hook_of(name)
                handles.append(layer.module.register_forward_pre_hook(hook, with_kwargs=True))
        for experts, names in fused.items():
            hook = self._hook_of_experts(names)
            handles.append(experts.register_forward_pre_hook(hook, with_kwargs=True))
        return handles

    def _hook_of(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            inputs = first_tensor(args, kwargs)
            if inputs.numel() > 0:
                self._take(name, inputs)
            self._count(name)

        return hook

    def _hook_of_experts(self, names: list[str]) -> Callable[..., None]:
        members: dict[int, tuple[list[str], list[str]]] = {}
        for name in names:
            layer = self._layers[name]
            assert isinstance(layer, ExpertLinear)
            members.setdefault(layer.expert, ([], []))[layer.is_down].append(name)

        def hook(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            routing = Routing.of_call(module, args, kwargs)
            for expert, (gate_and_up, down) in members.items():
                seen = self._seen_by(routing, expert, names[0])
                if gate_and_up:
                    self._take_shared(gate_and_up, seen)
                if down:
                    hidden_RF = routing.gated(expert, seen.hidden_RI)
                    self._take_shared(down, replace(seen, hidden_RI=hidden_RF))
            self._count(*names)

        return hook

    def _count(self, *names: str) -> None:
        self._num_calls.update(names)
        if self._stop and len(self._num_calls) == len(self._layers):
            raise _AllSeen

    def _seen_by(self, routing: Routing, expert: int, name: str) -> "_Rows":
        """What gate and up of an expert see: tokens routed to it, or all; none that counts not."""
        num_rows = len(routing.hidden_TD)
        valid_T, weights_T = self._valid_of(num_rows, name), self._weights_of(num_rows, name)
        is_routed_T = routing.to(expert)
        if valid_T is not None:
            is_routed_T &= valid_T
        rows_T = is_routed_T
        if self._all_experts:
            rows_T = slice(None) if valid_T is None else valid_T
        return _Rows(
            routing.hidden_TD[rows_T],
            None if weights_T is None else weights_T[rows_T],
            int(is_routed_T.sum()) if self._all_experts else None,
        )

    def _take_shared(self, names: list[str], rows: "_Rows") -> None:
        """Take in what `names`, and no other layer, see; also that it is nothing."""
        own = self.statistics.get(names[0])
        if own is None:
            own = self._statistic_type(rows.hidden_RI.shape[1], rows.hidden_RI.device)
            self.statistics |= dict.fromkeys(names, own)
        own.add(rows.hidden_RI, self._num_samples, rows.weights_R)
        if rows.num_routed is not None:
            own.count_routed(rows.num_routed)

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
        own.add(*self._rows(name, inputs))
        self._seen[key] = (inputs, own)

    def _rows(self, name: str, inputs: Tensor) -> tuple[Tensor, int, Tensor | None]:
        """One row per token that counts, the number of samples, and how often each row counts."""
        rows_TI = inputs.reshape(-1, inputs.shape[-1])
        valid_T = self._valid_of(len(rows_TI), name)
        weights_T = self._weights_of(len(rows_TI), name)
        if valid_T is not None:
            rows_TI = rows_TI[valid_T]
            weights_T = None if weights_T is None else weights_T[valid_T]
        return rows_TI, self._num_samples, weights_T

    def _valid_of(self, num_rows: int, name: str) -> Tensor | None:
        """Mark the rows of a layer's input that count; None: all do."""
        return self._of_rows(self._valid_BT, num_rows, name)

    def _weights_of(self, num_rows: int, name: str) -> Tensor | None:
        """How often each row of a layer's input counts; None: once."""
        return self._of_rows(self._weights_BT, num_rows, name)

    def _of_rows(self, given_BT: Tensor | None, num_rows: int, name: str) -> Tensor | None:
        if given_BT is None:
            return None
        layer = self._layers[name]
        is_routed = isinstance(layer, LinearLayer) and layer.is_routed
        if is_routed or num_rows != given_BT.numel():
            raise ConfigError(
                "calibration.window='document', weighting or seq_len: expected samples without "
                f"padding whose tokens all count once, because {name} sees {num_rows} rows for "
                f"{given_BT.numel()} tokens, and which is which cannot be told (experts of its own "
                "that this release of transformers keeps as separate modules?). Type "
                "calibration.window=slice calibration.weighting=tokens and one calibration.seq_len."
            )
        return given_BT.flatten()


@dataclass(frozen=True)
class _Rows:
    """What an expert sees of a batch, R rows: all of them count."""

    hidden_RI: Tensor
    weights_R: Tensor | None  # how often; None: once
    num_routed: int | None  # of them, sent by the router; None: it sent all
