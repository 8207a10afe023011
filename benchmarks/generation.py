"""What text that a model writes costs, beside what the memory of the device allows.

    python benchmarks/generation.py --out generation.json                     # a 7B shape on a GPU
    python benchmarks/generation.py --rows 16 32 64 --num-samples 64 --dtypes bfloat16
    python benchmarks/generation.py --shape tiny --device cpu --dtypes float32      # a dry run

The model is random, the arithmetic that of a real one. So many tokens end a text that a text has
`--text-tokens` on average. The floor is the time to read, for every token of all rows at once, the
weights and the keys and values so far, at the bandwidth of a large copy, measured at the start.
Variants:

    write       as `dataset=generated` does
    launched    the same, every kernel launched from Python: no CUDA graph
    generate    one text a sample by transformers' own `generate`, of the same length, none ending
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu import describe, wait
from random_llama import SHAPES, Shape, draw_weights, random_llama

from calib_sweep.model.steps import GrowingSteps, steps_of
from calib_sweep.model.writing import Page, Sampling, rows_at_once, write

VARIANTS = ("write", "launched", "generate")
PLAIN = Sampling(
    t_init=1.0, t_final=1.0, t_tokens=0, top_k=None, top_p=None, repetition_penalty=1.0
)
RICH = Sampling(t_init=0.6, t_final=0.6, t_tokens=0, top_k=50, top_p=0.95, repetition_penalty=1.2)
COPIED_BYTES = {"cuda": 2**32, "cpu": 2**28}


def main() -> None:
    arguments = _parser().parse_args()
    device = torch.device(arguments.device)
    shape = SHAPES[arguments.shape].with_blocks(arguments.blocks)
    report: dict[str, Any] = {"environment": describe(device, arguments.commit), "runs": []}
    bandwidth = report["environment"]["bytes_per_s"] = measure_bandwidth(device)
    for dtype in arguments.dtypes:
        model: Any = random_llama(shape, getattr(torch, dtype), device, offload=False)
        draw_weights(model, device)
        num_rows = rows_at_once(model, shape.seq_len)
        write_samples(model, shape, 1, 8, arguments)  # libraries load themselves at first use
        for variant in arguments.variants:
            for rows in arguments.rows or [num_rows]:
                row: dict[str, Any] = {"dtype": dtype, "shape": arguments.shape, "rows": rows}
                row |= {"variant": variant, "sampling": arguments.sampling}
                row |= measure(model, variant, rows, shape, arguments, bandwidth)
                report["runs"].append(row)
                print(json.dumps(row), flush=True)
                if arguments.out:
                    Path(arguments.out).write_text(json.dumps(report, indent=1))
        del model
    print(json.dumps(report["environment"], indent=1))


def measure(
    model: Any,
    variant: str,
    rows: int,
    shape: Shape,
    arguments: argparse.Namespace,
    bandwidth: float,
) -> dict[str, float | None]:
    """Seconds for all samples, in batches of `rows`; of these the floor by reading alone."""
    on_gpu = model.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    num_samples, num_tokens = arguments.num_samples or shape.num_samples, shape.seq_len
    num_batches = -(-num_samples // rows)
    launched = partial(write_samples, steps=GrowingSteps)
    works = {"write": write_samples, "launched": launched, "generate": generate_samples}
    work = works[variant]
    wait(model.device)
    start_s = time.perf_counter()
    for _ in range(num_batches):
        work(model, shape, rows, num_tokens, arguments)
    wait(model.device)
    wall_s = time.perf_counter() - start_s
    floor_s = num_batches * bytes_read(model, shape, rows) / bandwidth
    return {
        "wall_s": wall_s,
        "tokens_per_s": num_batches * rows * num_tokens / wall_s,
        "floor_s": floor_s,
        "times_floor": wall_s / floor_s,
        "peak_device_gib": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
    }


def write_samples(
    model: Any,
    shape: Shape,
    rows: int,
    num_tokens: int,
    arguments: argparse.Namespace,
    steps: Any = steps_of,
) -> None:
    """Write a batch of samples; texts end now and then."""
    step = arguments.text_tokens
    page = Page(
        num_tokens=num_tokens,
        start=1,
        keeps_start="text",
        ends=range(step - 1, shape.vocab, step),
        is_joined=True,
        vocabulary=shape.vocab,
    )
    uniform_BT = np.random.default_rng(0).random((rows, num_tokens))
    sampling = RICH if arguments.sampling == "rich" else PLAIN
    found = write(model, page, sampling, uniform_BT, steps=steps)
    assert all(len(row) == num_tokens for row in found)


def generate_samples(
    model: Any, shape: Shape, rows: int, num_tokens: int, arguments: argparse.Namespace
) -> None:
    """Have transformers write a batch of texts of full length."""
    rich = {"temperature": 0.6, "top_k": 50, "top_p": 0.95, "repetition_penalty": 1.2}
    plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    first_BT = torch.ones(rows, 1, dtype=torch.long, device=model.device)
    with torch.inference_mode():
        found_BT = model.generate(
            first_BT,
            attention_mask=torch.ones_like(first_BT),
            do_sample=True,
            max_length=num_tokens,
            eos_token_id=None,
            pad_token_id=0,
            **(rich if arguments.sampling == "rich" else plain),
        )
    assert found_BT.shape == (rows, num_tokens), found_BT.shape


def bytes_read(model: Any, shape: Shape, rows: int) -> float:
    """Weights for every token of all rows at once; keys and values of all tokens before it."""
    embedding = model.get_input_embeddings().weight
    weights = sum(p.nbytes for p in model.parameters()) - embedding.nbytes
    per_token = 2 * shape.num_blocks * shape.hidden * embedding.itemsize
    num_steps = shape.seq_len - 1  # nothing is asked after the last token
    return num_steps * weights + rows * per_token * num_steps * (num_steps + 1) / 2


def measure_bandwidth(device: torch.device) -> float:
    """Bytes read and written in a second by the copy of a large tensor, the best of a few."""
    size = COPIED_BYTES["cuda" if device.type == "cuda" else "cpu"]
    whole, copy = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    seconds = []
    for _ in range(5):
        wait(device)
        start_s = time.perf_counter()
        copy.copy_(whole)
        wait(device)
        seconds.append(time.perf_counter() - start_s)
    return 2 * size / min(seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtypes", nargs="+", default=["float16"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["write"])
    parser.add_argument("--rows", type=int, nargs="+", help="at once; none: by device")
    parser.add_argument("--num-samples", type=int, help="none: as many as the shape's set has")
    parser.add_argument("--text-tokens", type=int, default=500, help="of a text, on average")
    parser.add_argument("--sampling", choices=("plain", "rich"), default="plain")
    parser.add_argument("--blocks", type=int, help="so many blocks instead of all")
    parser.add_argument("--commit", help="where the code comes from; found out in a git checkout")
    parser.add_argument("--out", help="a JSON file, written after every run")
    return parser


if __name__ == "__main__":
    main()
