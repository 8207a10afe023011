"""The report, chapter by chapter, the conclusion first; `background` has the rest.

Every chapter shows the headline scores; those of single corpora and tasks are folded behind them,
and tables/*.csv has every row.
"""

from collections.abc import Iterator, Mapping, Sequence

from calib_sweep.analysis import formatting
from calib_sweep.analysis.figures import diagrams, strip_plot
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import kind_of, slug
from calib_sweep.analysis.report import (
    appendix,
    background,
    columns,
    conclusions,
    planning,
    task_table,
)
from calib_sweep.analysis.report.document import Block, Bullets, Callout, Fold, Heading, Table
from calib_sweep.analysis.report.findings import findings
from calib_sweep.analysis.report.layout import chapter, each_metric, figures_of
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.table_format import format_table
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.tables import controls
from calib_sweep.analysis.tables.checks import ALL_PAIRS
from calib_sweep.analysis.tables.provenance import seen_text

Tables = Mapping[str, Frame]

MAX_WARNINGS = 3  # about files, before the conclusion

SCORED = ("summary", "comparisons")  # tables for a paper whose first number is a score, or of two

READING = (
    "Each dot of the figure is one compressed model: the same method with another calibration set. "
    "The mean over corpora or tasks is taken within each cell first: geometric for perplexity, "
    "unweighted for accuracy. Perplexity is per token, on fixed windows of the length after the @."
)
DIFFERING = (
    "Methods met on the same calibration sets, so they are compared pair by pair. A difference "
    "holds when its 95 % interval leaves out 0. 'Not shown' does not mean equal: a true difference "
    "as large as 'detectable' would have been seen with the power asked for (analysis.power). Each "
    "verdict stands alone; 'p, Holm' is corrected for all pairs."
)
VARYING = (
    "What the variance of a score lies between. draw: another calibration set from the same "
    "dataset; dataset: another source of calibration text; method: another method; with a colon: "
    "what one of them adds to the other. With few datasets or methods a component is known only "
    "roughly: read its interval."
)
RANKED = (
    "How far the order of methods would survive other draws: draws are resampled whole. The lines "
    "show how often a study of so many seeds names the same best method, and finds the same order, "
    "as all draws of this sweep together."
)
ITEMS_BESIDE = (
    "Two questions, two intervals: 'same benchmark' is about other calibration draws scored on the "
    "same items; 'new items' is also about other items of the same kind. A user of a method gets "
    "one draw, not the mean: see 'next draw'."
)
FLIPPING = (
    "Does a score move because single items flip, or because ability shifts? The flip floor is the "
    "SD that independent flips would give; what is above it is systematic."
)
SIZES = "The SD over draws of calibration sets of different sizes, and what it seems to fall to."


def write(
    material: Material, groups: Sequence[Group], tables: Tables, figures: Sequence[str]
) -> list[Block]:
    """Make the whole report; `figures`: paths of those that were drawn."""
    words = headline_words(material)
    blocks: list[Block] = [Heading(f"Sweep {material.name}", 1)]
    blocks += [Callout("What this sweep says", _said(material, groups, tables))]
    blocks += background.what_was_run(material, groups)
    summary = _with_reference(tables["summary"])
    cut = " The first rows of many." if any(strip_plot.are_cut(groups, m) for m in words) else ""
    seen = figures_of(
        "seeds", figures, f"Every seed as a dot, the mean as a bar beside it, dense dashed.{cut}"
    )
    shown = each_metric(summary, columns.SUMMARY, material, words)
    shown += background.single_scores(material, groups)
    blocks += chapter("Methods beside the dense model", [READING], seen, shown)
    blocks += _differences(material, tables, figures, words)
    parts = figures_of("components", figures, "Shares of the variance of each score.")
    known = tables["variance_components"].dropna(subset="sd")  # notes.csv says why of the others
    shown = each_metric(known, columns.COMPONENTS, material, words)
    blocks += chapter("Where the variance comes from", [VARYING], parts, shown)
    blocks += _ranks(material, tables, figures, words)
    blocks += planning.write(tables["power"], material, words)
    blocks += _of_draws(material, tables, figures, words)
    blocks += appendix.write(tables, figures)
    blocks += background.failed_cells(material.rows) + appendix.never_run(tables)
    blocks += background.control_list(material, groups) + appendix.control_table(tables)
    return [*blocks, *background.provenance_chapter(material)]


