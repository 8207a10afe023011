"""Compare two runs of one cell: tensor cores, batch size, a second time, CPU or GPU.

    python benchmarks/agreement.py --model FOLDER --tokens tokens.npz --out agreement.json
    python benchmarks/agreement.py --synthetic --out synthetic.json

`tokens.npz` holds `calibration_SNT` (S sets of N samples) and `evaluation_NT`, as token ids of the
model; `agreement_tokens.py` makes it. Every comparison is with the float32 path of
`walk.tensor_cores=false`. What a batch size does is the measure: it is not in a cell's id, so what
moves numbers less need not be either.

    hessian    ||H - H'|| / ||H||, the largest of all layers; `first` block: inputs are the same
    masks      share of weights that are zero in both or in neither
    weights    ||W - W'|| / ||W|| over all compressed weights; `equal`: share of equal ones
    ppl        perplexity' / perplexity - 1

Synthetic: activations with heavy tails (Student's t, 2 degrees of freedom) and a few features a
hundred times as large, against a Hessian in float64.
"""

import argparse
import copy
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from gpu import default_walk, describe, load_method
from torch import Tensor
from transformers import AutoModelForCausalLM

from calib_sweep.compression import spreading
from calib_sweep.compression.layer import compress_layer
from calib_sweep.compression.walk import walk
from calib_sweep.method.gpu.precision import allow_tensor_cores
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.model.blocks import decoder_blocks, linear_layers

METHODS = {
    "wanda": ("wanda", {}),
    "sparsegpt": ("sparsegpt", {}),
    "sparsegpt_24": ("paper_sparsegpt", {}),
    "gptq": ("gptq", {}),
    "spqr": ("spqr", {"group_size": None, "second_group_size": 4}),
}
BATCH_TOKENS, OTHER_BATCH_TOKENS = 16384, 1024


@dataclass
class Outcome:
    """The weights, Hessians and perplexity that one run leaves."""

    weights: dict[tuple[int, str], Tensor]
    hessians: dict[tuple[int, str], Tensor]
    perplexity: float


def main() -> None:
    arguments = _parser().parse_args()
    device = torch.device(arguments.device)
    report: dict[str, Any] = {"environment": describe(device, arguments.commit)}
    if arguments.synthetic:
        report["synthetic"] = [
            synthetic(device, dtype, arguments.size) for dtype in (torch.float16, torch.bfloat16)
        ]
    if arguments.model:
        options = arguments.dtypes, arguments.sets
        report["trained"] = trained(arguments.model, arguments.tokens, device, *options)
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(report, indent=1))


def trained(
    folder: str, tokens: str, device: torch.device, dtypes: list[str], num_sets: int | None
) -> list[Any]:
    """Every method, set and dtype."""
    data, rows = np.load(tokens), []
    evaluation_NT = torch.as_tensor(data["evaluation_NT"]).long()
    for dtype in dtypes:
        model = load(folder, dtype, device)
        on_cpu = load(folder, dtype, torch.device("cpu")) if dtype == "float32" else None
        for name in METHODS:
            for number, calibration_NT in enumerate(data["calibration_SNT"][:num_sets]):
                tokens_NT = torch.as_tensor(calibration_NT).long()
                compared = compare_all(model, on_cpu, name, tokens_NT, evaluation_NT)
                for what, row in compared.items():
                    row = {"model": folder, "dtype": dtype, "method": name, "set": number} | row
                    rows.append(row | {"what": what})
                    show(rows[-1])
    return rows


def compare_all(
    model: Any, on_cpu: Any | None, name: str, tokens_NT: Tensor, evaluation_NT: Tensor
) -> dict[str, dict[str, Any]]:
    """The same cell in several ways, each against the first."""

    def run(source: Any, batch_tokens: int, tensor_cores: bool) -> Outcome:
        return compress(source, name, tokens_NT, evaluation_NT, batch_tokens, tensor_cores)

    reference = run(model, BATCH_TOKENS, False)
    others = {"again": run(model, BATCH_TOKENS, False)}
    others["other batch size"] = run(model, OTHER_BATCH_TOKENS, False)
    if on_cpu is None:
        others["tensor cores"] = run(model, BATCH_TOKENS, True)
    else:
        others["cpu"] = run(on_cpu, BATCH_TOKENS, False)
    compared = {what: compare(reference, other) for what, other in others.items()}
    if on_cpu is None:
        again = run(model, BATCH_TOKENS, True)
        compared["tensor cores again"] = compare(others["tensor cores"], again)
    return compared


