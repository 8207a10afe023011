"""Sweeps that are looked at together, each read under a name of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.differing import HASH
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.table import DENSE, Row, read_cells
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.across import Sweep
from calib_sweep.errors import ConfigError


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """One of the sweeps, as it was read."""

    name: str
    cells: Sequence[ReadCell]
    material: Material

    @cached_property
    def rows(self) -> list[Row]:
        """Return the rows of its compressed models that have scores."""
        rows = self.material.rows
        return [row for row in rows if row["status"] == "done" and row["method"] != DENSE]

    def axis(self, name: str) -> list[str]:
        """Return the models, methods or datasets that there are."""
        return sorted({row[name] for row in self.rows} - {None})

    def on(self, datasets: Sequence[str]) -> Sweep:
        """Return what is compared of it: these datasets, all of them where none is named."""
        known = self.material.known
        kept = [
            row
            for row in self.material.rows
            if not datasets or row["dataset"] in datasets or row["dataset"] is None
        ]
        cards = ((cell["cell_id"], cell.get("calibration") or {}) for cell in self.cells)
        hashes = {cell: str(card[HASH]) for cell, card in cards if card.get(HASH)}
        naming = Naming.of_groups(group_rows(kept, known))
        return Sweep(name=self.name, arrays=score_arrays(kept, naming, known), hashes=hashes)


def read_sweeps(folders: Sequence[Path], settings: AnalysisSettings) -> list[Read]:
    """Read the sweeps, each under a name of its own."""
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise ConfigError(
            f"report {' '.join(map(str, folders))}: expected different sweeps, but a folder is "
            "named twice. Example: python -m calib_sweep report results/A results/B."
        )
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.parent.name}/{path.name}" for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    found = []
    for name, path in zip(names, paths, strict=True):
        cells = read_cells(path, settings.metrics)
        material = Material.of(name, cells, settings)
        found.append(Read(name=name, cells=cells, material=material))
    return found
