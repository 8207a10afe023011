"""Looks of hydra/sweeper=adaptive: what is known after so many seeds, from the records alone.

The same records give the same looks, whoever takes them: a command that was killed, or a second
one, decides as the first one did.

Shapes: K contrasts x metrics, N seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from calib_sweep.analysis.inference import sequential
from calib_sweep.analysis.metrics import Declared, Metrics
from calib_sweep.analysis.report.stopping import LOST, NARROW, OPEN, SHOWN
from calib_sweep.analysis.scores.arrays import scaled
from calib_sweep.analysis.scores.means import with_means
from calib_sweep.analysis.scores.refusals import known_metrics
from calib_sweep.analysis.scores.table import read_cells
from calib_sweep.cell import Cell
from calib_sweep.sweep.rounds import Arm, Contrast, Rule, arm_of

Place = tuple[Arm, str | None, int | None]  # dataset and seed: None where no data is read
Entry = dict[str, Any]  # a look, or a contrast at it, as JSON


@dataclass(frozen=True)
class Scored:
    """The scores of the done cells by where they stand in the grid, and what is known of them."""

    at: Mapping[Place, Mapping[str, float]]
    known: Metrics

    @classmethod
    def of(cls, folder: Path, cells: Sequence[Cell], declared: Declared) -> "Scored":
        """Read the records of `cells` in the sweep's folder; of repetitions the first counts."""
        records = read_cells(folder, declared)
        own = {record["cell_id"]: record for record in records if record["status"] == "done"}
        found: dict[Place, Mapping[str, float]] = {}
        for cell in sorted(cells, key=lambda cell: cell.config["replicate"]):
            if cell.id in own:
                arm, dataset = arm_of(cell)
                scores = with_means(own[cell.id]["scores"])
                found.setdefault((arm, dataset, cell.seed), scores)
        return cls(found, known_metrics(records, declared))

    @property
    def headlines(self) -> list[str]:
        return list(self.known.headlines({m for scores in self.at.values() for m in scores}))

    def differences(self, contrast: Contrast, metric: str, seeds: Sequence[int]) -> np.ndarray:
        """Return a - b for each seed, the mean over datasets [N].

        NaN where a cell is missing, infinite where a score is.
        """
        a_DN, b_DN = (
            np.array([[self._value(arm, d, s, metric) for s in seeds] for d in contrast.datasets])
            for arm in (contrast.a, contrast.b)
        )
        is_missing_N = (np.isnan(a_DN) | np.isnan(b_DN)).any(axis=0)
        is_infinite_N = (np.isinf(a_DN) | np.isinf(b_DN)).any(axis=0)
        with np.errstate(invalid="ignore"):
            mean_N = (a_DN - b_DN).mean(axis=0)
        return np.where(is_missing_N, np.nan, np.where(is_infinite_N, np.inf, mean_N))

    def _value(self, arm: Arm, dataset: str, seed: int, metric: str) -> float:
        place = (arm, None, None) if arm.draw is None else (arm, dataset, seed)
        scores = self.at.get(place, {})
        return scaled(scores[metric], self.known.of(metric)) if metric in scores else np.nan


def look(rule: Rule, contrasts: Sequence[Contrast], scored: Scored, seeds: Sequence[int]) -> Entry:
    """Say what is known after `seeds`, as JSON: each contrast in each metric, and whether to stop.

    `state` of a contrast: shown (a difference), narrow (as narrow as asked for), lost (no score, or
    one that is not finite), open.
    """
    widths = {m: width for m in scored.headlines if (width := rule.width_of(m)) is not None}
    asked = [(contrast, metric) for contrast in contrasts for metric in widths]
    if not asked:  # every cell has failed
        return {"num_seeds": len(seeds), "is_settled": True, "contrasts": []}
    x_KN = np.array([scored.differences(c, metric, seeds) for c, metric in asked])
    width_K = np.array([widths[metric] for _, metric in asked])
    found = sequential.look(x_KN, width_K, rule.min_seeds)
    entries = [
        {**_named(contrast), "metric": metric, "width": widths[metric]}
        | _found(found, k, scored.known.of(metric).direction, contrast)
        for k, (contrast, metric) in enumerate(asked)
    ]
    return {"num_seeds": len(seeds), "is_settled": found.is_settled, "contrasts": entries}


def _named(contrast: Contrast) -> Entry:
    names = {"model": contrast.a.model, "a": contrast.a.label, "b": contrast.b.label}
    return {**names, "datasets": list(contrast.datasets)}


def _found(found: sequential.Look, k: int, direction: int, contrast: Contrast) -> Entry:
    states = ((found.is_lost, LOST), (found.is_shown, SHOWN), (found.is_narrow, NARROW))
    state = next((name for is_so, name in states if is_so[k]), OPEN)
    ahead = direction * found.mean[k] if state == SHOWN else 0.0
    better = (contrast.a if ahead > 0 else contrast.b).label if ahead else None
    numbers = {
        name: float(value) if np.isfinite(value := getattr(found, name)[k]) else None
        for name in ("mean", "sd", "half", "lo", "hi", "p", "p_holm")
    }
    return {"state": state, "better": better, "n": int(found.n[k]), **numbers}
