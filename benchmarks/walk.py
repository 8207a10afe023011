"""What a walk costs on a CPU: CPU seconds of its parts, memory, and how both grow.

    python benchmarks/walk.py --out walk.json             # the reference shape, three methods
    python benchmarks/walk.py --grow --methods wanda      # half and quarter sizes as well
    python benchmarks/walk.py --against ../old --times 5  # beside another checkout, alternately
    python benchmarks/walk.py --ranks 1 2 --threads 1     # by one process, and shared by two

CPU seconds are those of all threads of the process, so they hardly depend on what else the machine
does; the rate of large products, measured before and after every walk, says what the machine gave.
The floor is all FLOP at that rate. Every case runs in a process of its own, so that its peak memory
is its own: `beyond` is what the walk needed on top of the model.

`--against FOLDER` runs the walk of a checkout in FOLDER and this one in turn, each with its own
benchmark, and shows the medians over pairs of the ratios of CPU seconds, here over there.

`--ranks 1 2` walks `--times` times by each number of processes in turn. CPU seconds of a walk are
then those of its busiest rank: how long it would take with cores to itself, waiting aside.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
from gpu import default_walk, describe, floors, load_part
from parts import PARTS, clocked, peak_host_gib
from random_llama import SHAPES, Shape, draw_weights, random_llama, random_tokens

from calib_sweep.compression.walk import walk
from calib_sweep.ranks import ALONE, ProcessRanks, Ranks

METHODS = ("wanda", "sparsegpt", "gptq", "spqr")
CPU = torch.device("cpu")
RATE_SIZE, NUM_PRODUCTS = 2048, 12


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.against:
        compare(arguments)
        return
    shapes = grown(SHAPES[arguments.shape]) if arguments.grow else [SHAPES[arguments.shape]]
    report: dict[str, Any] = {"environment": describe(CPU, arguments.commit), "runs": []}
    for shape in shapes:
        for name, num_ranks in turns(arguments):
            row = run_in_processes(
                num_ranks, shape, name, arguments.threads, arguments.batch_tokens
            )
            report["runs"].append(row)
            show(row)
            if arguments.out:
                Path(arguments.out).write_text(json.dumps(report, indent=1))


def turns(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Methods and numbers of ranks, as they are walked one after the other."""
    times = arguments.times if len(arguments.ranks) > 1 else 1
    return [
        (n, ranks) for n in arguments.methods for _ in range(times) for ranks in arguments.ranks
    ]


def run_in_processes(num_ranks: int, *arguments: Any) -> dict[str, Any]:
    """One walk in processes of its own: the row of its busiest rank."""
    spawn = get_context("spawn")
    with TemporaryDirectory() as folder, ProcessPoolExecutor(num_ranks, spawn) as own_processes:
        tasks = [
            own_processes.submit(run_rank, index, num_ranks, folder, *arguments)
            for index in range(num_ranks)
        ]
        rows = [task.result() for task in tasks]
    return max(rows, key=lambda row: row["cpu_s"]) | {
        "ranks": num_ranks,
        "wall_s": max(row["wall_s"] for row in rows),
        "sum_cpu_s": sum(row["cpu_s"] for row in rows),
    }


def run_rank(index: int, count: int, folder: str, *arguments: Any) -> dict[str, Any]:
    if count == 1:
        return run(*arguments)
    store = torch.distributed.FileStore(f"{folder}/store", count)
    torch.distributed.init_process_group("gloo", store=store, rank=index, world_size=count)
    try:
        return run(*arguments, ProcessRanks(index=index, count=count, device=CPU))
    finally:
        torch.distributed.destroy_process_group()


def compare(arguments: argparse.Namespace) -> None:
    """Show how the CPU seconds of this checkout compare with those of another."""
    here, there = Path(__file__).parents[1], Path(arguments.against).resolve()
    for name in arguments.methods:
        pairs = [
            [parts_of_walk(root, name, arguments) for root in (there, here)]
            for _ in range(arguments.times)
        ]
        ratios = {
            part: median(ours[part] / theirs[part] for theirs, ours in pairs)
            for part in ("all", "solve", "statistics")
            if all(theirs[part] > 0 for theirs, _ in pairs)
        }
        theirs, ours = (median(pair[side]["all"] for pair in pairs) for side in (0, 1))
        shown = "  ".join(f"{part} x{ratio:.3f}" for part, ratio in ratios.items())
        print(f"{name:17} CPU {theirs:.1f} s there, {ours:.1f} s here  {shown}", flush=True)


