"""What a walk over a 7B model costs on a GPU, part by part, beside its arithmetic floor.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --methods paper_gptq --variants default single_launches --blocks 4
    python benchmarks/gpu.py --methods alps gptq:format=nvfp4 --blocks 4
    python benchmarks/gpu.py --methods gptq --activations int4 --rotation hadamard --blocks 4
    python benchmarks/gpu.py --shape tiny --device cpu --dtypes float32        # a dry run

Methods are those of conf/method/, `NAME` or `NAME:KEY=VALUE,...`; activations those of
conf/activations/, rotations those of conf/rotation/, written likewise. The time of a rotation is no
part of a walk's.

The model is random, the arithmetic that of a real one. A floor is what the FLOP alone take at the
rates of large products, measured at the start: half precision for forwards and, through tensor
cores, Hessians; float32 for solves. Variants take one improvement back:

    default              block-wise loading: weights in host memory, one block on the device
    resident             all weights on the device
    float32_hessians     walk.tensor_cores=false
    recorded_launches    GPTQ's column loop replayed as a CUDA graph instead of a kernel of its own
    single_launches      column loops launched kernel by kernel
"""

import argparse
import importlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
import transformers
from omegaconf import OmegaConf
from parts import PARTS, clocked, peak_host_gib
from random_llama import SHAPES, Shape, draw_weights, random_llama, random_tokens

from calib_sweep.compression.settings import Walk
from calib_sweep.compression.walk import walk
from calib_sweep.method import column_solver
from calib_sweep.method.statistics.hessian import Hessian

ROOT = Path(__file__).parents[1]
METHODS = ("magnitude", "wanda", "sparsegpt", "paper_sparsegpt", "paper_gptq", "spqr")
VARIANTS = ("default", "resident", "float32_hessians", "recorded_launches", "single_launches")
RATE_SIZE = 8192


def main() -> None:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING)
    device = torch.device(arguments.device)
    shape = SHAPES[arguments.shape].with_blocks(arguments.blocks)
    report: dict[str, Any] = {"environment": describe(device, arguments.commit), "runs": []}
    for dtype in arguments.dtypes:
        rates = measure_rates(device, getattr(torch, dtype))
        report["environment"].setdefault("tflop_per_s", {})[dtype] = rates
        for variants in _grouped(arguments.variants):
            measure(report, arguments, shape, dtype, device, variants, rates)
    print(json.dumps(report["environment"], indent=1))


def measure(
    report: dict[str, Any],
    arguments: argparse.Namespace,
    shape: Shape,
    dtype: str,
    device: torch.device,
    variants: list[str],
    rates: dict[str, float],
) -> None:
    """All methods and variants that want the model in one place."""
    start_s = time.perf_counter()
    offload = "resident" not in variants
    model = random_llama(shape, getattr(torch, dtype), device, offload=offload)
    made_s = time.perf_counter() - start_s
    tokens = random_tokens(shape)
    warm_up(device, model)
    for name in arguments.methods:
        for variant in variants:
            draw_weights(model, device)
            undo = rotated(model, arguments)
            row = run(model, name, variant, tokens, device, arguments)
            undo()
            row = {"dtype": dtype, "blocks": shape.num_blocks, "made_s": made_s, **row}
            row |= {"floor_s": floors(shape, load_part("method", name), rates)}
            report["runs"].append(row)
            show(row)
            if arguments.out:
                Path(arguments.out).write_text(json.dumps(report, indent=1))
    del model


def rotated(model: Any, arguments: argparse.Namespace) -> Callable[[], None]:
    """Rotate the model, if asked to; return what undoes it, but for the values of weights."""
    if arguments.rotation is None:
        return lambda: None
    rotation = load_part("rotation", arguments.rotation)
    return rotation.apply(model, is_quantized=arguments.activations is not None)


