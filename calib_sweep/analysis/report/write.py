"""The report of a sweep, made from its records alone: tables, figures, Markdown, one HTML page.

    report/  index.html  report.md  conclusion.json  scalars.json  figures/*.{png,svg}
             tables/*.csv  tables/*.tex  made_from.json; seen.json is for the next look (`seen`)

The same records, items, calibration sets and settings give the same bytes. Several workers may
write at once: each file is replaced in one step, and `made_from.json`, written last, says which
records and which bytes belong together. Only that file is brought to the disk: of a report that a
power failure cut, the bytes are not those, and the next command writes it again.
"""

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep import __version__, atomic, valid_json
from calib_sweep.analysis.metrics import NONE_DECLARED, Declared, slug
from calib_sweep.analysis.report import seen, stopping
from calib_sweep.analysis.report.document import to_markdown
from calib_sweep.analysis.report.material import Material, set_table
from calib_sweep.analysis.report.terminal import terminal_summary
from calib_sweep.analysis.report.told import Told
from calib_sweep.analysis.scores import sidecars
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.means import ACC_MEAN
from calib_sweep.analysis.scores.published import find_published
from calib_sweep.analysis.scores.refusals import require_units
from calib_sweep.analysis.scores.table import read_cells
from calib_sweep.analysis.settings import AnalysisSettings, read_settings
from calib_sweep.analysis.tables.provenance import check_pairing, seen_text
from calib_sweep.analysis.tables.spreadsheet import frame_csv, rows_csv
from calib_sweep.arguments import folder_and_settings
from calib_sweep.errors import ConfigError
from calib_sweep.places import CONCLUSION, MADE_FROM, RECORDS, REPORT, SCALARS, STOPPING

if TYPE_CHECKING:
    import pandas as pd

    from calib_sweep.analysis.figures.plots import Figure
    from calib_sweep.analysis.scores.groups import Group
    from calib_sweep.analysis.tables.tables import Evidence

REPORT_VERSION = 11  # raised when the same records are to give another report, or another ending
PER_CELL = ("status", "settings", "error")  # columns that are the same in all rows of a cell
FIGURES = (
    *("seeds", "differences", "aggregate", "components", "ranks", "num_samples", "profiles"),
    *("over_models", "published"),
)


def main(arguments: Sequence[str]) -> int:
    """Write the report of the sweep in the folder named, print its table, return the exit code."""
    from calib_sweep.console import output

    folder, typed = folder_and_settings("report", arguments)
    settings = read_settings(typed)
    require_records(folder, settings.metrics)
    write_report(folder, settings)
    title = f"sweep {folder.resolve().name}"
    output(terminal_summary(folder, title=title, declared=settings.metrics))
    return 0


def require_records(
    folder: Path, declared: Declared = NONE_DECLARED, *, verb: str = "report"
) -> None:
    """Raise `ConfigError` unless `folder` is the folder of a sweep with a cell that can be read.

    `verb`: what the person typed.
    """
    if folder.is_dir() and (cells := read_cells(folder, declared)):
        require_units(str(folder), cells)
        return
    what = "has none" if folder.is_dir() else "does not exist"
    near = folder if folder.is_dir() else folder.parent
    sweeps = sorted({str(path.parent.parent) for path in near.glob(f"*/{RECORDS}")})
    if not sweeps:
        found = Path("results").glob(f"*/{RECORDS}")
        sweeps = sorted({str(path.parent.parent) for path in found})
    known = " or ".join(f"{verb} {shlex.quote(sweep)}" for sweep in sweeps[:5])
    remedy = f"Example: python -m calib_sweep {known}." if sweeps else "Run the sweep first."
    raise ConfigError(
        f"{verb} {str(folder)!r}: expected the folder of a sweep, with its records in "
        f"{folder.absolute() / '*' / 'record.json'}, but it {what}. {remedy}"
    )


def write_report(folder: str | Path, settings: AnalysisSettings | None = None) -> Path:
    """Write report/ of the sweep in `folder` from its records; return the path of the HTML page.

    `settings` None: the shipped ones.
    """
    folder, settings = Path(folder), settings or read_settings()
    return _write(folder, *_read(folder, settings), settings)