def parts_of_walk(root: Path, name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """CPU seconds of the parts of a walk, and of all, by the code and the benchmark in `root`."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "walk.json"
        words = ["--shape", arguments.shape, "--methods", name, "--out", str(out)]
        words += ["--threads", str(arguments.threads)]
        command = [sys.executable, str(root / "benchmarks" / "walk.py"), *words]
        paths = {"PYTHONPATH": str(root)}
        subprocess.run(command, check=True, env=os.environ | paths, stdout=subprocess.DEVNULL)
        (row,) = json.loads(out.read_text())["runs"]
    return {"all": row["cpu_s"], **row["parts_cpu_s"]}


def grown(shape: Shape) -> list[Shape]:
    """A quarter and a half of one dimension at a time, and the whole."""
    shapes = []
    for share in (4, 2):
        width = {"hidden": shape.hidden // share, "intermediate": shape.intermediate // share}
        shapes += [
            replace(shape, **width, num_heads=max(shape.num_heads // share, 1)),
            replace(shape, num_blocks=max(shape.num_blocks // share, 1)),
            replace(shape, num_samples=max(shape.num_samples // share, 1)),
        ]
    return [*shapes, shape]


def run(
    shape: Shape, name: str, num_threads: int, batch_tokens: int | None, ranks: Ranks = ALONE
) -> dict[str, Any]:
    """One walk, or a rank's part of it, measured."""
    torch.set_num_threads(num_threads)
    model = random_llama(shape, torch.float32, CPU, offload=False)
    draw_weights(model, CPU)
    method, tokens = load_part("method", name), random_tokens(shape)
    settings = default_walk(batch_tokens=batch_tokens)
    rate_size = min(RATE_SIZE, 8 * shape.hidden)  # a dry run need not wait for it
    rates = [cpu_rate(rate_size)]
    before_gib = psutil.Process().memory_info().rss / 2**30
    with clocked(CPU, method) as clock:
        walk(model, method, tokens, settings=settings, ranks=ranks)
    rates.append(cpu_rate(rate_size))
    rate = sum(rates) / 2
    return {
        "method": name,
        "shape": asdict(shape),
        "threads": num_threads,
        "batch_tokens": batch_tokens,
        "wall_s": sum(clock.wall_s.values()),
        "cpu_s": sum(clock.cpu_s.values()),
        "parts_cpu_s": {part: clock.cpu_s[part] for part in PARTS},
        "gflop_per_cpu_s": rate * 1e3,
        "floor_cpu_s": floors(shape, method, {"half": rate, "float32": rate}),
        "beyond_gib": peak_host_gib() - before_gib,
        "model_gib": sum(p.numel() for p in model.parameters()) * 4 / 2**30,
    }


def cpu_rate(size: int) -> float:
    """TFLOP per CPU second of float32 products of `size` x `size` matrices."""
    matrix = torch.randn(size, size, generator=torch.Generator().manual_seed(0))
    _ = matrix @ matrix
    start_s = time.process_time()
    for _ in range(NUM_PRODUCTS):
        _ = matrix @ matrix
    return 2 * NUM_PRODUCTS * size**3 / (time.process_time() - start_s) / 1e12


def show(row: dict[str, Any]) -> None:
    shape, floor = row["shape"], row["floor_cpu_s"]["all"]
    parts = "  ".join(f"{part} {seconds:.1f}" for part, seconds in row["parts_cpu_s"].items())
    print(
        f"{row['method']:17} {row['ranks']} x {shape['hidden']:5} x {shape['num_blocks']} blocks x "
        f"{shape['num_samples']:3}  CPU {row['cpu_s']:6.1f} s, {row['cpu_s'] / floor:.2f} x floor "
        f"({floor:.1f}), {row['wall_s']:.1f} s by the clock  {parts}  "
        f"beyond the model {row['beyond_gib']:.2f} GiB  "
        f"{row['gflop_per_cpu_s']:.0f} GFLOP/s",
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="cpu")
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="NAME[:KEY=VALUE,...]")
    parser.add_argument("--grow", action="store_true", help="smaller shapes as well")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, help="through a block at once")
    parser.add_argument("--against", help="another checkout, to compare with")
    parser.add_argument("--times", type=int, default=5, help="walks of each, to compare")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1], help="processes of a walk")
    parser.add_argument("--commit", help="where the code comes from; found out in a git checkout")
    parser.add_argument("--out", help="a JSON file, written after every walk")
    return parser


if __name__ == "__main__":
    main()
