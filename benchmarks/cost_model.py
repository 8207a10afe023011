"""Hold what `check` says of hours against cells that it has not seen, of other sizes and methods.

    python benchmarks/cost_model.py                     about four minutes on a quiet core
    python benchmarks/cost_model.py --folder runs       keeps what was run; goes on where it ended

Miniature grids are run, one worker each. The cost model is fitted to the cells of CALIBRATE and
tells those of HELD_OUT: calibration sets, windows and items of other numbers and lengths, methods
that it was not fitted to, another model. Printed for each held-out grid: seconds measured and told
of all its cells, and told / measured of the best and the worst cell.

Seconds are those of the processor in one thread, by `time.process_time` in place of the clock, so
that other work on the machine changes little. The model is told the same way from wall clocks.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM

from calib_sweep.cell import Config
from calib_sweep.parts.building import Builder
from calib_sweep.places import WEIGHTS
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.sweep.cost.finished import known_devices, model_key
from calib_sweep.sweep.cost.jobs import shape_here
from calib_sweep.sweep.cost.parts import PARTS, parts_of
from calib_sweep.sweep.cost.rates import Rates

CHILD = """
import sys, time
from types import SimpleNamespace
from calib_sweep import cli, run
run.time = SimpleNamespace(perf_counter=time.process_time)
sys.exit(cli.main())
"""
ALL = "magnitude,rtn,wanda,ria,owl,sparsegpt,gptq,spqr,awq"
FEW = "magnitude,wanda,sparsegpt"


@dataclass(frozen=True)
class Grid:
    samples: int
    seq_len: int
    windows: int
    window: int  # tokens
    items: int
    methods: str = ALL
    model: str = "miniature"

    def arguments(self) -> list[str]:
        """The grid as one types it."""
        sizes = {"calibration.num_samples": self.samples, "calibration.seq_len": self.seq_len}
        sizes |= {"evaluation.perplexity.max_windows": self.windows}
        sizes |= {"evaluation.perplexity.seq_len": self.window}
        sizes |= {"evaluation.zero_shot.num_items": self.items}
        return [
            "model=miniature",
            f"method={self.methods}",
            *(f"{k}={v}" for k, v in sizes.items()),
        ]


CALIBRATE = {"small": Grid(8, 128, 4, 128, 40, FEW), "middle": Grid(16, 256, 8, 256, 100, FEW)}
HELD_OUT = {
    "other methods": Grid(16, 256, 8, 256, 100, "rtn,ria,owl,gptq,spqr,awq"),
    "all of it less": Grid(4, 64, 2, 64, 10),
    "all of it more": Grid(32, 512, 16, 512, 300),
    "short samples, few long windows": Grid(32, 128, 2, 512, 100),
    "long samples, many short windows": Grid(8, 512, 32, 128, 20),
    "a wider model": Grid(8, 256, 4, 256, 60, model="wider"),
}
WIDER = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4}


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold the hours that check tells against cells")
    parser.add_argument("--folder", type=Path, help="where sweeps are written; a temporary one")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given or Path(temporary)).resolve()
        make_wider(folder / "wider")
        for part, grids in (("calibrate", CALIBRATE), ("held_out", HELD_OUT)):
            for name, grid in grids.items():
                run(grid, folder / part, name.replace(" ", "_").replace(",", ""), folder)
        show(folder)


def make_wider(folder: Path) -> None:
    """Save a LLaMA of random weights with the miniature's tokenizer."""
    if folder.exists():
        return
    settings = LlamaConfig.from_pretrained(WEIGHTS).to_dict() | WIDER | {"head_dim": 64}
    LlamaForCausalLM(LlamaConfig.from_dict(settings)).save_pretrained(folder)
    for path in WEIGHTS.glob("tokenizer*"):
        (folder / path.name).write_bytes(path.read_bytes())


def run(grid: Grid, results: Path, name: str, folder: Path) -> None:
    """Run a grid in a process of its own."""
    typed = [*grid.arguments(), f"sweep_name={name}", f"results_dir={results}", "tracking=none"]
    typed += ["workers=1", "model.device=cpu"]
    if grid.model != "miniature":
        typed += [f"model.path={folder / grid.model}", f"model.name={grid.model}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, "-m", *typed]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def show(folder: Path) -> None:
    """Print the table."""
    builder = Builder()
    store = Store(folder / "calibrate", "any")
    records = [one for name in CALIBRATE for one in Store(store.results_dir, name).records()]
    models = {
        model_key(config_of(one)): shape_here(builder, config_of(one)["model"]) for one in records
    }
    (known,) = known_devices(builder, store, models)
    print(f"fitted to {known.rates.num_cells} cells\n")
    print("| held-out grid | cells | seconds measured | told | told / measured | of each cell |")
    print("|---|---|---|---|---|---|")
    ratios = []
    for name in HELD_OUT:
        own = Store(folder / "held_out", name.replace(" ", "_").replace(",", ""))
        pairs = [seconds_of(builder, one, known.rates) for one in own.records()]
        measured, told = (sum(one) for one in zip(*pairs, strict=True))
        each = [b / a for a, b in pairs]
        ratios += each
        print(
            f"| {name} | {len(pairs)} | {measured:.1f} | {told:.1f} | {told / measured:.2f} | "
            f"{min(each):.2f} to {max(each):.2f} |"
        )
    worst = max(max(ratio, 1 / ratio) for ratio in ratios)
    print(f"\nthe worst of {len(ratios)} cells is a factor of {worst:.2f} off")
    for line in by_part(builder, folder, known.rates):
        print(line)


def by_part(builder: Builder, folder: Path, rates: Rates) -> Iterator[str]:
    """Say of every part how far it is off, over all held-out cells."""
    parts: dict[str, list[float]] = {}
    for name in HELD_OUT:
        own = Store(folder / "held_out", name.replace(" ", "_").replace(",", ""))
        for record in own.records():
            for part, (measured, told) in told_parts(builder, record, rates).items():
                if measured > 0.1:  # what is shorter counts for nothing
                    parts.setdefault(part, []).append(told / measured)
    for part, ratios in parts.items():
        yield f"{part}: told / measured {min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} cells"


def seconds_of(builder: Builder, record: Record, rates: Rates) -> tuple[float, float]:
    """Return the seconds of a cell, measured and told."""
    pairs = told_parts(builder, record, rates).values()
    return sum(measured for measured, _ in pairs), sum(told for _, told in pairs)


def told_parts(builder: Builder, record: Record, rates: Rates) -> dict[str, tuple[float, float]]:
    config, seconds = config_of(record), record.get("timings_s", {})
    method, shape = record["cell"]["method"], shape_here(builder, config["model"])
    assert shape is not None
    work = builder.build("method", config["method"]).work()
    amounts = parts_of(config, work, shape, needs_data=work.passes > 0, on_gpu=False)
    found = {}
    for part in PARTS:
        measured = seconds.get(part, 0.0)
        if part != "describe" or measured > 0.01:  # else another cell has described the set
            found[part] = (measured, rates.predict(part, method, amounts[part]))
    return found


def config_of(record: Record) -> Config:
    assert "config" in record
    return record["config"]


if __name__ == "__main__":
    main()