def bring_up_to_date(folder: Path, settings: AnalysisSettings) -> Told:
    """Write report/ unless it is current; return what to tell. Records are read once, or never."""
    files = _files_sha256(folder, settings)  # before they are read
    reported = _reported(folder)
    if files and reported and (told := seen.told(folder, files, reported)):
        return told
    cells, material = _read(folder, settings)
    digest = _digest(folder, cells, material, settings)
    if reported != digest:
        _write(folder, cells, material, settings)
    told = Told.of(material.rows, material.known)
    if files:
        seen.keep(folder, files, digest, told)
    return told


def _files_sha256(folder: Path, settings: AnalysisSettings) -> str | None:
    beside = [folder / STOPPING] if (folder / STOPPING).exists() else []
    beside += [] if settings.published is None else [find_published(settings.published)]
    return seen.files_sha256(folder, beside, [__version__, REPORT_VERSION, _plain(settings)])


def _read(folder: Path, settings: AnalysisSettings) -> tuple[list[ReadCell], Material]:
    cells = read_cells(folder, settings.metrics)
    return cells, Material.of(folder.resolve().name, cells, settings)


def _write(
    folder: Path, cells: Sequence[ReadCell], material: Material, settings: AnalysisSettings
) -> Path:
    warnings = sidecars.conflicts(folder, cells)
    evidence = gather(folder, material, cells, warnings.append)
    told = stopping.sentences(folder, material.known)
    files = _make(replace(material, warnings=warnings, stopping=told), evidence, settings)
    report = folder / REPORT
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    made_from = {"records": _digest(folder, cells, material, settings), "files": hashes}
    files[MADE_FROM] = (valid_json.dumps(made_from, indent=1) + "\n").encode()
    try:
        for name, data in files.items():
            (report / name).parent.mkdir(parents=True, exist_ok=True)
            atomic.write(report / name, data, durable=name == MADE_FROM)
    except OSError as error:
        raise ConfigError(
            f"report {str(folder)!r}: expected a folder that can be written "
            f"({error.strerror}: {error.filename}). Copy it to a folder of yours."
        ) from error
    return report / "index.html"


def is_current(folder: str | Path, settings: AnalysisSettings | None = None) -> bool:
    """Tell whether the report is there, whole, and made from what there is now."""
    folder, settings = Path(folder), settings or read_settings()
    reported = _reported(folder)
    return reported is not None and reported == _digest(folder, *_read(folder, settings), settings)


def _reported(folder: Path) -> str | None:
    """Return the hash of what the report was made from; None without a whole one."""
    try:
        made_from = json.loads((folder / REPORT / MADE_FROM).read_bytes())
        records, hashes = made_from["records"], dict(made_from["files"])
        found = {name: (folder / REPORT / name).read_bytes() for name in hashes}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_whole = all(hashlib.sha256(data).hexdigest() == hashes[name] for name, data in found.items())
    return records if is_whole else None


def _digest(
    folder: Path, cells: Sequence[ReadCell], material: Material, settings: AnalysisSettings
) -> str:
    """Hash all that the report is made of: nothing else may move a byte of it."""
    status = {row["cell_id"]: [row[k] for k in PER_CELL] for row in material.rows}
    parts = [REPORT_VERSION, material.name, status, material.scores, material.environments]
    parts += [[asdict(drawn) for drawn in material.sets], sidecars.fingerprint(folder, cells)]
    parts.append(material.published and material.published.sha256)
    parts += [] if (adaptive := stopping.read(folder)) is None else [adaptive]
    text = valid_json.dumps([*parts, _plain(settings)], sort_keys=True, default=sorted)  # of sets
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(settings: AnalysisSettings) -> dict[str, object]:
    return {**asdict(settings), "targets": list(settings.targets)}