def compress(
    source: Any,
    name: str,
    tokens_NT: Tensor,
    evaluation_NT: Tensor,
    batch_tokens: int,
    tensor_cores: bool,
) -> Outcome:
    model = copy.deepcopy(source)
    settings = default_walk(batch_tokens=batch_tokens, tensor_cores=tensor_cores)
    preset, changes = METHODS[name]
    with kept_hessians() as hessians:
        walk(model, load_method(preset, **changes), tokens_NT, settings=settings)
    weights = {
        (index, layer_name): layer.weight_OI().float().cpu()
        for index, block in enumerate(decoder_blocks(model))
        for layer_name, layer in linear_layers(block).items()
    }
    return Outcome(weights, hessians, perplexity(model, evaluation_NT))


@contextmanager
def kept_hessians() -> Iterator[dict[tuple[int, str], Tensor]]:
    """The Hessian of every layer, as it was when the layer was compressed."""
    hessians = {}

    def keep(index: int, name: str, layer: Any, method: Any, statistic: Any, *others: Any) -> Any:
        if isinstance(statistic, Hessian):
            hessians[index, name] = statistic.hessian_II().cpu()
        return compress_layer(index, name, layer, method, statistic, *others)

    with patch.object(spreading, "compress_layer", keep):
        yield hessians


@torch.no_grad()
def perplexity(model: Any, tokens_NT: Tensor) -> float:
    """Of all tokens but the first of a window, losses in float32."""
    losses = []
    for batch in tokens_NT.split(8):
        batch = batch.to(model.device)
        logits_NTV = model(batch).logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(logits_NTV.flatten(0, 1), batch[:, 1:].flatten())
        losses.append((float(loss), len(batch)))
    return math.exp(sum(loss * n for loss, n in losses) / sum(n for _, n in losses))


def compare(one: Outcome, other: Outcome) -> dict[str, Any]:
    squares = [(w - other.weights[k]).square().sum() for k, w in one.weights.items()]
    size = sum(float(w.square().sum()) for w in one.weights.values())
    first = {k: h for k, h in one.hessians.items() if k[0] == 0}
    return {
        "hessian": _largest_difference(one.hessians, other.hessians),
        "hessian_first": _largest_difference(first, other.hessians),
        "masks": _share(one, other, lambda a, b: (a == 0) == (b == 0)),
        "weights": math.sqrt(float(sum(squares)) / size),
        "equal": _share(one, other, lambda a, b: a == b),
        "perplexity": one.perplexity,
        "ppl": other.perplexity / one.perplexity - 1,
    }


def _share(one: Outcome, other: Outcome, agree: Any) -> float:
    same = sum(int(agree(w, other.weights[k]).sum()) for k, w in one.weights.items())
    return same / sum(w.numel() for w in one.weights.values())


def _largest_difference(
    one: dict[tuple[int, str], Tensor], other: dict[tuple[int, str], Tensor]
) -> float | None:
    return max((float((h - other[k]).norm() / h.norm()) for k, h in one.items()), default=None)


