"""One cell on several GPUs beside as many cells on one GPU each: walks, requests, windows.

    python benchmarks/gpu_ranks.py --out ranks.json                           # two GPUs, a 7B shape
    python benchmarks/gpu_ranks.py --shape llama-70b --blocks 3 --offload --parts walk
    python benchmarks/gpu_ranks.py --shape tiny --device cpu --dtype float32   # a dry run

    alone      one process on the first GPU
    apart      as many processes as GPUs, each with a cell of its own
    together   one cell shared by all of them (ranks_per_cell), NCCL between them

Printed for each: seconds of the slowest process and peak memory of its GPU. `speed_up` is alone's
seconds over together's. `price` is what sharing costs a grid: the GPUs' seconds a cell together,
over apart's. The model is random (`random_llama`), the requests are of the ten tasks' sizes.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu import default_walk, describe, load_part, wait, warm_up
from parts import PARTS, clocked, peak_host_gib
from random_llama import SHAPES, Shape, draw_weights, random_llama, random_tokens
from ranked import on_gpus
from scoring import CONTEXT, random_windows, requests_of, scorer_of

from calib_sweep.compression.walk import walk
from calib_sweep.evaluation.corpora.perplexity import token_perplexity
from calib_sweep.ranks import ALONE, Ranks

KINDS = ("alone", "apart", "together")
WARM_SHARE = 0.002


def main() -> None:
    arguments = _parser().parse_args()
    report: dict[str, Any] = {"environment": describe(torch.device(arguments.device), None)}
    report["arguments"] = vars(arguments)
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for kind in arguments.kinds:
        count = 1 if kind == "alone" else arguments.ranks
        found[kind] = on_gpus(count, measure, kind, arguments, kind=arguments.device)
        report["runs"] = [row for rows in found.values() for row in slowest(rows)]
        for row in slowest(found[kind]):
            print(json.dumps(row), flush=True)
        if arguments.out:
            Path(arguments.out).write_text(json.dumps(report, indent=1))
    if set(found) == set(KINDS):
        for alone, apart, together in zip(*map(slowest, found.values()), strict=True):
            speed_up = alone["wall_s"] / together["wall_s"]
            price = arguments.ranks * together["wall_s"] / apart["wall_s"]
            print(f"{alone['part']:24} speed_up {speed_up:.2f}  price {price:.2f}")


def slowest(of_ranks: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Of each part the row of the process that took longest, with the highest peaks."""
    rows = []
    for of_part in zip(*of_ranks, strict=True):
        peaks = {k: max(row[k] or 0 for row in of_part) for k in ("device_gib", "host_gib")}
        rows.append(max(of_part, key=lambda row: row["wall_s"]) | peaks)
    return rows


def measure(of_group: Ranks, kind: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All parts, in one process."""
    device: torch.device = of_group.device  # type: ignore[attr-defined]
    ranks = of_group if kind == "together" else ALONE
    shape = SHAPES[arguments.shape].with_blocks(arguments.blocks)
    dtype = getattr(torch, arguments.dtype)
    model = random_llama(shape, dtype, device, offload=arguments.offload)
    warm_up(device, model)
    parts: dict[str, Callable[[], dict[str, Any]]] = {}
    if "walk" in arguments.parts:
        for name in arguments.methods:
            parts[f"walk {name}"] = walking(model, name, shape, device, ranks)
    if "scores" in arguments.parts:
        model.config.max_position_embeddings = CONTEXT  # rotary embeddings have no end
        parts |= scoring(model, shape, arguments, ranks)
    rows = []
    for part, run in parts.items():
        draw_weights(model, device)
        of_group.gathered([])  # begin together
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        start_s = time.perf_counter()
        told = run()
        wait(device)
        seconds = time.perf_counter() - start_s
        peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
        peaks = {"device_gib": peak, "host_gib": peak_host_gib()}
        row = {"part": part, "kind": kind, "ranks": ranks.count, "blocks": shape.num_blocks}
        rows.append(row | {"wall_s": seconds, **peaks, **told})
    return rows


def walking(
    model: Any, name: str, shape: Shape, device: torch.device, ranks: Ranks
) -> Callable[[], dict[str, Any]]:
    method, tokens = load_part("method", name), random_tokens(shape)
    settings = default_walk()

    def run() -> dict[str, Any]:
        with clocked(device, method) as clock:
            reports = walk(model, method, tokens, settings=settings, ranks=ranks)
        errors = [layer.output_error for layer in reports if layer.output_error is not None]
        seconds = {part: round(clock.wall_s[part], 3) for part in PARTS}
        return {"parts_s": seconds, "mean_error": sum(errors) / max(1, len(errors))}

    return run


def scoring(
    model: Any, shape: Shape, arguments: argparse.Namespace, ranks: Ranks
) -> dict[str, Callable[[], dict[str, Any]]]:
    """A share of the ten tasks' requests, and windows; each asked a little before."""
    requests = requests_of(arguments.share, shape.vocab)
    few = requests_of(min(WARM_SHARE, arguments.share), shape.vocab)
    windows = random_windows(shape, arguments.share_of_windows)
    scorer = scorer_of(model, "packed", None)
    scorer.ranks = ranks
    scorer.loglikelihoods(few)

    def ask() -> dict[str, Any]:
        answers = scorer.loglikelihoods(requests)
        return {"requests": len(requests), "sum": float(sum(answer[0] for answer in answers))}

    return {"requests": ask, "windows": lambda: {"ppl": str(token_perplexity(scorer, windows))}}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument(
        "--parts", nargs="+", choices=("walk", "scores"), default=["walk", "scores"]
    )
    parser.add_argument("--methods", nargs="+", default=["wanda", "sparsegpt", "paper_gptq"])
    parser.add_argument("--shape", choices=SHAPES, default="llama-7b")
    parser.add_argument("--blocks", type=int, help="so many blocks instead of all")
    parser.add_argument("--offload", action="store_true", help="blocks wait in host memory")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--share", type=float, default=0.1, help="of the items of each task")
    parser.add_argument("--share-of-windows", type=float, default=1.0)
    parser.add_argument("--out", help="a JSON file")
    return parser


if __name__ == "__main__":
    main()
