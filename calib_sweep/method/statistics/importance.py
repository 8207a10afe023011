"""How much errors in the weights of an input feature count: its mean square, relative to others'.

    importance[i] = E[x_i^2] / mean over i of E[x_i^2]

It is the diagonal of the Hessian without its scale: the importance matrix of llama.cpp and
llm-compressor, the curvature of DASH-Q. Where nothing was seen, or zeros only, all features count
alike.

Shapes: I = in_features.
"""

import torch
from torch import Tensor

from calib_sweep.method.statistics.statistic import Statistic

NO_TOKENS = "no calibration token reached this layer: errors of all its features count alike"


def importance_of(statistic: Statistic) -> Tensor:
    """Return the importance of each feature, 1 on average."""
    square_sum_I = statistic.square_sum_I().to(torch.float32)
    mean = square_sum_I.mean()
    return torch.where(mean > 0, square_sum_I / mean, 1.0)


def unusual(statistic: Statistic) -> str | None:
    """Say what was out of the ordinary about the inputs; None when nothing was."""
    if statistic.num_tokens == 0:
        return NO_TOKENS
    num_dead = int((statistic.square_sum_I() == 0).sum())
    return f"{num_dead} dead input features, whose errors do not count" if num_dead else None
