"""The chapter on how many seeds it takes: to see a difference, to know a mean, to show P(A > B)."""

from collections.abc import Mapping

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.report import columns
from calib_sweep.analysis.report.document import Block, Fold, Paragraph
from calib_sweep.analysis.report.layout import chapter, each_metric
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import format_table

PLANNED = (
    "How many seeds it takes to see a difference (at analysis.power, 5 % two-sided), or to know a "
    "mean to a half-width, given the SD seen here; the range is for the ends of that SD's interval."
)
WINNING = (
    "Whether one does better on more draws than not is counted, not measured, and takes more of "
    "them. No SD has a part in it: the numbers are those of any two."
)


def write(power: Frame, material: Material, words: Mapping[str, str]) -> list[Block]:
    """Make the chapter, from power.csv."""
    shown = each_metric(of_methods(power), columns.POWER, material, words)
    datasets = power[(power["goal"] == "difference") & (power["kind"] == "dataset")]
    title = "Between datasets"
    shown += each_metric(datasets, columns.POWER_OF_DATASETS, material, words, folded=title)
    counted = power[power["goal"] == "superiority"]
    counted = counted[counted["metric"].isin(list(words or dict.fromkeys(counted["metric"])))]
    counted = counted.drop_duplicates(["model", "kind", "n"]).reset_index(drop=True)
    if not counted.empty:
        table = format_table(counted, columns.SUPERIORITY, metric="")
        shown.append(Fold("How often one does better", [Paragraph(WINNING), table]))
    return chapter("How many seeds it takes", [PLANNED], [], shown)


def of_methods(power: Frame) -> Frame:
    """Return what is planned for one method, or two on the same draws."""
    own = power[(power["goal"] != "superiority") & (power["kind"] != "dataset")]
    return own.sort_values(["target", "goal"], kind="stable")
