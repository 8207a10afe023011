"""The last chapters of the report: what accompanies the scores, and what may be wrong with them."""

from collections.abc import Mapping, Sequence

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.report.columns import DATASET, METHOD, MODEL, N
from calib_sweep.analysis.report.document import Block, Fold, Heading, Paragraph
from calib_sweep.analysis.report.layout import figures_of
from calib_sweep.analysis.report.table_format import Column, format_table

PROFILES = "Share of all draws and tasks above each share of the dense score, with 95 % intervals."
MAX_ROWS = 200  # of each of these tables on the page
SCORE = Column("score", ("metric",), "name", "which of the scores")
CHAPTERS = {
    "tails": (
        "Scores that stand out",
        "Single draws far from the others of their method and dataset, with and without them.",
        [
            MODEL,
            METHOD,
            DATASET,
            SCORE,
            Column("why", ("why",), "name", "the rule that it broke"),
            Column("seed", ("seed",), "plain", "the calibration seed"),
            Column("value", ("value",), "plain", "the score, as recorded"),
            Column("mean", ("mean",), "plain", "of all draws"),
            Column("mean without", ("mean_without",), "plain", "of the other draws"),
            Column("SD", ("sd",), "plain", "of all draws"),
            Column("SD without", ("sd_without",), "plain", "of the other draws"),
        ],
    ),
    "correlations": (
        "Does perplexity tell accuracy",
        "Rank correlation over the draws of one method: near -1, the draws with low perplexity are "
        "those with high accuracy; near 0, one does not stand for the other.",
        [
            MODEL,
            METHOD,
            DATASET,
            Column("x", ("x",), "name", "the one score"),
            Column("y", ("y",), "name", "the other score"),
            Column("rho (95 %)", ("rho", "rho_lo", "rho_hi"), "plain", "Spearman's, over draws"),
            Column("p", ("p",), "p", "by permutation"),
            N,
        ],
    ),
    "covariates": (
        "Which calibration sets do well",
        "Rank correlation of what a calibration set is like with the score that it gave.",
        [
            MODEL,
            METHOD,
            DATASET,
            Column("of the set", ("descriptor",), "name", "what was measured on its tokens"),
            SCORE,
            Column("rho (95 %)", ("rho", "rho_lo", "rho_hi"), "plain", "Spearman's, over draws"),
            Column("p", ("p",), "p", "by permutation"),
            N,
        ],
    ),
    "iqm": (
        "Interquartile means and performance profiles",
        "Mean of the middle half of all draws and tasks, as shares of the dense score, and how "
        "many of them lie above each share; intervals are over whole draws, as one calibration "
        "set gives all tasks. Of methods that read data, on tasks scored by acc.",
        [
            MODEL,
            METHOD,
            Column("IQM (95 %)", ("iqm", "iqm_lo", "iqm_hi"), "share", "of what dense scores"),
            Column("mean", ("mean",), "share", "of all draws and tasks"),
            Column(
                "gap (95 %)",
                ("gap", "gap_lo", "gap_hi"),
                "share",
                "what is missing to dense; a task above it makes up for no other",
            ),
            Column("tasks", ("num_tasks",), "count", "that go into it"),
            N,
        ],
    ),
    "experts": (
        "Tokens that experts got",
        "Calibration tokens that the routers sent to one expert, over the experts of all blocks; "
        "means over cells. An expert without any is compressed as if there were no data. With "
        "walk.all_experts=true statistics are of all tokens, wherever these are sent.",
        [
            MODEL,
            METHOD,
            DATASET,
            Column("experts", ("num_experts",), "count", "of all blocks"),
            Column("fewest", ("fewest",), "plain", "tokens of the expert that got fewest"),
            Column("median", ("median",), "plain", "tokens of the expert in the middle"),
            Column("most", ("most",), "plain", "tokens of the expert that got most"),
            Column("without any", ("unreached",), "plain", "experts that no token was sent to"),
            N,
        ],
    ),
}
MISSING = [
    MODEL,
    METHOD,
    DATASET,
    Column("seed", ("seed",), "name", "the calibration seed"),
    Column("status", ("status",), "name", "missing: there is no trace of it"),
    Column("why", ("why",), "name", "why it is expected"),
]
CONTROLS = [
    Column("control", ("control",), "name", "what must hold before the tables can be believed"),
    Column("verdict", ("verdict",), "name", "ok, or look: something to know"),
    MODEL,
    METHOD,
    SCORE,
    Column("what was found", ("detail",), "name", "in words"),
    Column("value", ("value",), "plain", "what was found"),
    Column("limit", ("limit",), "plain", "from where on to look"),
]


def write(tables: Mapping[str, Frame], figures: Sequence[str]) -> list[Block]:
    """Make chapters of the tables that have rows, folded: none of them is the question."""
    inside: list[Block] = []
    for name, (title, text, shown) in CHAPTERS.items():
        if name in tables and not tables[name].empty:
            table = _table(_pooled_first(tables[name]), shown, name)
            drawn = figures_of("profiles", figures, PROFILES) if name == "iqm" else []
            inside += [Fold(title, [Paragraph(text), *drawn, *table])]
    return [Heading("What goes with the scores"), *inside] if inside else []


def _pooled_first(frame: Frame) -> Frame:
    """Put rows over all datasets before those of each."""
    if "dataset" not in frame:
        return frame
    order = frame.sort_values("dataset", kind="stable", key=lambda dataset: dataset != "")
    return order.reset_index(drop=True)


def never_run(tables: Mapping[str, Frame]) -> list[Block]:
    """List cells of which there is no trace: those that failed are told already."""
    missing = tables.get("missing")
    if missing is None or not (missing["status"] == "missing").any():
        return []
    own = missing[missing["status"] == "missing"].reset_index(drop=True)
    text = f"{len(own)} cells were expected and never run: other methods have their sets."
    return [Paragraph(text), *_table(own, MISSING, "missing")]


def control_table(tables: Mapping[str, Frame]) -> list[Block]:
    """List what was checked, those to look at first."""
    controls = tables.get("controls")
    if controls is None or controls.empty:
        return []
    order = controls.sort_values("verdict", kind="stable", key=lambda verdict: verdict != "look")
    return _table(order.reset_index(drop=True), CONTROLS, "controls")


def _table(frame: Frame, shown: Sequence[Column], name: str) -> list[Block]:
    more = len(frame) - MAX_ROWS
    rest = f"The first {MAX_ROWS} rows; {more} more are in tables/{name}.csv." if more > 0 else ""
    return [format_table(frame.head(MAX_ROWS), shown, metric="", caption=rest)]
