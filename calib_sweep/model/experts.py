"""Experts whose matrices lie fused in three-dimensional parameters: each is a layer of its own.

    gate_up_proj [E, 2F, D]     gate and up of an expert one below the other, or row by row in turn
    down_proj    [E, D, F]      the last two axes swapped in both where the module is transposed

Gate and up are two layers that share an input, as in checkpoints and before they were fused: the
same weights give the same numbers however a release of transformers keeps them.

What an expert sees follows from the routing, which the module is called with: its gate and up see
the tokens routed to it, its down sees act(gate) * up of them, computed here once more. The model's
own forward is left alone, so its outputs stay what they are, whichever kernel computes them.

Shapes: E = experts, D = hidden size, F = width of an expert, T = tokens, K = experts of a token,
R = tokens routed to an expert, O, I = out_features, in_features.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

DOWN = "down_proj"


@dataclass(frozen=True)
class ExpertLinear:
    """A linear map of one expert: one slice of a fused parameter, or some rows of it."""

    experts: nn.Module
    expert: int
    parameter: str
    part: int  # which of the matrices fused in that slice
    num_parts: int
    is_interleaved: bool  # whether their rows come in turn, not one matrix below the other

    def weight_OI(self) -> Tensor:
        """The weight as out_features x in_features; a view, so do not write to it."""
        fused = _matrix(self.experts, self.parameter, self.expert)
        if self.is_interleaved:
            return fused[self.part :: self.num_parts]
        return fused.chunk(self.num_parts)[self.part]

    def set_weight_OI(self, weight_OI: Tensor) -> None:
        assert weight_OI.shape == self.weight_OI().shape, weight_OI.shape
        self.weight_OI().copy_(weight_OI)

    def bias_O(self) -> Tensor | None:
        """The bias; a view, so do not write to it. None: there is none."""
        fused = getattr(self.experts, f"{self.parameter}_bias", None)
        if fused is None:
            return None
        own = fused.detach()[self.expert]
        if self.is_interleaved:
            return own[self.part :: self.num_parts]
        return own.chunk(self.num_parts)[self.part]

    def set_bias_O(self, bias_O: Tensor) -> None:
        own_O = self.bias_O()
        assert own_O is not None and own_O.shape == bias_O.shape, bias_O.shape
        own_O.copy_(bias_O)

    @property
    def is_routed(self) -> bool:
        return True

    @property
    def stored(self) -> Tensor:
        """The parameter that holds the matrix, alone or with others."""
        return self.experts.get_parameter(self.parameter)

    @property
    def is_down(self) -> bool:
        return self.parameter == DOWN


def holds_fused_experts(module: nn.Module) -> bool:
    """Tell whether `module` keeps its experts as transformers has done it since release 5."""
    shapes = {name: parameter.ndim for name, parameter in module.named_parameters(recurse=False)}
    return hasattr(module, "_apply_gate") and shapes.get(_first(module)) == shapes.get(DOWN) == 3


def expert_linears(experts: nn.Module) -> dict[str, ExpertLinear]:
    """The layers of all experts by name: "0.gate_proj", "0.up_proj", "0.down_proj", "1...."."""
    first, layers = _first(experts), {}
    fused = ("up_proj",) if first == "up_proj" else ("gate_proj", "up_proj")
    # Releases that cannot say so interleave where they transpose.
    in_turn = not getattr(experts, "is_concatenated", not _is_transposed(experts))
    for expert in range(len(getattr(experts, DOWN))):
        for part, name in enumerate(fused):
            layers[f"{expert}.{name}"] = ExpertLinear(
                experts, expert, first, part, len(fused), in_turn
            )
        layers[f"{expert}.{DOWN}"] = ExpertLinear(experts, expert, DOWN, 0, 1, False)
    return layers


@dataclass(frozen=True)
class Routing:
    """One call of a module of fused experts: which tokens went where."""

    experts: nn.Module
    hidden_TD: Tensor
    choice_TK: Tensor  # the experts of every token
    gates_TK: Tensor | None = None  # what their outputs are multiplied by; None: not among these

    @classmethod
    def of_call(
        cls, experts: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> "Routing":
        """Read the arguments of the call: hidden states, then choices, whatever their names."""
        given = inspect.signature(experts.forward).bind(*args, **kwargs).arguments
        hidden, choice, *others = given.values()
        gates = others[0] if others and isinstance(others[0], Tensor) else None
        gates_TK = None if gates is None else gates.flatten(0, -2)
        return cls(experts, hidden.reshape(-1, hidden.shape[-1]), choice.flatten(0, -2), gates_TK)

    def to(self, expert: int) -> Tensor:
        """Mark the tokens [T] that are routed to `expert`: what its gate and up see."""
        return (self.choice_TK == expert).any(dim=1)

    def gates_T(self, expert: int) -> Tensor:
        """Return what each token's output of `expert` is multiplied by; 0 where it is not sent."""
        assert self.gates_TK is not None
        return (self.gates_TK * (self.choice_TK == expert)).sum(dim=1)

    def output(self, expert: int, hidden_RD: Tensor) -> Tensor:
        """Return what an expert gives where its gate and up see `hidden_RD`, [R, D]."""
        bias = getattr(self.experts, f"{DOWN}_bias", None)
        return nn.functional.linear(
            self.gated(expert, hidden_RD),
            _matrix(self.experts, DOWN, expert),
            None if bias is None else bias[expert],
        )

    def gated(self, expert: int, hidden_RD: Tensor) -> Tensor:
        """Return what down of `expert` sees where gate and up see `hidden_RD`, [R, F]."""
        first = _first(self.experts)
        bias = getattr(self.experts, f"{first}_bias", None)
        inner = nn.functional.linear(
            hidden_RD, _matrix(self.experts, first, expert), None if bias is None else bias[expert]
        )
        if first == "up_proj":
            return self.experts.act_fn(inner)  # pyright: ignore[reportCallIssue]
        return self.experts._apply_gate(inner)  # pyright: ignore[reportCallIssue]


def _first(experts: nn.Module) -> str:
    """The parameter that hidden states meet first; experts without a gate have `up_proj` alone."""
    return "gate_up_proj" if hasattr(experts, "gate_up_proj") else "up_proj"


def _matrix(experts: nn.Module, parameter: str, expert: int) -> Tensor:
    """The slice of an expert as out_features x in_features; a view."""
    matrix = getattr(experts, parameter).detach()[expert]
    return matrix.T if _is_transposed(experts) else matrix


def _is_transposed(experts: nn.Module) -> bool:
    return getattr(experts, "is_transposed", False)