def headline_words(material: Material) -> dict[str, str]:
    """Return the headline scores that there are, in words."""
    return material.known.headlines(material.metrics)


def conclusion(material: Material, tables: Tables) -> list[str]:
    """Say what the sweep says, a few lines per model, after what was wrong with its files."""
    words, warnings = headline_words(material), list(material.warnings)
    if len(warnings) > MAX_WARNINGS:
        more = len(warnings) - MAX_WARNINGS
        warnings[MAX_WARNINGS:] = [f"{more} more such warnings are in the report, under Controls."]
    warnings += seen_text(material.sets)
    if not words:
        return [*warnings, _no_headline(material)]
    wide = tables["controls"].loc[tables["controls"]["control"] == ALL_PAIRS]
    warnings += [f"{told['model']}: {told['detail']}." for told in wide.to_dict("records")]
    nothing = "There are no two methods with draws in common to compare."
    return [*warnings, *(conclusions.short(tables, words) or [nothing])]


def _no_headline(material: Material) -> str:
    """Say that there is no score to make sentences of, and how one is made one."""
    nothing = "There is no mean accuracy and no perplexity: see the tables of other scores."
    if not material.metrics:
        return nothing
    kind = kind_of(material.metrics[0])
    more = "" if material.known.of(kind).direction else "direction: 1, "
    example = f"'analysis.metrics={{{kind}: {{{more}headline: true}}}}'"
    return f"{nothing} Sentences are made of those that are named, for example by {example}."


def _said(material: Material, groups: Sequence[Group], tables: Tables) -> list[str]:
    """Say the conclusion, and what one must know before believing it."""
    lines = conclusion(material, tables)
    count = controls.count_cells(material.rows)
    missing = count.total - count.done
    if missing:
        has = "has" if missing == 1 else "have"
        lines.append(f"{missing} of {count.total} cells {has} no scores: see the list.")
    return [*lines, *findings(material.rows, groups)]


def _with_reference(summary: Frame) -> Frame:
    difference = (summary["mean"] - summary["dense"]).where(summary["method"] != "dense")
    ends = {end: summary[end].where(summary["n"] > 1) for end in ("min", "max")}
    return summary.assign(vs_dense=difference, **ends)


def _differences(
    material: Material, tables: Tables, figures: Sequence[str], words: Mapping[str, str]
) -> list[Block]:
    """Compare methods over all datasets, in sentences and tables; on each; then datasets."""
    compared = shown_comparisons(tables["comparisons"])
    methods = compared[compared["kind"] == "method"]
    pooled = methods[methods["dataset"] == ""]
    each = methods[(methods["dataset"] != "") & (methods["dataset"].nunique() > 2)]
    sentences: list[Block] = []
    for model in dict.fromkeys(compared["model"]):
        several = compared["model"].nunique() > 1
        for metric, word in words.items():
            told = conclusions.long(tables, model, metric, word)
            title = f"{model}: {word}" if several else word
            if told:
                listed: Block = Bullets(told)
                sentences += [Fold(title, [listed])] if several else [Heading(title, 3), listed]
    caption = "Mean paired differences with 95 % intervals; filled: they hold."
    if any(diagrams.pairs_left_out(tables["comparisons"], metric) for metric in words):
        caption += (
            f" The first {diagrams.MAX_PAIRS} pairs of each model; tables/comparisons.csv has all."
        )
    drawn = figures_of("differences", figures, caption)
    shown = each_metric(pooled, columns.COMPARISONS, material, words)
    shown += each_metric(each, columns.COMPARISONS, material, words, folded="On each dataset")
    blocks = chapter("Which differences hold", [DIFFERING], [*sentences, *drawn], shown)
    datasets = compared[compared["kind"] == "dataset"]
    shown = each_metric(datasets, columns.COMPARISONS, material, words)
    text = "Calibration datasets by the mean over methods; their draws are independent samples."
    return [*blocks, *chapter("Does the calibration dataset matter", [text], [], shown)]


