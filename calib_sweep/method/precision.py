"""Full float32 for statistics and solves.

TF32 keeps 10 bits of the mantissa. Another part of the same process may have switched it on; the
published implementations switch it off, and a Hessian accumulated in TF32 is another Hessian.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
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


@contextmanager
def _backend_float32() -> Iterator[None]:
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # pyright: ignore[reportAttributeAccessIssue]
    found = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, found, strict=True):
            backend.fp32_precision = precision
