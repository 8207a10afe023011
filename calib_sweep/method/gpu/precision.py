"""Full float32 for statistics and solves, and where tensor cores may stand in for it.

TF32 keeps 10 bits of the mantissa. Another part of the same process may have switched it on; the
published implementations switch it off, and a Hessian accumulated in TF32 is another Hessian.

Products of two float16 (11 bits) or two bfloat16 numbers (8 bits) are exact in float32 (24 bits).
A GPU's tensor cores make them at ten times the rate of its float32 units, and sums of few of them
are as good as float32's own (`kernels.py`). `allow_tensor_cores`: whether a statistic may use that.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

FIRST_WITH_BFLOAT16 = (8, 0)  # compute capability of the first GPUs with such tensor cores

_tensor_cores_allowed = ContextVar("tensor_cores_allowed", default=False)


@contextmanager
def allow_tensor_cores(allowed: bool) -> Generator[None]:
    """Allow, or not, sums of products of half-precision tensors by a GPU's tensor cores."""
    found = _tensor_cores_allowed.set(allowed)
    try:
        yield
    finally:
        _tensor_cores_allowed.reset(found)


def may_use_tensor_cores(tensor: Tensor) -> bool:
    """Return True where they are allowed, there, and exact for products of `tensor` with itself."""
    return (
        _tensor_cores_allowed.get()
        and tensor.dtype in (torch.float16, torch.bfloat16)
        and has_kernels(tensor)
    )


@contextmanager
def full_float32() -> Generator[None]:
    """Run float32 matrix products in float32; the settings found are restored on the way out."""
    try:
        found = torch.get_float32_matmul_precision()
    except RuntimeError:
        # torch refuses to answer after its per-backend switches were used; then use those as well.
        with _backend_float32():
            yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(found)


def has_kernels(tensor: Tensor) -> bool:
    """Return True where the kernels of `kernels.py` run on the device of `tensor`."""
    return (
        tensor.is_cuda
        and find_spec("triton") is not None
        and torch.cuda.get_device_capability(tensor.device) >= FIRST_WITH_BFLOAT16
    )


class _Backend(Protocol):
    """Settings of matrix products that torch's stubs do not know all of."""

    fp32_precision: str


@contextmanager
def _backend_float32() -> Generator[None]:
    backends: list[_Backend] = [torch.backends.cuda.matmul, torch.backends.mkldnn.matmul]  # pyright: ignore
    found = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, found, strict=True):
            backend.fp32_precision = precision
