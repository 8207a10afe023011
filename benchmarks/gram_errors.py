"""Measure how far sums of products of inputs are from float64, and what they take, in several ways.

    python benchmarks/gram_errors.py  # 16,384 tokens of 4,096 and 11,008 features
    python benchmarks/gram_errors.py --device cpu --tokens 512 --features 64

Inputs have heavy tails, the cubes of normal numbers, and every 512th feature is 30 times as large.
One line for each way: ||H - H'|| / ||H|| against float64, milliseconds for all tokens.

    float32          one product in float32
    by 1024          float32 products of 1,024 tokens, added up: another batch size
    plain            one half-precision product with float32 results: tensor cores add all tokens
    kernel N         tensor cores add N tokens at a time, ordinary float32 the sums (`add_gram`)
"""

import argparse
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

DEPTHS = (16, 32, 64, 128)
NUM_TIMED = 5


def main() -> None:
    arguments = _parser().parse_args()
    device = torch.device(arguments.device)
    torch.set_float32_matmul_precision("highest")
    for dtype in (torch.float16, torch.bfloat16):
        for num_features in arguments.features:
            inputs_TI = heavy_tailed(arguments.tokens, num_features, device).to(dtype)
            exact_II = in_float64(inputs_TI)
            for name, gram in ways(inputs_TI):
                error = float((gram().double() - exact_II).norm() / exact_II.norm())
                print(f"{dtype!s:15} {num_features:6} {name:10} {error:.1e} {timed(gram):8.2f} ms")


def heavy_tailed(num_tokens: int, num_features: int, device: torch.device) -> Tensor:
    generator = torch.Generator(device).manual_seed(0)
    normal_TI = torch.randn(num_tokens, num_features, generator=generator, device=device)
    cubed_TI = normal_TI**3
    cubed_TI[:, ::512] *= 30
    return cubed_TI


def in_float64(inputs_TI: Tensor) -> Tensor:
    """X^T X: [I, I]."""
    num_features = inputs_TI.shape[1]
    total_II = inputs_TI.new_zeros(num_features, num_features, dtype=torch.float64)
    for part in inputs_TI.split(4096):
        total_II.addmm_(part.double().T, part.double())
    return total_II


def ways(inputs_TI: Tensor) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """(name, what computes X^T X in float32); those of tensor cores on a GPU only."""
    yield "float32", lambda: inputs_TI.float().T @ inputs_TI.float()
    yield "by 1024", lambda: sum_of_products(inputs_TI, 1024)
    if inputs_TI.device.type != "cuda":
        return
    yield "plain", lambda: torch.mm(inputs_TI.T, inputs_TI, out_dtype=torch.float32)
    for depth in DEPTHS:
        yield f"kernel {depth}", lambda depth=depth: by_kernel(inputs_TI, depth)


def sum_of_products(inputs_TI: Tensor, num_tokens: int) -> Tensor:
    num_features = inputs_TI.shape[1]
    total_II = inputs_TI.new_zeros(num_features, num_features, dtype=torch.float32)
    for part in inputs_TI.split(num_tokens):
        total_II.addmm_(part.float().T, part.float())
    return total_II


def by_kernel(inputs_TI: Tensor, depth: int) -> Tensor:
    from calib_sweep.method.gpu import kernels

    num_features = inputs_TI.shape[1]
    total_II = inputs_TI.new_zeros(num_features, num_features, dtype=torch.float32)
    kernels.DEPTH = depth
    kernels.add_gram(total_II, inputs_TI)
    return total_II


def timed(compute: Callable[[], Tensor]) -> float:
    """Milliseconds, the mean of `NUM_TIMED` runs after one that is not counted."""
    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    compute()
    synchronize()
    start = time.perf_counter()
    for _ in range(NUM_TIMED):
        compute()
    synchronize()
    return 1000 * (time.perf_counter() - start) / NUM_TIMED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Errors of sums of products of inputs.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--features", type=int, nargs="+", default=[4096, 11008])
    return parser


if __name__ == "__main__":
    main()
