"""What experts see: tokens routed to them, or with `walk.all_experts` every token.

Of fused experts both are worked out from the routing. Of experts that are modules of their own, all
tokens are shown to them: the module that holds them, `experts` as a child, is called with the
hidden states of all tokens, and before it sends each to a few experts, all of them are run on all.
What their layers see then is observed, what comes out is dropped.

Shapes: T = tokens, D = hidden size, R = tokens that an expert sees, I = in_features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from calib_sweep.compression.rows import Rows
from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import Layer, LinearLayer
from calib_sweep.model.experts import Routing

EXPERTS = "experts"
REMEDY = "Type walk.all_experts=false."


def rows_of(
    routing: Routing, expert: int | None, valid_T: Tensor | None, weights_T: Tensor | None
) -> Rows:
    """Return what gate and up of an expert see of the valid tokens; None: of all experts, all."""
    rows_T = valid_T
    if expert is not None:
        rows_T = routing.to(expert) if valid_T is None else routing.to(expert) & valid_T
    if rows_T is None:
        return Rows(routing.hidden_TD, weights_T)
    weights_R = None if weights_T is None else weights_T[rows_T]
    return Rows(routing.hidden_TD[rows_T], weights_R, rows_T)


def holders(block: nn.Module, layers: Mapping[str, Layer]) -> dict[nn.Module, list[nn.Module]]:
    """Return the experts of `layers` that are modules, in order, by the module that holds them."""
    found: dict[nn.Module, dict[nn.Module, None]] = {}
    for name, layer in layers.items():
        if isinstance(layer, LinearLayer) and layer.is_routed:
            path = name.split(".")
            place = path.index(EXPERTS)
            holder = block.get_submodule(".".join(path[:place]))
            expert = block.get_submodule(".".join(path[: place + 2]))
            found.setdefault(holder, {})[expert] = None
    return {holder: list(experts) for holder, experts in found.items()}


def show(experts: list[nn.Module], hidden_TD: Tensor) -> None:
    """Run every expert on all tokens."""
    for expert in experts:
        try:
            expert(hidden_TD)
        except (TypeError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise ConfigError(
                "walk.all_experts=True: expected experts that can be run on hidden states "
                f"[tokens, {hidden_TD.shape[-1]}], but {type(expert).__name__} cannot "
                f"({type(error).__name__}: {error}). {REMEDY}"
            ) from error


def check_shown(name: str, routed_TD: Tensor, shown_TD: Tensor | None) -> None:
    """Raise `ConfigError` unless what the router sends is among what was shown."""
    first_D = routed_TD.reshape(-1, routed_TD.shape[-1])[0]
    if shown_TD is None or not bool((shown_TD == first_D).all(dim=-1).any()):
        raise ConfigError(
            f"walk.all_experts=True: expected experts that read what the module around them is "
            f"called with, but {name} reads something else. {REMEDY}"
        )
