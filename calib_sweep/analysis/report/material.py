"""The material of the report's chapters: rows, groups, tables, and the sets drawn."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report.document import Table
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.measured import measured
from calib_sweep.analysis.scores.published import Published, read_published
from calib_sweep.analysis.scores.refusals import known_metrics
from calib_sweep.analysis.scores.table import Row, to_rows
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables import provenance
from calib_sweep.errors import printable

MAX_SETS = 60  # calibration sets listed on the page; tables/calibration_sets.csv has all


SET_MEANINGS = {
    "settings": "of the draw, where they differ",
    "hash": "SHA-256 of its tokens; equal hashes are equal sets",
    "design": "how the seed chooses documents",
    "window": "how a sample is cut from documents",
    "num_samples": "samples in the set",
    "seq_len": "tokens in a sample, in the longest one",
    "lengths": "that samples are cut to, in turn",
    "pool": "what there was to draw from, how much was looked at, what two seeds share by chance",
}


@dataclass(frozen=True)
class Material:
    """All that the records say of the sweep; scores of items and the sets lie beside them."""

    name: str
    rows: list[Row]
    scores: list[object]  # of each cell: all of its record that `rows` repeats
    sets: list[provenance.DrawnSet]
    environments: dict[str, list[str]]
    known: Metrics = OURS  # of the scores
    published: Published | None = None  # numbers of others to stand beside
    stopping: Sequence[str] = ()  # why no more seeds were added, where the sweep decided
    warnings: Sequence[str] = ()  # files left out, results nobody has decided on: in sentences

    @classmethod
    def of(cls, name: str, cells: Sequence[ReadCell], settings: AnalysisSettings) -> "Material":
        """Gather it from the cells of a sweep; `ConfigError` where published numbers cannot be."""
        scores: list[object] = [
            [
                record["cell"],
                record["scores"],
                record.get("stderr"),
                record.get("metrics"),
                provenance.described(record),
                asdict(measured(record)),
                (record.get("config") or {}).get("method"),
            ]
            for record in cells
        ]
        sets, found = provenance.drawn_sets(cells), provenance.environments(cells)
        known = known_metrics(cells, settings.metrics)
        published = None
        if settings.published is not None:
            published = read_published(settings.published, settings.published_names)
        return cls(printable(name), to_rows(cells), scores, sets, found, known, published)

    @property
    def metrics(self) -> list[str]:
        return sorted({str(row["metric"]) for row in self.rows if row["metric"] is not None})


def set_table(sets: Sequence[provenance.DrawnSet], num_digits: int | None) -> Table:
    """List the calibration sets, with the first `num_digits` of their hashes (None: all)."""
    keys = [key for key in provenance.CARD_KEYS if any(key in drawn.card for drawn in sets)]
    header = ["model", "dataset", "seed", "settings", "hash", *keys]
    rows = []
    for drawn in sets:
        hashes = " ".join(sorted(one[:num_digits] for one in drawn.hashes))
        seed = "-" if drawn.seed is None else str(drawn.seed)
        card = [drawn.card.get(key, "-") for key in keys]
        rows.append([drawn.model, drawn.dataset, seed, drawn.settings or "-", hashes, *card])
    return Table(header, rows, len(header), meanings=SET_MEANINGS)
