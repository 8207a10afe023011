"""The tables for a paper: one for each kind of pair, of the headline scores."""

from collections.abc import Mapping, Sequence

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import slug
from calib_sweep.analysis.report import chapters, columns, differences, planning, task_table
from calib_sweep.analysis.report.document import Table
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import Column, format_table

Tables = Mapping[str, Frame]
SCORED = ("summary", "recovery")  # tables whose first number is a score


def _narrow(shown: Sequence[Column], *left_out: str) -> list[Column]:
    """Leave out columns by their headings: one column of print is narrow."""
    return [column for column in shown if column.heading not in left_out]


OF_PAIRS = "; A is ahead; p is corrected for all that the sweep may claim"
PAIRS = ("methods", "methods_on", "datasets")
PAGE_ONLY = ("claimed", "P(A better) (95 %)", "detectable", "n")
RECOVERED = ("recovery", "above chance")
SUMMARY = _narrow(columns.SUMMARY, "min..max", "vs dense", *RECOVERED)
MEAN = Column("mean", ("mean",), "score", "mean over seeds; bold: the best", better=0)
RECOVERY = [
    MEAN if column.heading == "mean (95 %)" else column
    for column in _narrow(columns.SUMMARY, "SD (95 %)", "min..max", "vs dense")
]
METHODS = _narrow(columns.COMPARISONS, *PAGE_ONLY)
DATASETS = _narrow(columns.OF_DATASETS, *PAGE_ONLY)
POWER = _narrow(planning.POWER, "now", "level")


def paper_tables(material: Material, tables: Tables) -> dict[str, tuple[Table, int, str]]:
    """Return the tables for a paper by name, with the sign of its first number and a title.

    Headline scores only; a sweep that has none gives every score.
    """
    words, known = chapters.headline_words(material), material.known
    each = differences.method_pairs(tables, "methods_on", known)
    summary = chapters.with_reference(tables["summary"])
    frames = {
        "summary": (summary, SUMMARY),
        "recovery": (summary[summary["recovery"].notna()], RECOVERY),
        "methods": (differences.method_pairs(tables, known=known), METHODS),
        "methods_on": (each, METHODS),
        "datasets": (differences.dataset_pairs(tables, known=known), DATASETS),
        "variance_components": (
            chapters.shown_components(tables["variance_components"]),
            columns.COMPONENTS,
        ),
        "ranking": (chapters.shown_ranking(tables["ranking"]), columns.RANKING),
        "power": (planning.on_all_datasets(tables["power"]), POWER),
    }
    found = {}
    for name, (frame, shown) in frames.items():
        for metric in [m for m in (words or material.metrics) if m in set(frame["metric"])]:
            own = frame[frame["metric"] == metric].reset_index(drop=True)
            word = slug(words.get(metric, metric))
            heading = formatting.heading(metric, material.metrics, known)
            title = f"{name} of {material.name}: {heading}"
            title += OF_PAIRS if name in PAIRS else ""
            sign = known.of(metric).direction if name in SCORED else 0
            found[f"{name}_{word}"] = format_table(own, shown, metric, known=known), sign, title
    if "tasks" in tables and not tables["tasks"].empty:
        title = f"accuracy of {material.name} by task, %: mean (SD over seeds)"
        found["tasks_accuracy"] = task_table.paper_table(tables["tasks"]), 1, title
    return found
