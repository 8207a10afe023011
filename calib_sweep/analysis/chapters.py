"""What the report says, chapter by chapter: numbers of `descriptive`, as `wording` shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calib_sweep.analysis import controls, provenance, wording
from calib_sweep.analysis.descriptive import Group, group_rows
from calib_sweep.analysis.document import Block, Bullets, Heading, Image, Paragraph, Table
from calib_sweep.analysis.summary import HEADLINES, NUMBER_HEADINGS, comparison_sentences
from calib_sweep.analysis.table import Row, to_rows

FIGURE = "figures/seeds.png"
MAX_SETS = 60  # calibration sets listed on the page; tables/calibration_sets.csv has all
FAMILIES = ("ppl", "acc", "acc_norm", "kl", "flips")  # order of the tables of single scores

READING = (
    "SD is the sample standard deviation over calibration seeds (ddof = 1), everything else fixed; "
    "n is the number of seeds, and a range is to be compared only with one of equal n. The mean "
    "over corpora or tasks is taken within each cell first: geometric for perplexity, unweighted "
    "for accuracy. The mean over seeds is arithmetic. vs dense is the mean minus the dense model's "
    "value. Perplexity is per token, on fixed windows of the length after the @."
)


@dataclass(frozen=True)
class Material:
    """Everything the report is made of: nothing else may move a byte of it."""

    name: str
    rows: list[Row]
    scores: list[Any]  # of each cell: all of its record that `rows` repeats
    sets: list[provenance.DrawnSet]
    environments: dict[str, list[str]]

    @classmethod
    def of(cls, name: str, cells: Sequence[Mapping[str, Any]]) -> "Material":
        scores = [[record["cell"], record["scores"], record.get("stderr")] for record in cells]
        sets, found = provenance.drawn_sets(cells), provenance.environments(cells)
        return cls(name, to_rows(cells), scores, sets, found)

    @property
    def metrics(self) -> list[str]:
        return sorted({str(row["metric"]) for row in self.rows if row["metric"] is not None})


def write(material: Material, groups: Sequence[Group], *, has_figure: bool) -> list[Block]:
    """The whole report."""
    blocks: list[Block] = [Heading(f"Sweep {material.name}", 1), *_what_was_run(material, groups)]
    blocks += [Heading("Methods beside the dense model"), Paragraph(READING)]
    if has_figure:
        alt = "One strip of points per method and dataset, one point per calibration seed."
        blocks.append(Image(FIGURE, alt))
    for metric in HEADLINES:
        blocks += _headline(metric, groups, material.metrics)
    remarks = [*comparison_sentences(groups), *controls.findings(material.rows, groups)]
    blocks += [Bullets(remarks)] if remarks else []
    kinds = {metric.split("/")[0] for metric in material.metrics}
    for family in [*FAMILIES, *sorted(kinds - {*FAMILIES})]:
        blocks += _single_scores(family, groups)
    blocks += [*_failed(material.rows), *_controls(material, groups), *_provenance(material)]
    return blocks


def _what_was_run(material: Material, groups: Sequence[Group]) -> list[Block]:
    count = controls.count_cells(material.rows)
    cells = f"{count.total} cells: {count.done} done, {count.failed} failed"
    cells += f", {count.unfinished} unfinished" if count.unfinished else ""
    items = [cells]
    for word, values in {
        "models": [group.model for group in groups],
        "methods": [group.method for group in groups],
        "calibration datasets": [group.dataset for group in groups if group.dataset],
        "calibration seeds": sorted({s for g in groups for s in g.seeds if s is not None}),
        "settings that differ": wording.shown_settings(groups),
        "perplexity of": wording.parts_of("ppl", material.metrics),
        "accuracy in": wording.parts_of("acc", material.metrics),
    }.items():
        if values:
            items.append(f"{word}: {', '.join(map(str, dict.fromkeys(values)))}")
    return [Heading("What was run"), Bullets(items)]


def _names(groups: Sequence[Group]) -> tuple[list[str], dict[tuple[Any, ...], list[str]]]:
    """Headings of the columns that name a group, and these columns for each label."""
    settings = wording.shown_settings(groups)
    header = ["model", "method", "dataset", *wording.short_names(settings)]
    rows = {
        g.label: [g.model, g.method, g.dataset or "-", *(wording.setting(g, s) for s in settings)]
        for g in groups
    }
    if len({group.model for group in groups}) == 1:
        return header[1:], {label: row[1:] for label, row in rows.items()}
    return header, rows


def _headline(metric: str, groups: Sequence[Group], metrics: Sequence[str]) -> list[Block]:
    own = [group for group in groups if group.metric == metric]
    if not own:
        return []
    header, names = _names(groups)
    digits = wording.decimals(metric, (group.spread for group in own))
    rows = [[*names[group.label], *wording.described(group, digits)] for group in own]
    table = Table([*header, *NUMBER_HEADINGS], rows, len(header))
    return [Heading(wording.heading(metric, metrics), 3), table]


def _single_scores(family: str, groups: Sequence[Group]) -> list[Block]:
    """mean (SD) of every score of a family, one column each."""
    own = [g for g in groups if g.metric.split("/")[0] == family and g.metric not in HEADLINES]
    metrics = sorted({group.metric for group in own})
    if not metrics:
        return []
    header, names = _names(groups)
    cells = {(group.label, group.metric): group for group in own}
    digits = {m: wording.decimals(m, (g.spread for g in own if g.metric == m)) for m in metrics}
    rows = []
    for label in dict.fromkeys(group.label for group in own):
        scores = [(cells.get((label, metric)), digits[metric]) for metric in metrics]
        rows.append([*names[label], *(_mean_and_sd(group, digit) for group, digit in scores)])
    columns = [metric.partition("/")[2] for metric in metrics]
    title = f"{wording.NAMES.get(family, family)}: mean (SD over seeds)"
    return [Heading(title, 3), Table([*header, *columns], rows, len(header))]


def _mean_and_sd(group: Group | None, digits: int) -> str:
    if group is None:
        return "-"
    mean, sd, *_ = wording.described(group, digits)
    return mean if group.spread.n == 1 else f"{mean} ({sd})"


def _failed(rows: Sequence[Row]) -> list[Block]:
    failed = controls.failures(rows)
    if not failed:
        return [Heading("Failed cells"), Paragraph("None.")]
    return [Heading("Failed cells"), Table(["cell", "why"], failed, 2)]


def _controls(material: Material, groups: Sequence[Group]) -> list[Block]:
    """What should not move, and whether it did."""
    items = []
    free = controls.data_free(groups)
    for method in dict.fromkeys(group.method for group in free):
        own = [group for group in free if group.method == method]
        largest = max(group.spread.max - group.spread.min for group in own)
        moved = "" if largest == 0 else f", and its scores differ by up to {largest:.2g}"
        items.append(
            f"{method} reads no calibration data: its one value per model and setting stands for "
            f"every dataset and seed{moved}."
        )
    problems = provenance.check_pairing(material.sets)
    items += problems
    if material.sets and not problems:
        shared = sum(len(drawn.methods) > 1 for drawn in material.sets)
        items.append(
            f"{len(material.sets)} calibration sets, all different; {shared} of them were used by "
            "several methods, which saw the same tokens (equal hashes): comparisons are paired."
        )
    return [Heading("Controls"), Bullets(items) if items else Paragraph("None in this sweep.")]


def set_table(sets: Sequence[provenance.DrawnSet], num_digits: int | None) -> Table:
    """The calibration sets, with the first `num_digits` of their hashes (None: all)."""
    keys = [key for key in provenance.CARD_KEYS if any(key in drawn.card for drawn in sets)]
    header = ["model", "dataset", "seed", "settings", "hash", *keys]
    rows = []
    for drawn in sets:
        hashes = " ".join(sorted(one[:num_digits] for one in drawn.hashes))
        seed = "-" if drawn.seed is None else str(drawn.seed)
        card = [drawn.card.get(key, "-") for key in keys]
        rows.append([drawn.model, drawn.dataset, seed, drawn.settings or "-", hashes, *card])
    return Table(header, rows, len(header))


def _provenance(material: Material) -> list[Block]:
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


def all_groups(material: Material) -> list[Group]:
    """Every group of the sweep, in every metric."""
    return group_rows(material.rows)