def synthetic(device: torch.device, dtype: torch.dtype, size: int) -> dict[str, Any]:
    """Hessians and solves of heavy-tailed activations, summed in different ways."""
    generator = torch.Generator(device).manual_seed(0)
    num_batches, num_tokens = 8, 8 * size
    mixing = torch.randn(size, size, generator=generator, device=device) / size**0.5
    batches = [heavy_tailed(num_tokens, mixing, generator).to(dtype) for _ in range(num_batches)]
    exact = torch.zeros(size, size, dtype=torch.float64, device=device)
    for batch in batches:
        exact += batch.double().T @ batch.double()
    exact *= 2 / num_batches
    ways = {
        "float32": hessian(batches, 1, False),
        "float32, other batch size": hessian(batches, 16, False),
        "tensor cores": hessian(batches, 1, True),
        "tensor cores, other batch size": hessian(batches, 16, True),
    }
    weight = torch.randn(size // 2, size, generator=generator, device=device) ** 3 / 50
    row: dict[str, Any] = {"dtype": str(dtype), "largest": float(max(b.max() for b in batches))}
    solved = {way: solve_all(weight.to(dtype), statistic) for way, statistic in ways.items()}
    for way, statistic in ways.items():
        error = statistic.hessian_II().double() - exact
        diagonal = (error.diagonal() / exact.diagonal()).abs().max()
        row[way] = {
            "hessian_vs_float64": float(error.norm() / exact.norm()),
            "diagonal_vs_float64": float(diagonal),
        }
        for name, new in solved[way].items():
            old = solved["float32"][name]
            row[way][f"{name}_masks"] = float(((new == 0) == (old == 0)).double().mean())
            row[way][f"{name}_equal"] = float((new == old).double().mean())
            row[way][f"{name}_error"] = quadratic(exact, weight.to(dtype) - new) / quadratic(
                exact, weight.to(dtype)
            )
        print(row["dtype"], way, json.dumps(row[way]), flush=True)
    return row


def heavy_tailed(num_tokens: int, mixing: Tensor, generator: torch.Generator) -> Tensor:
    """Correlated features of Student's t with 2 degrees of freedom; every 512th is 100 x larger."""
    size, device = len(mixing), mixing.device
    normal = torch.randn(num_tokens, size, generator=generator, device=device)
    square = torch.randn(num_tokens, 2, generator=generator, device=device).square().mean(dim=1)
    scale = torch.ones(size, device=device)
    scale[::512] = 100.0
    inputs = (normal + normal @ mixing) / square.sqrt().clamp_min(0.01).unsqueeze(1) * scale
    return inputs.clamp(-6e4, 6e4)


def hessian(batches: list[Tensor], num_parts: int, tensor_cores: bool) -> Hessian:
    statistic = Hessian(batches[0].shape[1], batches[0].device)
    with allow_tensor_cores(tensor_cores):
        for batch in batches:
            for number, part in enumerate(batch.chunk(num_parts)):
                statistic.add(part, num_samples=int(number == 0))
    return statistic


def solve_all(weight: Tensor, statistic: Hessian) -> dict[str, Tensor]:
    return {
        name: load_method(preset, **changes).compress_weight(weight, statistic).weight_OI
        for name, (preset, changes) in METHODS.items()
        if name in ("sparsegpt", "sparsegpt_24", "gptq", "spqr")
    }


def quadratic(hessian_II: Tensor, weight: Tensor) -> float:
    weight = weight.double()
    return float(((weight @ hessian_II) * weight).sum())


def load(folder: str, dtype: str, device: torch.device) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    return model.to(device).eval().requires_grad_(False)


def show(row: dict[str, Any]) -> None:
    numbers = " ".join(
        f"{key} {row[key]:.6f}" if key in ("masks", "equal") else f"{key} {row[key]:.2e}"
        for key in ("hessian_first", "hessian", "masks", "weights", "equal", "ppl")
        if row[key] is not None
    )
    print(
        f"{row['dtype']:8} {row['method']:14} {row['set']} {row['what']:18} {numbers}", flush=True
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="a folder with a trained model")
    parser.add_argument("--tokens", help="an .npz file with calibration_SNT and evaluation_NT")
    parser.add_argument("--dtypes", nargs="+", default=["float16", "bfloat16", "float32"])
    parser.add_argument("--sets", type=int, help="the first so many calibration sets")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("--size", type=int, default=2048, help="features, synthetic")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--commit", help="where the code comes from; found out in a git checkout")
    parser.add_argument("--out", help="a JSON file")
    return parser


if __name__ == "__main__":
    main()
