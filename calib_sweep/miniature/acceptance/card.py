"""Measure a checkpoint against the gates and write its card.

    python -m calib_sweep.miniature.acceptance.card [--weights F] [--beside F ...] [--write]

    --weights F         the checkpoint; the shipped one if left out
    --beside F          checkpoints of other training seeds, which the card compares with it
    --write             write README.md, the model card, into the folder of the weights

The grid is three sweeps below --results, which are run once. Exit code 1 when a gate fails.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep import valid_json
from calib_sweep.errors import ConfigError, StoreError, collected, require
from calib_sweep.miniature import corpus
from calib_sweep.places import WEIGHTS

if TYPE_CHECKING:
    from rich.table import Table

    from calib_sweep.miniature.acceptance.gates import Gate
    from calib_sweep.miniature.acceptance.page import Checkpoint, Training

TRAINING = "training.json"  # what train.py leaves beside the weights


def main(argv: Sequence[str] | None = None) -> None:
    from calib_sweep.sweep.explain import explain

    parser = argparse.ArgumentParser(
        prog="python -m calib_sweep.miniature.acceptance.card",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FOLDER")
    parser.add_argument("--beside", type=Path, nargs="+", default=[], metavar="FOLDER")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="FOLDER")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args(argv)
    try:
        code = run(args.weights, args.beside, args.results, args.write)
    except (ConfigError, StoreError) as error:
        code = explain(error)
    sys.exit(code)


def run(weights: Path, beside: Sequence[Path], results: Path, write: bool) -> int:
    """Measure and print; return the exit code."""
    from calib_sweep.console import output
    from calib_sweep.miniature.acceptance.page import card

    folders = [weights, *beside]
    check(folders)
    checkpoints = []
    for folder in folders:
        checkpoints.append(measured(folder, results))
        output(gate_table(checkpoints[-1].gates, checkpoints[-1].name))
    if write:
        (weights / "README.md").write_text(card(checkpoints[0], checkpoints[1:]))
    return 0 if all(gate.passed for gate in checkpoints[0].gates) else 1


def check(folders: Sequence[Path]) -> None:
    """Refuse, before minutes are spent, what is no checkpoint of this recipe and this text."""
    with collected() as problems:
        for folder in folders:
            problems.of(read_training, folder)
        names = [folder.resolve().name for folder in folders]
        problems.of(
            require,
            len(set(names)) == len(names),
            "--beside",
            names,
            "folders of different names, as each names its sweep",
            "Rename one.",
        )


def read_training(folder: Path) -> "Training":
    """Return the figures of the training of a checkpoint."""
    path = folder / TRAINING
    require(
        path.is_file(),
        "--weights",
        str(folder),
        f"a folder with {TRAINING}, the figures of its training",
        "Example: python -m calib_sweep.miniature.training.train --out FOLDER writes one.",
    )
    figures = valid_json.numbers(json.loads(path.read_text()))
    require(
        figures.get("text_version") == corpus.VERSION,
        f"{path}: text_version",
        figures.get("text_version"),
        f"{corpus.VERSION}, the version of the text that these weights would be scored on",
        "Train again.",
    )
    return figures


def measured(folder: Path, results: Path) -> "Checkpoint":
    """The checkpoint in `folder` with its scores, dense and over the grid."""
    from calib_sweep.miniature.acceptance.grid import read_grid, run_grid
    from calib_sweep.miniature.acceptance.measure import measure
    from calib_sweep.miniature.acceptance.page import Checkpoint

    training = read_training(folder)
    run_grid(folder, results)
    return Checkpoint(
        training=training,
        config=json.loads((folder / "config.json").read_text()),
        dense=measure(folder, results, training["documents"]),
        scores=read_grid(folder, results),
    )


def gate_table(gates: Sequence["Gate"], name: str) -> "Table":
    """The gates for the terminal."""
    from rich import box
    from rich.table import Table

    table = Table("", "gate", "measured", "mark", title=f"gates, {name}", box=box.SIMPLE)
    for gate in gates:
        verdict = "[green]pass" if gate.passed else "[bold red]FAIL"
        table.add_row(verdict, gate.name, gate.number, gate.mark)
    return table


if __name__ == "__main__":
    main()
