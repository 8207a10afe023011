"""Chapters on the sweep itself: its cells, failures, controls, provenance."""

import math
from collections.abc import Sequence

from calib_sweep.analysis import formatting
from calib_sweep.analysis.metrics import HEADLINES, Metrics, kind_of
from calib_sweep.analysis.report.document import Block, Bullets, Fold, Heading, Paragraph, Table
from calib_sweep.analysis.report.material import MAX_SETS, Material, set_table
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.names import Naming, shown_settings
from calib_sweep.analysis.scores.table import Row
from calib_sweep.analysis.tables import controls, provenance
from calib_sweep.results.means import ACC_MEAN

FAMILIES = ("ppl", "acc", "acc_norm", "kl", "flips")  # order of the tables of single scores


def what_was_run(material: Material, groups: Sequence[Group]) -> list[Block]:
    """List cells, models, methods, datasets, seeds, settings that differ, and scores."""
    count = controls.count_cells(material.rows)
    cells = f"{count.total} cells: {count.done} done, {count.failed} failed"
    cells += f", {count.unfinished} unfinished" if count.unfinished else ""
    items = [cells]
    for word, values in {
        "models": [group.model for group in groups],
        "methods": [group.method for group in groups],
        "calibration datasets": [group.dataset for group in groups if group.dataset],
        "calibration seeds": sorted({s for g in groups for s in g.seeds if s is not None}),
        "settings that differ": shown_settings(groups),
        "perplexity of": formatting.parts_of("ppl", material.metrics),
        "accuracy in": formatting.parts_of_mean(ACC_MEAN, material.metrics, material.known),
    }.items():
        if values:
            items.append(f"{word}: {', '.join(map(str, dict.fromkeys(values)))}")
    return [Heading("What was run"), Bullets(items)]


def failed_cells(rows: Sequence[Row]) -> list[Block]:
    failed = controls.failures(rows)
    if not failed:
        return []
    return [Heading("Failed cells"), Table(["cell", "why"], failed, 2)]


def control_list(material: Material, groups: Sequence[Group]) -> list[Block]:
    """Say what should not move, and whether it did."""
    items = list(material.warnings)
    free = controls.data_free(groups)
    for method in dict.fromkeys(group.method for group in free):
        own = [group for group in free if group.method == method]
        ranges = [group.spread.max - group.spread.min for group in own]
        largest = max((size for size in ranges if math.isfinite(size)), default=0.0)
        moved = "" if largest == 0 else f", and its scores differ by up to {largest:.2g}"
        items.append(
            f"{method} reads no calibration data: its one value per model and setting stands for "
            f"every dataset and seed{moved}."
        )
    problems = provenance.check_pairing(material.sets)
    items += [*provenance.seen_text(material.sets), *problems]
    if material.sets and not problems:
        shared = sum(len(drawn.methods) > 1 for drawn in material.sets)
        items.append(
            f"{len(material.sets)} calibration sets, all different; {shared} of them were used by "
            "several methods, which saw the same tokens (equal hashes): comparisons are paired."
        )
    return [Heading("Controls"), Bullets(items) if items else Paragraph("None in this sweep.")]


def provenance_chapter(material: Material) -> list[Block]:
    """Name the calibration sets, and the versions and machines of the records."""
    blocks: list[Block] = [Heading("Provenance")]
    if material.sets:
        blocks += [Heading("Calibration sets", 3), set_table(material.sets[:MAX_SETS], 12)]
        more = len(material.sets) - MAX_SETS
        more_text = f"{more} more, and the" if more > 0 else "The"
        blocks.append(Paragraph(f"{more_text} whole hashes are in tables/calibration_sets.csv."))
    rows = [[key, ", ".join(values)] for key, values in material.environments.items()]
    if rows:
        blocks += [Heading("Versions and machine", 3), Table(["what", "recorded"], rows, 2)]
    if len(blocks) == 1:
        blocks.append(Paragraph("The records name no calibration sets and no versions."))
    return blocks


def single_scores(material: Material, groups: Sequence[Group]) -> list[Block]:
    """Give mean (SD) of every score beside the headline ones, by family, folded."""
    naming = Naming.of_groups(groups)
    kinds = {kind_of(metric) for metric in material.metrics}
    tables = [
        _family(f, groups, naming, material.known)
        for f in [*FAMILIES, *sorted(kinds - {*FAMILIES})]
    ]
    inside = [block for table in tables for block in table]
    return [Fold("Single corpora and tasks: mean (SD over seeds)", inside)] if inside else []


def _family(family: str, groups: Sequence[Group], naming: Naming, known: Metrics) -> list[Block]:
    own = [g for g in groups if kind_of(g.metric) == family and g.metric not in HEADLINES]
    metrics = sorted({group.metric for group in own})
    if not metrics:
        return []
    several = len({group.model for group in own}) > 1
    cells = {(group.label, group.metric): group for group in own}
    digits = {
        m: formatting.decimals(m, (g.spread for g in own if g.metric == m), known) for m in metrics
    }
    rows = []
    for group in {group.label: group for group in own}.values():
        names = naming.of(group)
        scores = [(cells.get((group.label, metric)), digits[metric]) for metric in metrics]
        labels = [*([names.model] if several else []), names.method, names.dataset or "-"]
        rows.append([*labels, *(_mean_and_sd(found, digit) for found, digit in scores)])
    header = [*(["model"] if several else []), "method", "dataset"]
    scored = [metric.partition("/")[2] or metric for metric in metrics]
    meanings = dict.fromkeys(scored, "mean over calibration seeds (SD over them)")
    table = Table([*header, *scored], rows, len(header), meanings=meanings)
    return [Heading(formatting.with_unit(known.of(family)), 3), table]


def _mean_and_sd(group: Group | None, digits: int) -> str:
    if group is None:
        return "-"
    mean, sd, *_ = formatting.described(group, digits)
    return mean if group.spread.n == 1 else f"{mean} ({sd})"
