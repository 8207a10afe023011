"""The report, chapter by chapter, the answer first; `background` has the rest.

Every chapter shows the headline scores; those of single corpora and tasks are folded behind them,
and tables/*.csv has every row.
"""

import re
from collections.abc import Mapping, Sequence

from calib_sweep.analysis.figures import strip_plot
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import kind_of
from calib_sweep.analysis.report import (
    answer,
    appendix,
    background,
    columns,
    compared,
    differences,
    losses,
    over_models,
    planning,
    published,
)
from calib_sweep.analysis.report.document import Block, Callout, Fold, Heading, Paragraph
from calib_sweep.analysis.report.findings import findings
from calib_sweep.analysis.report.layout import chapter, each_metric, figures_of, in_folds
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.scores.groups import Group, group_rows
from calib_sweep.analysis.tables import controls
from calib_sweep.analysis.tables.checks import ALL_PAIRS
from calib_sweep.analysis.tables.provenance import seen_text

Tables = Mapping[str, Frame]

SAYS = "What this sweep says"
MAX_WARNINGS = 3  # about files, before the conclusion

READING = (
    "Each dot of the figure is one compressed model: the same method with another calibration set. "
    "The mean over corpora or tasks is taken within each cell first: geometric for perplexity, "
    "unweighted for accuracy. Perplexity is per token, on fixed windows of so many tokens as its "
    "name says."
)
MOVING = (
    "How far a score moves, as SDs: with another draw from the same dataset, with another dataset, "
    "with other test items of the same kind. Of perplexity an SD of its logarithm, in per cent. "
    "With few datasets their SD is known only roughly: read its interval."
)
VARYING = (
    "What the variance of a score lies between. draw: another calibration set from the same "
    "dataset; dataset: another source of calibration text; method: another method; with a colon: "
    "what one of them adds to the other."
)
RANKED = (
    "How far the order of methods would survive other draws of these datasets. The lines show how "
    "often two independent studies of so many seeds would name the same best method, and find the "
    "same order: simulated, given the means and draws that were seen. Of methods that do not "
    "differ two studies agree by luck: one time in as many as there are."
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
    blocks += _answers(material, groups, tables)
    blocks += _moving(material, tables, figures, words)
    summary = with_reference(tables["summary"])
    cut = " The first rows of many." if any(strip_plot.are_cut(groups, m) for m in words) else ""
    seen = figures_of(
        "seeds", figures, f"Every seed as a dot, the mean as a bar beside it, dense dashed.{cut}"
    )
    shown = each_metric(summary, columns.SUMMARY, material, words)
    shown += background.single_scores(material, groups)
    blocks += chapter("Methods beside the dense model", [READING], seen, shown)
    blocks += differences.of_methods(material, tables, figures, words)
    blocks += differences.of_datasets(material, tables, words)
    blocks += losses.write(tables, material, words)
    blocks += published.write(material, groups, tables, figures, words)
    detail = over_models.write(tables["over_models"], material, words, figures)
    detail += _ranks(material, tables, figures, words)
    detail += planning.write(tables["power"], material, words)
    detail += _of_draws(material, tables, figures, words)
    detail += appendix.write(tables, figures)
    blocks += in_folds("In detail", detail)
    blocks += compared.write(tables["compared"])
    blocks += background.what_was_run(material, groups)
    blocks += background.failed_cells(material.rows) + appendix.never_run(tables)
    checked = background.control_list(material, groups) + appendix.control_table(tables)
    checked += background.provenance_chapter(material)
    return [*blocks, *in_folds("Controls and provenance", checked)]


def headline_words(material: Material) -> dict[str, str]:
    """Return the headline scores that there are, in words."""
    return material.known.headlines(material.metrics)


def conclusion(material: Material, tables: Tables) -> list[str]:
    """Say what the sweep says, a few lines per model, after what was wrong with its files."""
    words = headline_words(material)
    beside = published.sentences(material, group_rows(material.rows, material.known), tables)
    if not words:
        return [*_warnings(material), _no_headline(material), *beside]
    is_fixed = not material.stopping
    said = answer.sentences(tables, words, material.known, is_fixed=is_fixed)
    return [*_warnings(material), *_wide(tables), *said, *beside, *material.stopping]


def _warnings(material: Material) -> list[str]:
    """Say what was wrong with the files."""
    warnings = list(material.warnings)
    if len(warnings) > MAX_WARNINGS:
        more = len(warnings) - MAX_WARNINGS
        warnings[MAX_WARNINGS:] = [f"{more} more such warnings are in the report, under Controls."]
    return [*warnings, *seen_text(material.sets)]


def _wide(tables: Tables) -> list[str]:
    """Say which methods do not meet, where there are too many of them."""
    wide = tables["controls"].loc[tables["controls"]["control"] == ALL_PAIRS]
    return [f"{told['model']}: {told['detail']}." for told in wide.to_dict("records")]


def _no_headline(material: Material) -> str:
    """Say that there is no score to make sentences of, and how one is made one."""
    nothing = "There is no mean accuracy and no perplexity: see the tables of other scores."
    if not material.metrics:
        return nothing
    kind = kind_of(material.metrics[0])
    more = "" if material.known.of(kind).direction else "direction: 1, "
    example = f"'analysis.metrics={{{kind}: {{{more}headline: true}}}}'"
    return f"{nothing} Sentences are made of those that are named, for example by {example}."


def _answers(material: Material, groups: Sequence[Group], tables: Tables) -> list[Block]:
    """Answer in boxes, one for each question; then what one must know before believing it."""
    words = headline_words(material)
    is_fixed = not material.stopping
    parts = answer.parts(tables, words, material.known, is_fixed=is_fixed) if words else {}
    boxes: list[Block] = [Callout(question, lines) for question, lines in parts.items()]
    boxes += [Callout("Why no more seeds", list(material.stopping))] if material.stopping else []
    if not boxes:
        boxes = [Callout(SAYS, [answer.NEVER_SEEN if words else _no_headline(material)])]
    lines = [*_warnings(material), *(_wide(tables) if words else [])]
    count = controls.count_cells(material.rows)
    missing = count.total - count.done
    if missing:
        has = "has" if missing == 1 else "have"
        lines.append(f"{missing} of {count.total} cells {has} no scores: see the list.")
    lines += findings(material.rows, groups)
    return [*boxes, Callout("To know before", lines)] if lines else boxes


def shown_components(components: Frame) -> Frame:
    """Return the components that have a number (notes.csv says why the others have none)."""
    known = components.dropna(subset="sd")
    names = [re.sub(r"^\*", "all methods", str(name)) for name in known["method"]]
    return known.assign(method=names)


def with_reference(summary: Frame) -> Frame:
    difference = (summary["mean"] - summary["dense"]).where(summary["method"] != "dense")
    ends = {end: summary[end].where(summary["n"] > 1) for end in ("min", "max")}
    return summary.assign(vs_dense=difference, **ends)


def _moving(
    material: Material, tables: Tables, figures: Sequence[str], words: Mapping[str, str]
) -> list[Block]:
    """Show what moves a score: draws, datasets, items; all components of the variance, folded."""
    caption = "Shares of the variance of one score; at the end the SD of all of it."
    drawn = figures_of("components", figures, caption)
    shown: list[Block] = []
    sensitivity = tables.get("sensitivity")
    if sensitivity is not None and not sensitivity.empty:
        shown += each_metric(sensitivity, columns.SENSITIVITY, material, words)
    known = shown_components(tables["variance_components"])
    parts = each_metric(known, columns.COMPONENTS, material, words)
    if parts:
        shown.append(Fold("All components of the variance", [Paragraph(VARYING), *parts]))
    return chapter("What moves a score", [MOVING], drawn, shown)


def _ranks(
    material: Material, tables: Tables, figures: Sequence[str], words: Mapping[str, str]
) -> list[Block]:
    if "ranking" not in tables or tables["ranking"].empty:
        return []
    of_methods, stability = shown_ranking(tables["ranking"]), tables["rank_stability"]
    caption = "Probability that two independent studies of so many seeds agree."
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
