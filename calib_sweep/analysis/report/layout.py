"""The layout of a chapter of the report: text, figures, a table for each score."""

from collections.abc import Mapping, Sequence

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import Metrics
from calib_sweep.analysis.report.document import (
    Block,
    Figures,
    Fold,
    Heading,
    Image,
    Paragraph,
    Table,
)
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import Column, format_table

MAX_ROWS = 400  # of a table on the page
MAX_OPEN = 12  # rows of a table that is shown unasked
MAX_FOLDED = 4  # scores beside the headline ones whose tables are on the page, in each chapter


def chapter(
    title: str, texts: Sequence[str], figures: Sequence[Block], blocks: Sequence[Block]
) -> list[Block]:
    """Make a chapter; nothing where it has no table."""
    if not blocks:
        return []
    return [Heading(title), *map(Paragraph, texts), *figures, *blocks]


def in_folds(title: str, chapters: Sequence[Block]) -> list[Block]:
    """Make one chapter of several, each behind its title."""
    folds: list[Fold] = []
    for block in chapters:
        if isinstance(block, Heading) and block.level == 2:
            folds.append(Fold(block.text, []))
        else:
            folds[-1] = Fold(folds[-1].title, [*folds[-1].blocks, block])
    return [Heading(title), *folds] if folds else []


def figures_of(kind: str, paths: Sequence[str], caption: str) -> list[Block]:
    own = [path for path in paths if path.startswith(f"figures/{kind}")]
    return [Figures([Image(path, caption) for path in own], caption)] if own else []


def each_metric(
    frame: Frame,
    shown: Sequence[Column],
    material: Material,
    words: Mapping[str, str],
    *,
    folded: str | None = None,
) -> list[Block]:
    """Make a table for each headline score, then those of the others, folded.

    `folded`: fold those of headline scores too, behind this title.
    """
    metrics = list(dict.fromkeys(frame["metric"]))
    blocks: list[Block] = []
    for metric in [metric for metric in words if metric in metrics]:
        table = _table(frame, shown, metric, material.known)
        heading = formatting.heading(metric, material.metrics, material.known)
        if folded:
            blocks.append(Fold(f"{folded}: {heading}", [table]))
        elif len(table.rows) > MAX_OPEN:
            blocks.append(Fold(f"{heading}: {len(table.rows)} rows", [table]))
        else:
            blocks += [Heading(heading, 3), table]
    others = [metric for metric in metrics if metric not in words]
    inside: list[Block] = []
    for metric in others[:MAX_FOLDED] if words else others:
        title = formatting.heading(metric, material.metrics, material.known)
        inside += [Heading(title, 3), _table(frame, shown, metric, material.known)]
    if not words:
        return inside
    if inside and not folded:
        more = len(others) - MAX_FOLDED
        if more > 0:
            inside.append(Paragraph(f"{more} more scores are in tables/*.csv."))
        blocks.append(Fold("The same for single scores", inside))
    return blocks


def _table(frame: Frame, shown: Sequence[Column], metric: str, known: Metrics) -> Table:
    own = frame[frame["metric"] == metric]
    more = len(own) - MAX_ROWS
    caption = f"The first {MAX_ROWS} rows; {more} more are in tables/*.csv." if more > 0 else ""
    return format_table(own.head(MAX_ROWS).reset_index(drop=True), shown, metric, caption, known)
