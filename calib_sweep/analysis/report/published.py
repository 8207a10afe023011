"""The chapter that sets our means beside published ones: who differs, who agrees, what has no cell.

Sentences name rows whose verdict rests on p-values corrected for all rows (`tables.published`).
"""

from collections.abc import Iterator, Mapping, Sequence

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import Metrics
from calib_sweep.analysis.report.columns import DATASET, METHOD, MODEL, N
from calib_sweep.analysis.report.document import Block, Bullets, Heading, Paragraph
from calib_sweep.analysis.report.layout import chapter, each_metric, figures_of
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import Column
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.published import Published
from calib_sweep.analysis.tables.published import AGREES, DIFFERS, OPEN, unmatched
from calib_sweep.wording import counted

TITLE = "Beside published numbers"
MAX_NAMED = 6  # rows, and labels, that are named one by one
CAPTION = "Our mean minus the published one, with its 95 % interval; filled: they differ (Holm)."
READING = (
    "Both means are of a few calibration sets. Welch's t test allows each study an SD of its own, "
    "and half a unit of the last printed digit; p is corrected for all rows (Holm). 'agrees': both "
    "means of all draws surely lie within analysis.equivalence of each other. Where no SD is "
    "printed the difference stands alone. Other models, data, prompts or versions of tasks make "
    "differences too: this says that there is one, not why."
)
COLUMNS = [
    MODEL,
    METHOD,
    DATASET,
    Column("verdict", ("verdict",), "name", "what can be said, corrected for all rows"),
    Column("mean", ("mean",), "score", "over the seeds of this sweep"),
    Column("published", ("their_mean",), "score", "their mean"),
    Column(
        "ours - published (95 %)",
        ("difference", "lo", "hi"),
        "change",
        "Welch's interval, not corrected",
    ),
    Column("SD", ("sd",), "sd", "over the seeds of this sweep"),
    Column("published SD", ("their_sd",), "sd", "over their draws"),
    Column(
        "ratio of SDs (95 %)",
        ("sd_ratio", "sd_ratio_lo", "sd_ratio_hi"),
        "plain",
        "ours over theirs, for normal draws",
    ),
    N,
    Column("published n", ("their_n",), "count", "draws of theirs"),
    Column("p, Holm", ("p_holm",), "p", "that there is no difference, corrected for all rows"),
]


def write(
    material: Material,
    groups: Sequence[Group],
    tables: Mapping[str, Frame],
    figures: Sequence[str],
    words: Mapping[str, str],
) -> list[Block]:
    """Make the chapter; nothing where no published numbers are named."""
    published, table = material.published, tables["published"]
    if published is None:
        return []
    told = sentences(material, groups, tables)
    source = Paragraph(f"{published.name}: {published.source or 'a file that names no source'}")
    if table.empty:
        return [Heading(TITLE), source, Bullets(told)]
    shown = each_metric(table, COLUMNS, material, words)
    drawn = figures_of("published", figures, CAPTION)
    return chapter(TITLE, [source.text, READING], [Bullets(told), *drawn], shown)


def sentences(
    material: Material, groups: Sequence[Group], tables: Mapping[str, Frame]
) -> list[str]:
    """Say who differs, who agrees, and what has no cells; nothing where no numbers are named."""
    if material.published is None:
        return []
    table = tables["published"]
    unmatched_rows = _unmatched_text(groups, material.published, table)
    return [*_told(table, material.known), *unmatched_rows]


def _told(table: Frame, known: Metrics) -> Iterator[str]:
    """Say who differs and who agrees, by name."""
    for verdict, say in ((DIFFERS, "differ"), (AGREES, "agree within analysis.equivalence")):
        own = table[table["verdict"] == verdict]
        rows = [_row_text(row, known) for row in own.head(MAX_NAMED).to_dict("records")]
        more = len(own) - MAX_NAMED
        rest = f"; and {more} more in published.csv" if more > 0 else ""
        if rows:
            yield f"Ours and theirs {say}: {'; '.join(rows)}{rest}."
    if (table["verdict"] == OPEN).any():
        yield f"Others {OPEN}: their intervals say how far apart they may be."


def _row_text(row: Mapping[str, object], known: Metrics) -> str:
    metric, kind = str(row["metric"]), known.of(str(row["metric"]))
    middle, low, high = (kind.times * float(str(row[key])) for key in ("difference", "lo", "hi"))
    digits = formatting.difference_decimals([(high - low) / 2])
    size = formatting.with_interval(middle, low, high, digits, signed=True)
    unit = "\xa0points" if kind.is_share else ""
    where = f" on {row['dataset']}" if row["dataset"] else ""
    return f"{row['method']}{where} in {formatting.named(metric, known)} by {size}{unit}"


def _unmatched_text(groups: Sequence[Group], published: Published, table: Frame) -> Iterator[str]:
    """Say which published rows have no cells here, and the labels that do not meet."""
    naming = Naming.of_groups(groups)
    found = unmatched(groups, naming, published, table)
    if not found.num:
        return
    roles = []
    for role, labels in found.labels.items():
        if labels:
            here = _some(found.ours[role]) or "none"
            roles.append(f"{role} {_some(labels)} (here: {here})")
    why = f": nothing here is called {'; '.join(roles)}" if roles else ""
    yield (
        f"{counted(found.num, 'published row')} of {found.of:,} "
        f"{'has' if found.num == 1 else 'have'} no cells here{why}. Labels that mean the same are "
        "named by 'analysis.published_names={OURS: THEIRS}'."
    )


def _some(labels: Sequence[str]) -> str:
    more = len(labels) - MAX_NAMED
    return ", ".join([*labels[:MAX_NAMED], *([f"{more} more"] if more > 0 else [])])