def run(
    model: Any,
    name: str,
    variant: str,
    tokens: torch.Tensor,
    device: torch.device,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """One walk, measured."""
    method = load_part("method", name)
    quantised = arguments.activations and load_part("activations", arguments.activations)
    settings = default_walk(
        batch_tokens=arguments.batch_tokens, tensor_cores=variant != "float32_hessians"
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    launches = LAUNCHES.get(variant, nullcontext)()
    start_s = time.perf_counter()
    with launches, clocked(device, method) as clock:
        reports = walk(model, method, tokens, activations=quantised, settings=settings)
    errors = [layer.output_error for layer in reports if layer.output_error is not None]
    on_gpu = device.type == "cuda"
    return {
        "method": name,
        "activations": arguments.activations,
        "rotation": arguments.rotation,
        "variant": variant,
        "wall_s": time.perf_counter() - start_s,
        "parts_s": {part: clock.wall_s[part] for part in PARTS},
        "peak_device_gib": torch.cuda.max_memory_allocated(device) / 2**30 if on_gpu else None,
        "peak_host_gib": peak_host_gib(),
        "sparsity": sum(layer.sparsity for layer in reports) / len(reports),
        "mean_output_error": sum(errors) / len(errors) if errors else None,
        "products": sorted({str(layer.products) for layer in reports}),
        "notes": sorted({layer.note for layer in reports if layer.note}),
    }


@contextmanager
def recorded_launches() -> Iterator[None]:
    """No column loop has a kernel of its own."""
    with patch.object(column_solver, "has_kernels", lambda tensor: False):
        yield


@contextmanager
def single_launches() -> Iterator[None]:
    """Every kernel of a column loop is launched from Python."""

    def call(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    with recorded_launches(), patch.object(column_solver, "as_one_launch", call):
        yield


LAUNCHES = {"recorded_launches": recorded_launches, "single_launches": single_launches}


def floors(shape: Shape, method: Any, rates: dict[str, float]) -> dict[str, float]:
    """Seconds that the FLOP alone take of what all methods with such a statistic need."""
    needs_forward = method.work().passes > 0
    needs_hessian = method.statistic is not None and issubclass(method.statistic, Hessian)
    floor = {
        "forwards": shape.forward_flop() / rates["half"] if needs_forward else 0.0,
        "hessians": shape.hessian_flop() / rates["half"] if needs_hessian else 0.0,
        "solves": shape.solve_flop() / rates["float32"] if needs_hessian else 0.0,
    }
    floor = {part: flop / 1e12 for part, flop in floor.items()}
    return floor | {"all": sum(floor.values())}


def measure_rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """TFLOP/s of large products of random matrices, the best of a few."""
    size = RATE_SIZE if device.type == "cuda" else RATE_SIZE // 16
    generator = torch.Generator(device).manual_seed(0)
    rates = {}
    for name, kind in (("half", dtype), ("float32", torch.float32)):
        matrix = torch.randn(size, size, generator=generator, device=device).to(kind)
        seconds = []
        for _ in range(5):
            wait(device)
            start_s = time.perf_counter()
            _ = matrix @ matrix
            wait(device)
            seconds.append(time.perf_counter() - start_s)
        rates[name] = 2 * size**3 / min(seconds) / 1e12
    return rates


def warm_up(device: torch.device, model: Any) -> None:
    """Libraries load themselves at first use, which is no part of a walk."""
    draw_weights(model, device)
    eye = torch.eye(256, device=device)
    torch.linalg.solve_triangular(torch.linalg.cholesky_ex(eye)[0], eye, upper=False)
    with torch.no_grad():
        model(torch.zeros(1, 16, dtype=torch.long, device=device))
    wait(device)


def load_part(group: str, text: str) -> Any:
    """`gptq:bits=3,format=int` of conf/GROUP/, without Hydra."""
    name, _, given = text.partition(":")
    changes = OmegaConf.from_dotlist([pair for pair in given.split(",") if pair])
    return load(group, name, **cast("dict[str, Any]", OmegaConf.to_container(changes)))


def default_walk(**changes: Any) -> Walk:
    """Return the walk of conf/config.yaml, with changes."""
    settings = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/config.yaml").walk)
    return Walk(**cast("dict[str, Any]", settings) | changes)


def load_method(name: str, **changes: Any) -> Any:
    return load("method", name, **changes)


def load(group: str, name: str, **changes: Any) -> Any:
    """What conf/GROUP/NAME.yaml describes, with changes."""
    path = ROOT / "conf" / group / f"{name}.yaml"
    settings = OmegaConf.to_container(OmegaConf.load(path))  # 1e-6 is a number, as for Hydra
    return built(cast("dict[str, Any]", settings) | changes)


def built(settings: dict[str, Any]) -> Any:
    """The part that a node describes; OWL's base is a part that is not finished yet."""
    settings = {key: built(v) if _is_part(v) else v for key, v in settings.items()}
    module, _, cls = settings.pop("_target_").rpartition(".")
    make = getattr(importlib.import_module(module), cls)
    return partial(make, **settings) if settings.pop("_partial_", False) else make(**settings)


def _is_part(value: object) -> bool:
    return isinstance(value, dict) and "_target_" in value


def describe(device: torch.device, commit: str | None) -> dict[str, Any]:
    if commit is None:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {"device": name, "commit": commit, "python": sys.version.split()[0], **versions}


def show(row: dict[str, Any]) -> None:
    parts = "  ".join(f"{part} {seconds:.2f}" for part, seconds in row["parts_s"].items())
    device_gib = row["peak_device_gib"]
    print(
        f"{row['dtype']} {row['method']:17} {row['variant']:17} {row['wall_s']:7.2f} s "
        f"(floor {row['floor_s']['all']:.2f})  {parts}  device "
        f"{'-' if device_gib is None else f'{device_gib:.1f}'} GiB  host "
        f"{row['peak_host_gib']:.1f} GiB",
        flush=True,
    )


def _grouped(variants: list[str]) -> list[list[str]]:
    """Those with blocks in host memory, and those with all on the device."""
    groups = [[v for v in variants if v != "resident"], [v for v in variants if v == "resident"]]
    return [group for group in groups if group]


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtypes", nargs="+", default=["float16"])
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--activations", metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--rotation", metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["default"])
    parser.add_argument("--blocks", type=int, help="so many blocks instead of all")
    parser.add_argument("--batch-tokens", type=int, help="through a block at once")
    parser.add_argument("--commit", help="where the code comes from; found out in a git checkout")
    parser.add_argument("--out", help="a JSON file, written after every walk")
    return parser


if __name__ == "__main__":
    main()