def _make(material: Material, evidence: "Evidence", settings: AnalysisSettings) -> dict[str, bytes]:
    """Make every file of the report, by its path."""
    from calib_sweep.analysis.report import chapters
    from calib_sweep.analysis.report.page import to_html
    from calib_sweep.analysis.report.scalars import scalars
    from calib_sweep.analysis.scores.groups import group_rows
    from calib_sweep.analysis.tables.tables import all_tables

    groups = group_rows(material.rows, material.known)
    tables = all_tables(material.rows, evidence, settings)
    figures = _draw(material, groups, tables)
    drawn = [path for path in figures if path.endswith(".png")]
    blocks = chapters.write(material, groups, tables, drawn)
    vector = {path: figures[path.replace(".png", ".svg")] for path in drawn}
    said = chapters.conclusion(material, tables)
    charted = scalars(tables, chapters.headline_words(material))
    return {
        **{f"tables/{name}.csv": frame_csv(frame) for name, frame in tables.items()},
        "tables/calibration_sets.csv": _set_csv(material),
        **_latex(material, tables),
        **figures,
        CONCLUSION: (valid_json.dumps(said, indent=1) + "\n").encode(),
        SCALARS: (valid_json.dumps(charted, indent=1) + "\n").encode(),
        "report.md": to_markdown(blocks).encode(),
        "index.html": to_html(blocks, f"sweep {material.name}", vector).encode(),
    }


def gather(
    folder: Path, material: Material, cells: Sequence[ReadCell], tell: sidecars.Tell
) -> "Evidence":
    """Read what lies beside the records: scores per item, the calibration sets that were drawn."""
    from calib_sweep.analysis.scores.items import read_items
    from calib_sweep.analysis.tables.covariates import read_descriptors
    from calib_sweep.analysis.tables.tables import Evidence

    return Evidence(
        cells=cells,
        known=material.known,
        published=material.published,
        items=read_items(folder, cells, tell),
        descriptors=read_descriptors(folder.parent, cells, tell),
        set_problems=[*seen_text(material.sets), *check_pairing(material.sets)],
    )


def _draw(
    material: Material, groups: Sequence["Group"], tables: Mapping[str, "pd.DataFrame"]
) -> dict[str, bytes]:
    """Draw every figure of every headline score; return it by its path, as PNG and SVG."""
    files: dict[str, bytes] = {}
    for metric, words in material.known.headlines(material.metrics).items():
        for kind in FIGURES:
            for form, data in draw(kind, metric, material, groups, tables).items():
                files[f"figures/{kind}_{slug(words)}.{form}"] = data
    return files


def draw(
    kind: str,
    metric: str,
    material: Material,
    groups: Sequence["Group"],
    tables: Mapping[str, "pd.DataFrame"],
) -> dict[str, bytes]:
    """Draw one of `FIGURES` of a score: {"png": ..., "svg": ...}, empty where there is nothing."""
    from calib_sweep.analysis.figures import aggregates, diagrams, plots, published, strip_plot
    from calib_sweep.analysis.figures.over_models import over_models_figure
    from calib_sweep.analysis.report import differences, over_models

    known = material.known
    is_mean = metric == ACC_MEAN  # of all tasks

    def pairs() -> "pd.DataFrame":
        return differences.method_pairs(tables, known=known)

    def of_models() -> "pd.DataFrame":
        return over_models.ahead_first(tables["over_models"], known)

    figures: dict[str, Callable[[], Figure | None]] = {
        "seeds": lambda: strip_plot.seeds_figure(groups, metric, material.metrics, known),
        "differences": lambda: diagrams.differences_figure(pairs(), metric, known),
        "aggregate": lambda: (
            aggregates.aggregate_figure(tables["iqm"], tables["improvement"]) if is_mean else None
        ),
        "components": lambda: diagrams.sensitivity_figure(tables["sensitivity"], metric, known),
        "ranks": lambda: diagrams.ranks_figure(tables["rank_stability"], metric, known),
        "num_samples": lambda: diagrams.set_sizes_figure(groups, metric, known),
        "profiles": lambda: diagrams.profiles_figure(tables["profiles"]) if is_mean else None,
        "over_models": lambda: over_models_figure(
            of_models(), tables["comparisons"], metric, known
        ),
        "published": lambda: published.published_figure(tables["published"], metric, known),
    }
    figure = figures[kind]()
    return {} if figure is None else plots.render(figure)


def _latex(material: Material, tables: Mapping[str, "pd.DataFrame"]) -> dict[str, bytes]:
    from calib_sweep.analysis.report.latex import to_latex
    from calib_sweep.analysis.report.paper import paper_tables

    return {
        f"tables/{name}.tex": to_latex(table, title, direction=sign).encode()
        for name, (table, sign, title) in paper_tables(material, tables).items()
    }


def _set_csv(material: Material) -> bytes:
    table = set_table(material.sets, None)
    rows = [[cell if cell != "-" else "" for cell in row] for row in table.rows]
    return rows_csv([table.header, *rows])
