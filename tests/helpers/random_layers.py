"""Random layers for the tests of methods: inputs, what is accumulated of them, a weight."""

import torch

from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_norm import InputNorm


def hessian_of(inputs_TI, num_samples=1):
    hessian = Hessian(inputs_TI.shape[1])
    hessian.add(inputs_TI, num_samples)
    return hessian


def norms(*inputs_TI, num_in=None):
    statistic = InputNorm(num_in or inputs_TI[0].shape[1])
    for inputs in inputs_TI:
        statistic.add(inputs)
    return statistic


def random_inputs(num_tokens, num_in=6, seed=0):
    return torch.randn(num_tokens, num_in, generator=torch.Generator().manual_seed(seed))


def singular_inputs(num_in):
    """Four tokens of which two are 1 everywhere: a Hessian of one number, 4 or 1.

    Its root is exact, so that the second pivot of a factorisation is exactly 0 on every processor.
    """
    return torch.tensor([1.0, 1.0, 0.0, 0.0]).unsqueeze(1).repeat(1, num_in)


def correlated_inputs(num_tokens, num_in, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(num_in, num_in, generator=generator) / num_in**0.5
    return torch.randn(num_tokens, num_in, generator=generator) @ (torch.eye(num_in) + mixing)


def random_weight(num_out, num_in, seed=100):
    return torch.randn(num_out, num_in, generator=torch.Generator().manual_seed(seed))
