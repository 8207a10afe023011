"""The grid behind the gates: three named experiments, run by the program itself, read from records.

    python -m calib_sweep -m experiment=miniature            pruning at 50 %: 5 datasets x 5 seeds
    python -m calib_sweep -m experiment=miniature_harder     2:4, and pruning with rounding
    python -m calib_sweep -m experiment=miniature_bits       RTN and GPTQ at 4, 3 and 2 bits

What is finished is not run again, so a second look at the gates computes no cell.
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calib_sweep.analysis.scores.means import with_means
from calib_sweep.errors import ConfigError, require
from calib_sweep.miniature.acceptance.gates import Scores
from calib_sweep.places import WEIGHTS
from calib_sweep.results.store import Store

EXPERIMENTS = ("miniature", "miniature_harder", "miniature_bits")


def model_overrides(weights: Path) -> list[str]:
    """Return the words that name a checkpoint; none for the shipped one."""
    if weights.resolve() == WEIGHTS.resolve():
        return []
    return [f"model.path='{weights.resolve()}'", f"model.name='{weights.resolve().name}'"]


def sweep_name(experiment: str, weights: Path) -> str:
    """Each checkpoint has sweeps of its own."""
    own = model_overrides(weights)
    return f"{experiment}-{weights.resolve().name}" if own else experiment


def run_grid(weights: Path, results: Path) -> None:
    """Run what has no record yet; `ConfigError` unless every cell is done then."""
    for experiment in EXPERIMENTS:
        command = [
            *(sys.executable, "-m", "calib_sweep", "-m"),
            *(f"experiment={experiment}", f"sweep_name={sweep_name(experiment, weights)}"),
            *(f"results_dir='{results.absolute()}'", "tracking=none", *model_overrides(weights)),
        ]
        code = subprocess.run(command, stdout=sys.stderr).returncode
        require(
            code == 0,
            f"experiment={experiment}: exit code",
            code,
            "0, every cell done",
            "See what it says above. Records of other weights or text: name a new folder with "
            "--results.",
        )


def read_grid(weights: Path, results: Path) -> Scores:
    """The scores of the three sweeps."""
    sweeps = [Store(results, sweep_name(experiment, weights)) for experiment in EXPERIMENTS]
    found = [record for sweep in sweeps for record in sweep.records()]
    return to_scores(record for record in found if record["status"] == "done")


def to_scores(records: Iterable[Mapping[str, Any]]) -> Scores:
    """(method, dataset, metric) -> values in the order of the seeds [S].

    The bits, where they are swept, belong to the method. The sweeps have equal dense cells.
    """
    values: dict[tuple[str, str | None, str], dict[int | None, float]] = {}
    for record in records:
        cell = record["cell"]
        bits = cell["settings"].get("method.bits")
        method = cell["method"] if bits is None else f"{cell['method']} {bits} bit"
        for metric, value in with_means(record["scores"]).items():
            of_seed = values.setdefault((method, cell["dataset"], metric), {})
            if of_seed.setdefault(cell["seed"], value) != value:
                raise ConfigError(
                    f"--results: expected one {method} cell on {cell['dataset']} seed "
                    f"{cell['seed']}, and there are two that differ. Name a new folder."
                )
    return {
        key: np.array([of_seed[seed] for seed in sorted(of_seed, key=lambda seed: seed or 0)])
        for key, of_seed in values.items()
    }
