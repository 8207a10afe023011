"""The report of a sweep, made from its records alone: tables, figures, Markdown, one HTML page.

    report/  index.html  report.md  figures/seeds.{png,svg}
             tables/summary.csv  tables/calibration_sets.csv  made_from.json

The same records give the same bytes. Several workers may write at once: each file is replaced in
one step, and `made_from.json`, written last, says which records and which bytes belong together.
"""

import csv
import hashlib
import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from calib_sweep.analysis import chapters
from calib_sweep.analysis.chapters import FIGURE, Material
from calib_sweep.analysis.descriptive import Group
from calib_sweep.analysis.document import Table, to_html, to_markdown
from calib_sweep.analysis.summary import HEADLINES, terminal_summary
from calib_sweep.analysis.table import read_cells, settings_text
from calib_sweep.errors import ConfigError

REPORT, MADE_FROM = "report", "made_from.json"
SVG = FIGURE.replace(".png", ".svg")
REPORT_VERSION = 1  # raised when the same records are to give another report
PER_CELL = ("status", "settings", "error")  # columns that are the same in all rows of a cell
PLAIN_WIDTH = 120  # columns where there is no terminal to ask

SUMMARY_COLUMNS = (
    *("model", "method", "dataset", "settings", "metric"),
    *("n", "mean", "sd", "min", "max", "dense", "drop"),
)


def main(arguments: Sequence[str]) -> int:
    """Write the report of the sweep in the folder named, print its table, return the exit code."""
    from rich.console import Console

    if len(arguments) != 1:
        given = " ".join(arguments) or "nothing"
        raise ConfigError(
            f"report {given}: expected the folder of one sweep. Type report results/NAME."
        )
    folder = Path(arguments[0])
    require_records(folder)
    write_report(folder)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(terminal_summary(folder, title=f"sweep {folder.resolve().name}"))
    return 0


def require_records(folder: Path) -> None:
    """Raise `ConfigError` unless `folder` is the folder of a sweep with a cell in it."""
    if folder.is_dir() and read_cells(folder):
        return
    what = "has none" if folder.is_dir() else "does not exist"
    near = folder if folder.is_dir() else folder.parent
    sweeps = sorted({str(path.parent.parent) for path in near.glob("*/*/record.json")})
    if not sweeps:
        sweeps = sorted(
            {str(path.parent.parent) for path in Path("results").glob("*/*/record.json")}
        )
    remedy = f"Type report {' or report '.join(sweeps[:5])}." if sweeps else "Run the sweep first."
    raise ConfigError(
        f"report {str(folder)!r}: expected the folder of a sweep, with its records in "
        f"{folder.absolute() / '*' / 'record.json'}, but it {what}. {remedy}"
    )


def write_report(folder: str | Path) -> Path:
    """Write report/ of the sweep in `folder` from its records; return the path of the HTML page."""
    folder = Path(folder)
    material = _read(folder)
    files = _make(material)
    report = folder / REPORT
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    made_from = {"records": _digest(material), "files": hashes}
    files[MADE_FROM] = (json.dumps(made_from, indent=1) + "\n").encode()
    try:
        for name, data in files.items():
            _replace(report / name, data)
    except OSError as error:
        raise ConfigError(
            f"report {str(folder)!r}: expected a folder that can be written "
            f"({error.strerror}: {error.filename}). Copy it to a folder of yours."
        ) from error
    return report / "index.html"


def is_current(folder: str | Path) -> bool:
    """Whether the report is there, whole, and made from the records as they are now."""
    folder = Path(folder)
    try:
        made_from = json.loads((folder / REPORT / MADE_FROM).read_text())
        if made_from["records"] != _digest(_read(folder)):
            return False
        found = {name: (folder / REPORT / name).read_bytes() for name in made_from["files"]}
    except (FileNotFoundError, json.JSONDecodeError, KeyError):
        return False
    return all(
        hashlib.sha256(data).hexdigest() == made_from["files"][name] for name, data in found.items()
    )


def _read(folder: Path) -> Material:
    return Material.of(folder.resolve().name, read_cells(folder))


def _digest(material: Material) -> str:
    """A hash of all that the report is made of."""
    cells = {row["cell_id"]: [row[k] for k in PER_CELL] for row in material.rows}
    parts = [REPORT_VERSION, material.name, cells, material.scores, material.environments]
    sets = [asdict(drawn) for drawn in material.sets]
    text = json.dumps([*parts, sets], sort_keys=True, default=sorted)  # sets become sorted lists
    return hashlib.sha256(text.encode()).hexdigest()


def _make(material: Material) -> dict[str, bytes]:
    """Every file of the report by its path."""
    groups = chapters.all_groups(material)
    figures = _draw(groups, material.metrics)
    blocks = chapters.write(material, groups, has_figure=bool(figures))
    vector = {FIGURE: figures[SVG]} if figures else {}
    return {
        "tables/summary.csv": _csv(SUMMARY_COLUMNS, [_summary_row(group) for group in groups]),
        "tables/calibration_sets.csv": _table_csv(chapters.set_table(material.sets, None)),
        **figures,
        "report.md": to_markdown(blocks).encode(),
        "index.html": to_html(blocks, f"sweep {material.name}", vector).encode(),
    }


def _draw(groups: Sequence[Group], metrics: Sequence[str]) -> dict[str, bytes]:
    shown = [group for group in groups if group.metric in HEADLINES]
    if not shown:
        return {}
    from calib_sweep.analysis import plots

    figure = plots.seeds_figure(shown, metrics, list(HEADLINES))
    return {FIGURE: plots.render(figure, "png"), SVG: plots.render(figure, "svg")}


def _summary_row(group: Group) -> list[str]:
    spread = group.spread
    names = [group.model, group.method, group.dataset or "", settings_text(group.settings)]
    numbers = [spread.mean, spread.sd, spread.min, spread.max, group.dense, group.drop]
    return [*names, group.metric, str(spread.n), *map(_exact, numbers)]


def _exact(value: float) -> str:
    """All digits of a float; empty where it is not defined."""
    return "" if np.isnan(value) else repr(float(value))


def _table_csv(table: Table) -> bytes:
    return _csv(table.header, [[cell if cell != "-" else "" for cell in row] for row in table.rows])


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _replace(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
