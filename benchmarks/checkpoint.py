"""What it costs to keep the state of a walk after every block, and to go on from it.

    python benchmarks/checkpoint.py                        # a small shape, on a CPU
    python benchmarks/checkpoint.py --device cuda --shape llama-7b --folder /scratch/kept

Walks of a random LLaMA without and with states, in turn; then one that finds them all. A walk keeps
far fewer: `checkpoint_seconds` apart, and for a twentieth of its time at most.
"""

import argparse
import shutil
import time
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

import torch
from gpu import default_walk, load_part, wait
from random_llama import SHAPES, draw_weights, random_llama, random_tokens

from calib_sweep.compression.checkpoint import Checkpoint
from calib_sweep.compression.nothing_kept import NOTHING_KEPT, NothingKept
from calib_sweep.compression.walk import walk


class Measured(Checkpoint):
    """Notes how long each state took and what is written: blocks, hidden states."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__(folder, dict, every_s=0, device=device)
        self.seconds: list[tuple[float, float]] = []  # by the clock, and of all threads

    def _keep(self, inputs: object) -> None:
        start, start_cpu = time.perf_counter(), time.process_time()
        super()._keep(inputs)  # pyright: ignore[reportArgumentType]
        self.seconds.append((time.perf_counter() - start, time.process_time() - start_cpu))


def main() -> None:
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    shape = SHAPES[arguments.shape].with_blocks(arguments.blocks)
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    model = random_llama(shape, dtype, device, offload=device.type != "cpu")
    method, tokens = load_part("method", arguments.method), random_tokens(shape)
    settings = default_walk()

    def seconds(checkpoint: NothingKept) -> float:
        draw_weights(model, device)
        wait(device)
        start = time.perf_counter()
        walk(model, method, tokens, settings=settings, checkpoint=checkpoint)
        wait(device)
        return time.perf_counter() - start

    root = Path(arguments.folder or mkdtemp())
    folder, plain, kept = root / "kept", [], []
    each: list[tuple[float, float]] = []
    for _ in range(arguments.times):
        plain.append(seconds(NOTHING_KEPT))
        shutil.rmtree(folder, ignore_errors=True)
        checkpoint = Measured(folder, device)
        kept.append(seconds(checkpoint))
        each += checkpoint.seconds[:-1]  # the last one holds no hidden states
    found = seconds(Measured(folder, device))
    hidden = shape.num_tokens * shape.hidden * dtype.itemsize
    blocks = sum(path.stat().st_size for path in folder.glob("block-*"))
    one = (blocks / shape.num_blocks + hidden) / 1e6
    wall, cpu = (median(times) for times in zip(*each, strict=True))
    print(
        f"{arguments.method} on {device.type}, {shape.num_blocks} blocks: {median(plain):.2f} s; a "
        f"state after every block: {median(kept):.2f} s, {wall:.3f} s each (CPU {cpu:.3f} s) for "
        f"{one:.0f} MB; all blocks {blocks / 1e6:.0f} MB, put in place in {found:.2f} s"
    )
    shutil.rmtree(folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="gptq", help="a YAML of conf/method, and its settings")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--blocks", type=int, help="fewer than the shape has")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=3, help="walks of each kind")
    parser.add_argument("--folder", help="where states go, on the disk in question")
    return parser


if __name__ == "__main__":
    main()
