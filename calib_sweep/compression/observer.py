"""Accumulating statistics of the inputs of a block's linear layers.

Layers fed by the very same tensor (q, k and v; gate and up) are found by the identity of that
tensor's storage and share one statistic. Fused experts have no modules of their own to look at:
what each of them sees is worked out from the routing.

Experts see the tokens that are routed to them; with `all_experts` every token, and the number of
those routed is counted beside. Then what is fused is worked out for all tokens, and modules are run
on all of them, before the block runs as it does: its outputs are those of routed experts.

Shapes: B = samples of a batch, T = tokens of a sample, I = in_features.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from calib_sweep.compression.expert_inputs import (
    check_shown,
    holders,
    rows_of,
    show,
)
from calib_sweep.compression.rows import BatchTokens, Rows, Taken
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.model.blocks import Layer, LinearLayer
from calib_sweep.model.calls import first_tensor
from calib_sweep.model.experts import ExpertLinear, Routing


class AllSeen(Exception):
    """Ends a run of the block early: nothing that follows would be observed."""


class Observer:
    """Collects what the hooks see during one batch after the other."""

    def __init__(
        self,
        layers: Mapping[str, Layer],
        statistic_type: type[Statistic],
        before: Mapping[str, int],
        *,
        all_experts: bool,
        add: Callable[[Taken], None],
    ) -> None:
        self._layers = layers
        self._add = add
        self._statistic_type = statistic_type
        self._before = before
        self._all_experts = all_experts
        self._num_calls: Counter[str] = Counter()
        self.statistics: dict[str, Statistic] = {}
        self.routed: dict[str, int | None] = {}
        self._is_showing = False  # whether experts that are modules are run on all tokens now
        self._readers: set[str] = set()  # layers that read what is shown
        self.start_batch(BatchTokens(0, None, None), stop=False)

    def start_batch(self, tokens: BatchTokens, *, stop: bool) -> None:
        self._tokens = tokens
        self._stop = stop
        self._num_calls.clear()
        # Holding on to the tensors keeps their addresses from being used again within the batch.
        self._seen: dict[tuple[object, ...], tuple[Tensor, Statistic]] = {}
        self._started: set[int] = set()  # statistics that began with this batch
        self._shown_TD: Tensor | None = None  # to the experts that are modules

    def saw_each_once(self) -> bool:
        return all(self._num_calls[name] == 1 for name in self._layers)

    def watch(self, block: nn.Module, run: Callable[[], Tensor]) -> Tensor | None:
        """What `run` returns, watched; None: it ended as soon as all was seen."""
        handles = self._attach(block)
        try:
            return run()
        except AllSeen:
            return None
        finally:
            for handle in handles:
                handle.remove()

    def _attach(self, block: nn.Module) -> list[RemovableHandle]:
        """Watch the layers' modules, and every module of fused experts once."""
        handles, fused = self._attach_showing(block), defaultdict[nn.Module, list[str]](list)
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
            if self._is_showing or not (self._all_experts and self._layers[name].is_routed):
                if inputs.numel() > 0:
                    self._take(name, inputs)
                self._count(*([] if self._is_showing else [name]))
            elif inputs.numel() > 0:
                self._take_routed(name, inputs)

        return hook

    def _attach_showing(self, block: nn.Module) -> list[RemovableHandle]:
        """Before experts that are modules get the tokens routed to them, run each on all."""
        if not self._all_experts:
            return []

        def hook_of(experts: list[nn.Module]) -> Callable[..., None]:
            def hook(
                module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
            ) -> None:
                hidden = first_tensor(args, kwargs)
                self._shown_TD = hidden.reshape(-1, hidden.shape[-1])
                self._is_showing = True
                try:
                    show(experts, self._shown_TD)
                finally:
                    self._is_showing = False

            return hook

        return [
            holder.register_forward_pre_hook(hook_of(experts), with_kwargs=True)
            for holder, experts in holders(block, self._layers).items()
        ]

    def _take_routed(self, name: str, inputs: Tensor) -> None:
        """Count the tokens that the router sends; which of them are padding cannot be told."""
        if name in self._readers:
            check_shown(name, inputs, self._shown_TD)
        self._count_routed(
            [name], None if self._tokens.valid_BT is not None else inputs[..., 0].numel()
        )

    def _count_routed(self, names: list[str], num_tokens: int | None) -> None:
        for name in names:
            before = self.routed.get(name, 0)
            self.routed[name] = (
                None if before is None or num_tokens is None else before + num_tokens
            )

    def _hook_of_experts(self, names: list[str]) -> Callable[..., None]:
        members: dict[int, tuple[list[str], list[str]]] = {}
        for name in names:
            layer = self._layers[name]
            assert isinstance(layer, ExpertLinear)
            members.setdefault(layer.expert, ([], []))[layer.is_down].append(name)

        def hook(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            routing = Routing.of_call(module, args, kwargs)
            shown = self._rows_of(routing, names[0], None) if self._all_experts else None
            if shown is not None:
                self._take_shared([n for gates, _ in members.values() for n in gates], shown)
            for expert, (gate_and_up, down) in members.items():
                seen = self._rows_of(routing, names[0], expert)
                if shown is not None:
                    self._count_routed([*gate_and_up, *down], len(seen.hidden_RI))
                    seen = shown
                else:
                    self._take_shared(gate_and_up, seen)
                if down:
                    hidden_RF = routing.gated(expert, seen.hidden_RI)
                    self._take_shared(down, replace(seen, hidden_RI=hidden_RF))
            self._count(*names)

        return hook

    def _count(self, *names: str) -> None:
        self._num_calls.update(names)
        if self._stop and len(self._num_calls) == len(self._layers):
            raise AllSeen

    def _rows_of(self, routing: Routing, name: str, expert: int | None) -> Rows:
        return rows_of(routing, expert, *self._tokens.counted(len(routing.hidden_TD), name))

    def _take_shared(self, names: list[str], rows: Rows) -> None:
        """Take in what `names`, and no other layer, see; also that it is nothing."""
        if not names:
            return
        own = self.statistics.get(names[0])
        if own is None:
            own = self._new(names[0], rows.hidden_RI)
            self.statistics |= dict.fromkeys(names, own)
        self._add(Taken(names[0], own, rows, self._tokens.num_samples))

    def _new(self, name: str, inputs: Tensor) -> Statistic:
        new = self._statistic_type(inputs.shape[-1], inputs.device)
        new.num_before = self._before.get(name, 0)
        return new

    def _take(self, name: str, inputs: Tensor) -> None:
        if self._is_showing:
            self.routed.setdefault(name, 0)
            if self._shown_TD is not None and inputs.data_ptr() == self._shown_TD.data_ptr():
                self._readers.add(name)
        key = (inputs.data_ptr(), inputs.shape, inputs.stride(), inputs._version)
        seen = self._seen.get(key)
        own = self.statistics.get(name)
        if seen is not None and (own is seen[1] or (own is None and id(seen[1]) in self._started)):
            self.statistics[name] = seen[1]
            return
        if own is None:
            own = self._new(name, inputs)
            self.statistics[name] = own
            self._started.add(id(own))
        sharing = [other for other, shared in self.statistics.items() if shared is own]
        assert sharing[0] == name, f"{sharing} had the same input before, now {name} has another"
        layer = self._layers[name]
        is_sent = isinstance(layer, LinearLayer) and layer.is_routed and not self._is_showing
        rows = self._tokens.rows(inputs, name, is_sent=is_sent)
        self._add(Taken(name, own, rows, self._tokens.num_samples))
        self._seen[key] = (inputs, own)