def shown_comparisons(compared: Frame) -> Frame:
    """Add verdicts that name who is better."""
    return compared.assign(verdict_shown=list(_verdicts(compared)))


def _verdicts(compared: Frame) -> Iterator[str]:
    """Return the verdicts with the names of the compared."""
    for a, b, verdict in zip(compared["a"], compared["b"], compared["verdict"], strict=True):
        first, _, rest = verdict.partition(" ")
        named = {"a": a, "b": b}.get(first) if "better" in rest else None
        yield f"{named} {rest}" if named else verdict


def _ranks(
    material: Material, tables: Tables, figures: Sequence[str], words: Mapping[str, str]
) -> list[Block]:
    if "ranking" not in tables or tables["ranking"].empty:
        return []
    of_methods, stability = shown_ranking(tables["ranking"]), tables["rank_stability"]
    caption = "Probability that a study of so many seeds agrees with all draws of this sweep."
    drawn = figures_of("ranks", figures, caption)
    shown = each_metric(of_methods, columns.RANKING, material, words)
    own = stability[(stability["kind"] == "method") & (stability["dataset"] == "")]
    shown += each_metric(own, columns.STABILITY, material, words, folded="Against seeds")
    return chapter("How sure the ranking is", [RANKED], drawn, shown)


def shown_ranking(ranking: Frame) -> Frame:
    """Return the ranking of methods over all datasets, best first."""
    own = ranking[(ranking["kind"] == "method") & (ranking["dataset"] == "")]
    ends = zip(own["rank_lo"], own["rank_hi"], strict=True)
    own = own.assign(rank_range=[f"{lo}..{hi}" if lo < hi else f"{lo}" for lo, hi in ends])
    return own.sort_values(["model", "metric", "rank", "name"], kind="stable")


def _of_draws(
    material: Material, tables: Tables, figures: Sequence[str], words: Mapping[str, str]
) -> list[Block]:
    """Show draws beside items; flips; SD against the size of a set."""
    blocks: list[Block] = []
    for names, title, text, kind in (
        (["uncertainty"], "Draws beside test items", ITEMS_BESIDE, None),
        (["flips"], "Flips of single items, or a shift", FLIPPING, None),
        (["size_floors", "sizes"], "How large a calibration set", SIZES, "num_samples"),
    ):
        shown = []
        for name in names:
            frame = tables.get(name)
            if frame is not None and not frame.empty:
                folded = columns.FOLDED.get(name)
                shape = columns.OF_DRAWS[name]
                shown += each_metric(frame, shape, material, words, folded=folded)
        drawn = figures_of(kind, figures, SIZES) if kind else []
        blocks += chapter(title, [text], drawn, shown)
    return blocks


def paper_tables(material: Material, tables: Tables) -> dict[str, tuple[Table, int, str]]:
    """Return the tables for a paper by name, with the sign of its first number and a title.

    Headline scores only; a sweep that has none gives every score.
    """
    words, known = headline_words(material), material.known
    frames = {
        "summary": (_with_reference(tables["summary"]), columns.SUMMARY),
        "comparisons": (shown_comparisons(tables["comparisons"]), columns.COMPARISONS),
        "variance_components": (tables["variance_components"], columns.COMPONENTS),
        "ranking": (shown_ranking(tables["ranking"]), columns.RANKING),
        "power": (planning.of_methods(tables["power"]), columns.POWER),
    }
    found = {}
    for name, (frame, shown) in frames.items():
        for metric in [m for m in (words or material.metrics) if m in set(frame["metric"])]:
            own = frame[frame["metric"] == metric].reset_index(drop=True)
            word = slug(words.get(metric, metric))
            title = (
                f"{name} of {material.name}: {formatting.heading(metric, material.metrics, known)}"
            )
            sign = known.of(metric).direction if name in SCORED else 0
            found[f"{name}_{word}"] = format_table(own, shown, metric, known=known), sign, title
    if "tasks" in tables and not tables["tasks"].empty:
        title = f"accuracy of {material.name} by task, %: mean (SD over seeds)"
        found["tasks_accuracy"] = task_table.paper_table(tables["tasks"]), 1, title
    return found
