"""Several sweeps together: the report of `python -m calib_sweep report A B`.

    A/report-with-B/  index.html  report.md  conclusion.json
                      tables/across.csv  tables/over_models.csv  tables/*.tex
                      figures/across_*.{png,svg}  over_models_*.{png,svg}

Contrasts of the first sweep are compared with the same ones of each other sweep (`tables.across`).
Sweeps of different models are also taken together (`tables.over_models`). Where the sweeps have
calibration datasets in common, these alone count. What cannot be matched is named and left out. The
sweeps themselves, and their reports, are not changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from calib_sweep import atomic, valid_json
from calib_sweep.analysis import formatting
from calib_sweep.analysis.commands.sweeps import Read, read_sweeps
from calib_sweep.analysis.figures import plots
from calib_sweep.analysis.figures.across import across_figure
from calib_sweep.analysis.figures.over_models import over_models_figure
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import Metrics, slug
from calib_sweep.analysis.report import across, over_models
from calib_sweep.analysis.report.document import (
    Block,
    Bullets,
    Callout,
    Heading,
    Paragraph,
    Table,
    to_markdown,
)
from calib_sweep.analysis.report.latex import to_latex
from calib_sweep.analysis.report.layout import each_metric, figures_of
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.page import to_html
from calib_sweep.analysis.report.table_format import format_table
from calib_sweep.analysis.report.write import require_records
from calib_sweep.analysis.scores.differing import CAUSES, HASH, differences, equal_sets
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.shared_cells import shared_cells
from calib_sweep.analysis.settings import AnalysisSettings, read_settings
from calib_sweep.analysis.tables.across import Sweep, across_table, matched_models
from calib_sweep.analysis.tables.comparisons import comparison_table
from calib_sweep.analysis.tables.over_models import over_models_table
from calib_sweep.analysis.tables.spreadsheet import frame_csv
from calib_sweep.analysis.tables.tables import bare_models
from calib_sweep.console import output
from calib_sweep.errors import ConfigError
from calib_sweep.places import CONCLUSION, FIGURES, INDEX, REPORT, TABLES

ACROSS = "across.csv"


def main(folders: Sequence[Path], typed: Sequence[str], to: str | None) -> int:
    """Write the report of several sweeps, and print what it says."""
    settings = read_settings(typed)
    for folder in folders:
        require_records(folder, settings.metrics)
    target = Path(to) if to else folders[0] / _name([folder.resolve() for folder in folders[1:]])
    _require_free(target)
    said, page = write_together(folders, settings, target)
    for line in said:
        output(line)
    output(f"report: {page}")
    return 0


def _require_free(target: Path) -> None:
    """Raise `ConfigError` where there is anything but a report of several sweeps."""
    is_ours = (target / TABLES / ACROSS).is_file()
    if target.is_dir() and any(target.iterdir()) and not is_ours:
        raise ConfigError(
            f"report --to {str(target)!r}: expected a new folder, an empty one, or a report of "
            "several sweeps, but there is something else. Example: --to results/both."
        )


def _name(others: Sequence[Path]) -> str:
    return f"{REPORT}-with-{'-'.join(path.name for path in others)}"


def write_together(
    folders: Sequence[Path], settings: AnalysisSettings, target: Path
) -> tuple[list[str], Path]:
    """Write the report into `target`; return its sentences and its page."""
    sweeps = read_sweeps(folders, settings)
    datasets = _common([sweep.axis("dataset") for sweep in sweeps])
    taken = [sweep.on(datasets) for sweep in sweeps]
    known = sweeps[0].material.known
    compared = across_table(taken[0], taken[1:], settings, known)
    each, together = _over_models(sweeps, taken, settings)
    if compared.empty and together.empty:
        raise ConfigError(_unmatched(taken))
    words = known.headlines(sorted({*compared["metric"], *together["metric"]}))
    said = [
        *_left_out(sweeps, taken),
        *([across.how(compared)] if len(compared) else []),
        *(across.sentences(compared, words, known) if len(compared) else []),
        *over_models.sentences(together, words, known),
    ]
    figures = _figures(compared, together, each, words, known)
    blocks = _blocks(sweeps, compared, together, said, list(figures))
    title = f"sweeps {formatting.listed([sweep.name for sweep in sweeps])}"
    files = {
        f"{TABLES}/{ACROSS}": frame_csv(compared),
        f"{TABLES}/over_models.csv": frame_csv(together),
        **_latex(compared, words, title, sweeps[0].material),
        CONCLUSION: (valid_json.dumps(said, indent=1) + "\n").encode(),
        "report.md": to_markdown(blocks).encode(),
        **{path: drawn["png"] for path, drawn in figures.items()},
        **{path.replace(".png", ".svg"): drawn["svg"] for path, drawn in figures.items()},
        INDEX: to_html(blocks, title, {path: of["svg"] for path, of in figures.items()}).encode(),
    }
    _write(target, files)
    return said, target / INDEX


def _write(target: Path, files: dict[str, bytes]) -> None:
    try:
        for name, data in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            atomic.write(target / name, data)
    except OSError as error:
        raise ConfigError(
            f"report --to {str(target)!r}: expected a folder that can be written "
            f"({error.strerror}: {error.filename}). Example: --to report-of-both."
        ) from error


def _common(axes: Sequence[Sequence[str]]) -> list[str]:
    """Return what all have, in order."""
    return [one for one in axes[0] if all(one in other for other in axes[1:])]


def _over_models(
    sweeps: Sequence[Read], taken: Sequence[Sweep], settings: AnalysisSettings
) -> tuple[Frame, Frame]:
    """Take sweeps of different models together: what each says, and all of them.

    Nothing where one model is in two of them.
    """
    named = [model for sweep in taken for model in sweep.models]
    known = sweeps[0].material.known
    if len(set(named)) < len(named):
        nothing = comparison_table([], settings)
        return nothing, over_models_table(nothing, {}, known)
    frames = [comparison_table(sweep.arrays, settings) for sweep in taken]
    bare: dict[str, str] = {}
    for sweep in sweeps:
        groups = group_rows(sweep.material.rows, known)
        bare |= bare_models(groups, Naming.of_groups(groups))
    bare |= {model: bare.get(model, model) for model in named}
    kept = [frame for frame in frames if len(frame)] or frames[:1]
    each = pd.concat(kept, ignore_index=True)
    return each, over_models_table(each, bare, known)


def _left_out(sweeps: Sequence[Read], taken: Sequence[Sweep]) -> Iterator[str]:
    """Name what only some of the sweeps have, and models that are compared with others."""
    for axis, of_each in (
        ("method", [sweep.methods for sweep in taken]),
        ("dataset", [sweep.axis("dataset") for sweep in sweeps]),
    ):
        both = _common(of_each)
        for sweep, own in zip(sweeps, of_each, strict=True):
            only = [name for name in own if name not in both]
            names = formatting.listed(only)
            if only and (both or axis == "method"):
                yield f"Left out, as not all sweeps have it: {axis} {names} of {sweep.name}."
            elif only:
                yield f"{sweep.name} drew from {names}: no dataset is common to all."
    for second in taken[1:]:
        pairs = matched_models(taken[0], second)
        for first_model, second_model in pairs.values():
            if first_model != second_model:
                yield (
                    f"The model is {first_model} in {taken[0].name}, {second_model} in "
                    f"{second.name}: what differs may be the model's."
                )


def _unmatched(taken: Sequence[Sweep]) -> str:
    """Say why nothing can be compared, with what each sweep has."""
    told = "; ".join(
        f"{sweep.name} has methods {', '.join(sweep.methods) or 'none'} of models "
        f"{', '.join(sweep.models) or 'none'}"
        for sweep in taken
    )
    return (
        f"report {' '.join(sweep.name for sweep in taken)}: expected sweeps that have two methods "
        f"in common, of one model or of one model each, on the same draws. {told}. A setting that "
        "is swept in one of them is part of its methods' names there."
    )


def _figures(
    compared: Frame, together: Frame, each: Frame, words: Mapping[str, str], known: Metrics
) -> dict[str, dict[str, bytes]]:
    """Draw the differences in all sweeps, and over models, by the path of the PNG."""
    shown = across.ahead_first(compared, known)
    of_models = over_models.ahead_first(together, known)
    drawn = {}
    for metric, word in words.items():
        drawn[f"across_{slug(word)}"] = across_figure(shown, metric, known)
        figure = over_models_figure(of_models, each, metric, known)
        drawn[f"over_models_{slug(word)}"] = figure
    return {
        f"{FIGURES}/{name}.png": plots.render(figure)
        for name, figure in drawn.items()
        if figure is not None
    }


def _blocks(
    sweeps: Sequence[Read],
    compared: Frame,
    together: Frame,
    said: Sequence[str],
    figures: Sequence[str],
) -> list[Block]:
    material = sweeps[0].material
    words = material.known.headlines(sorted({*compared["metric"], *together["metric"]}))
    names = formatting.listed([sweep.name for sweep in sweeps])
    blocks: list[Block] = [Heading(f"Sweeps {names}", 1)]
    blocks.append(Callout("What these sweeps say together", list(said)))
    if len(compared):
        shown = across.ahead_first(compared, material.known)
        blocks += [Heading("The same differences in all sweeps"), Paragraph(across.READING)]
        blocks += figures_of("across", figures, across.CAPTION)
        blocks += each_metric(shown, across.columns(shown), material, words)
    blocks += over_models.write(together, material, words, figures)
    blocks.append(Heading("What differs between the sweeps"))
    for other in sweeps[1:]:
        blocks += _differing(sweeps[0], other)
    return blocks


def _differing(first: Read, second: Read) -> list[Block]:
    """List what differs in the cells that both have; what moves no score is left out."""
    shared = shared_cells(first.cells, second.cells)
    title = f"{first.name} and {second.name}"
    if not shared.pairs:
        text = "No cell of the one is a cell of the other: other models, methods or seeds."
        return [Heading(title, 3), Paragraph(text)]
    found = [one for one in differences(shared) if one.subject in CAUSES and one.name != HASH]
    num, same = equal_sets(shared)
    told = [f"Cells that both have: {len(shared.pairs)}."]
    told += [f"Of {num} that read a calibration set, {same} read the same one."] if num else []
    rows = [[one.subject, one.name, one.first, one.second, str(one.num)] for one in found]
    header = ["of", "what", first.name, second.name, "cells"]
    listed: list[Block] = [Table(header, rows, 4)] if rows else []
    return [Heading(title, 3), Bullets(told), *listed]


def _latex(
    compared: Frame, words: dict[str, str], title: str, material: Material
) -> dict[str, bytes]:
    files = {}
    if compared.empty:
        return files
    shown = across.ahead_first(compared, material.known)
    for metric, word in words.items():
        own = shown[shown["metric"] == metric].reset_index(drop=True)
        table = format_table(own, across.columns(shown), metric, known=material.known)
        name = f"{TABLES}/across_{slug(word)}.tex"
        files[name] = to_latex(table, f"{word}: {title}").encode()
    return files
