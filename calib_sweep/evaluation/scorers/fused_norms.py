"""RMS norms in one kernel while a model is scored on a GPU in half precision.

transformers writes a norm as six operations, each of which reads and writes all hidden states: a
twelfth of the time that a 7B model takes. `torch.nn.functional.rms_norm` is one kernel:

    x / sqrt(mean(x^2) + eps) * weight      (Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4)

It rounds once where the six round twice, so scores move as far as another batch size moves them,
and not away from those in float32 (docs/performance.md). A norm that does anything else, as Gemma's
1 + weight, is left as it is: one of each class is asked first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel

EPSILONS = ("variance_epsilon", "eps")  # what classes of transformers call it


@contextmanager
def fused_norms(model: "PreTrainedModel") -> Iterator[None]:
    """Have the RMS norms of `model` run in one kernel, and as they are afterwards."""
    # One that has a forward of its own already (weights that come and go) keeps it.
    alone = (one for one in model.modules() if "forward" not in vars(one))
    found = [one for one in alone if _epsilon(one) is not None]
    first = {type(one): one for one in reversed(found)}
    plain = {kind for kind, one in first.items() if _is_plain(one)}
    norms = [one for one in found if type(one) in plain]
    for norm in norms:
        norm.forward = partial(_normalised, norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward  # the one of its class again


def _epsilon(module: "Module") -> float | None:
    """Return what an RMS norm adds to the mean of squares; None of any other module."""
    names = [name for name, _ in module.named_parameters()]
    if not type(module).__name__.endswith("RMSNorm") or names != ["weight"]:
        return None
    return next((value for name in EPSILONS if (value := getattr(module, name, None))), None)


def _normalised(norm: "Module", hidden_BLH: "Tensor") -> "Tensor":
    import torch

    weight_H = norm.weight
    assert isinstance(weight_H, torch.Tensor)
    return torch.nn.functional.rms_norm(hidden_BLH, weight_H.shape, weight_H, _epsilon(norm))


def _is_plain(norm: "Module") -> bool:
    """Tell whether a norm does what its name says, by what it makes of some numbers."""
    import torch

    weight_H = norm.weight
    assert isinstance(weight_H, torch.Tensor)
    with torch.no_grad():
        some_H = torch.linspace(-3, 5, len(weight_H), device=weight_H.device).to(weight_H.dtype)
        tolerance = 4 * torch.finfo(weight_H.dtype).eps
        found, expected = _normalised(norm, some_H[None]), norm(some_H[None])
        return bool(torch.allclose(found, expected, rtol=tolerance, atol=tolerance))
