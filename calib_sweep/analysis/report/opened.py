"""The report of a sweep as values, for notebooks and scripts: made anew, and nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.analysis.report import chapters, paper
from calib_sweep.analysis.report.document import to_markdown
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.write import FIGURES, draw, gather, require_records
from calib_sweep.analysis.scores import sidecars
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.groups import Group, group_rows
from calib_sweep.analysis.scores.items import Items
from calib_sweep.analysis.scores.table import Row, read_cells, read_table
from calib_sweep.analysis.settings import AnalysisSettings, read_settings
from calib_sweep.analysis.tables.controls import Count, count_cells
from calib_sweep.analysis.tables.provenance import DrawnSet, check_pairing
from calib_sweep.analysis.tables.tables import Evidence, all_tables
from calib_sweep.errors import require

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Picture:
    """A figure. A notebook shows it as it is."""

    png: bytes = field(repr=False)
    svg: bytes = field(repr=False)  # for print

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass(frozen=True)
class Text:
    """Markdown. A notebook shows it as it is."""

    markdown: str

    def _repr_markdown_(self) -> str:
        return self.markdown


@dataclass(frozen=True)
class Report:
    """Open the report of the sweep in `folder`, table by table and figure by figure."""

    folder: Path
    cells: list[ReadCell] = field(repr=False)  # one record each
    settings: AnalysisSettings

    @classmethod
    def of(cls, folder: str | Path, settings: AnalysisSettings | None = None) -> "Report":
        """Read the records in `folder`; `settings` None: those of conf/config.yaml."""
        settings = settings or read_settings()
        require_records(Path(folder), settings.metrics)
        return cls(Path(folder), read_cells(folder, settings.metrics), settings)

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """A row for each cell and score."""
        return read_table(self.folder)

    @property
    def rows(self) -> list[Row]:
        """The same as dictionaries, as the functions of `calib_sweep.analysis` take them."""
        return self._material.rows

    @property
    def count(self) -> Count:
        """Count the cells that are done and that failed."""
        return count_cells(self.rows)

    @cached_property
    def groups(self) -> list[Group]:
        """The draws of each method, dataset and score: what differs in nothing but the seed."""
        return group_rows(self.rows, self._material.known)

    @cached_property
    def tables(self) -> "dict[str, pd.DataFrame]":
        """Every table, as report/tables/NAME.csv has it."""
        return all_tables(self.rows, self._evidence, self.settings)

    @property
    def items(self) -> Items:
        """The scores of single test items."""
        return self._evidence.items

    @property
    def sets(self) -> list[DrawnSet]:
        """The calibration sets that were drawn."""
        return self._material.sets

    @property
    def set_problems(self) -> list[str]:
        """List where methods did not see equal sets; empty where all comparisons are paired."""
        return check_pairing(self.sets)

    @property
    def conclusion(self) -> list[str]:
        """Say in sentences what the sweep shows."""
        return chapters.conclusion(self._material, self.tables)

    def printed(self, name: str) -> Text:
        """Return a table as report/tables/NAME.tex prints it: "summary_accuracy" and others."""
        known = paper.paper_tables(self._material, self.tables)
        _require_known("table", name, known)
        return Text(to_markdown([known[name][0]]))

    def figure(self, kind: str, metric: str) -> Picture | None:
        """Draw report/figures/KIND_*: "seeds" and others; None where there is nothing to show."""
        _require_known("figure", kind, dict.fromkeys(FIGURES))
        drawn = draw(kind, metric, self._material, self.groups, self.tables)
        return Picture(drawn["png"], drawn["svg"]) if drawn else None

    @property
    def _material(self) -> Material:
        return self._read[0]

    @property
    def _evidence(self) -> Evidence:
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Material, Evidence]:
        """Read the records, the flaws of their files, and the files beside them."""
        material = Material.of(self.folder.resolve().name, self.cells, self.settings)
        warnings = sidecars.conflicts(self.folder, self.cells)
        evidence = gather(self.folder, material, self.cells, warnings.append)
        return replace(material, warnings=warnings), evidence


def _require_known(what: str, name: str, known: Mapping[str, object]) -> None:
    words = ", ".join(known)
    require(name in known, what, name, f"one of {words}", f"Example: {next(iter(known), None)}.")
