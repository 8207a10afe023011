"""Our means beside published ones: published.csv, a row per published number that has cells here.

`inference.summaries` has the tests. p_holm corrects for all rows, p_equal_holm for all of them too.
The verdict: "differs" where p_holm < 5 %, "agrees" (within analysis.equivalence) where p_equal_holm
is, else "cannot be told apart"; "no test" where an SD or enough draws lack. All numbers are of the
scores as recorded, also of perplexities.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference.intervals import LEVEL
from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.summaries import Summary, compare_summaries
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.published import Published, PublishedScore, metrics_of
from calib_sweep.analysis.settings import AnalysisSettings

NAMES = ["model", "method", "dataset", "metric"]
THEIRS = ["their_model", "their_method", "their_dataset", "their_task"]
COLUMNS = [
    *(*NAMES, *THEIRS, "mean", "sd", "n", "their_mean", "their_sd", "their_n"),
    *("difference", "lo", "hi", "p", "p_holm", "margin", "p_equal", "p_equal_holm"),
    *("sd_ratio", "sd_ratio_lo", "sd_ratio_hi", "verdict"),
]
NUMBERS = ("mean", "sd", "n", "their_mean", "their_sd", "their_n", "margin")
DIFFERS, AGREES, OPEN = "differs", "agrees", "cannot be told apart"
NO_TEST = "no test"
Found = tuple[PublishedScore, Group]


@dataclass(frozen=True)
class Unmatched:
    """Published numbers that have no cells here, and the labels that nothing here is called."""

    num: int
    of: int
    labels: Mapping[str, Sequence[str]]  # role -> theirs
    ours: Mapping[str, Sequence[str]]  # role -> what there is here, by their labels


def published_table(
    groups: Sequence[Group], naming: Naming, published: Published | None, settings: AnalysisSettings
) -> pd.DataFrame:
    """Make published.csv; empty where nothing published is named."""
    found = [] if published is None else list(_matched(groups, naming, published))
    table = pd.DataFrame(
        [_row(theirs, group, naming, settings) for theirs, group in found],
        columns=pd.Index(COLUMNS),
    )
    if table.empty:
        return table
    number_of = {name: table[name].to_numpy(float) for name in NUMBERS}
    ours = Summary(number_of["mean"], number_of["sd"], number_of["n"])
    half_mean, half_sd = _halves(found)
    their_mean, their_sd, their_n = (number_of[f"their_{name}"] for name in ("mean", "sd", "n"))
    printed = Summary(their_mean, their_sd, their_n, half_mean, half_sd)
    compared = compare_summaries(ours, printed, number_of["margin"])
    for name, values in vars(compared).items():
        table[name] = values
    table["p_holm"] = holm_corrected(compared.p)
    table["p_equal_holm"] = holm_corrected(compared.p_equal)
    table["verdict"] = _verdicts(table)
    return table


def _halves(found: Sequence[Found]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([theirs.half_mean for theirs, _ in found]),
        np.array([theirs.half_sd for theirs, _ in found]),
    )


def _row(
    theirs: PublishedScore, group: Group, naming: Naming, settings: AnalysisSettings
) -> dict[str, object]:
    names, spread = naming.of(group), group.spread
    margin = settings.margin(group.metric) * (theirs.mean if group.kind.is_logged else 1.0)
    own = dict(
        zip(NAMES, [names.model, names.method, names.dataset or "", group.metric], strict=True)
    )
    labels = (theirs.model, theirs.method, theirs.dataset, theirs.task)
    return {
        **own,
        **dict(zip(THEIRS, labels, strict=True)),
        "mean": spread.mean,
        "sd": spread.sd,
        "n": spread.n,
        "their_mean": theirs.mean,
        "their_sd": theirs.sd,
        "their_n": theirs.n,
        "margin": margin,
    }


def _verdicts(table: pd.DataFrame) -> np.ndarray:
    differs, agrees = (table[name] < 1 - LEVEL for name in ("p_holm", "p_equal_holm"))
    return np.select([table["p"].isna(), differs, agrees], [NO_TEST, DIFFERS, AGREES], OPEN)


def _matched(groups: Sequence[Group], naming: Naming, published: Published) -> Iterator[Found]:
    """Yield each published number with each group that it is about, in the order of the file."""
    by_labels: dict[tuple[str, str, str, str], list[Group]] = {}
    for group in groups:
        for labels in _labels_of(group, naming, published):
            by_labels.setdefault((*labels, group.metric), []).append(group)
    for theirs in published.scores:
        labels = theirs.model, theirs.method, theirs.dataset
        for metric in _metrics_here(theirs.task, published):
            if own := by_labels.get((*labels, metric)):
                yield from ((theirs, group) for group in own)
                break


def _metrics_here(task: str, published: Published) -> list[str]:
    """Return what a published task may be called here."""
    ours = [own for own, theirs in published.same.items() if theirs == task]
    return [metric for name in (*ours, task) for metric in metrics_of(name)]


def _labels_of(group: Group, naming: Naming, published: Published) -> set[tuple[str, str, str]]:
    """Return their labels of a group: of its whole names, and of those without settings."""
    names = naming.of(group)
    models = {published.label(name) for name in (names.model, group.model)}
    methods = {published.label(name) for name in (names.method, names.bare_method, group.method)}
    datasets = {published.label(name) for name in (names.dataset or "", group.dataset or "")}
    return {(m, k, d) for m in models for k in methods for d in datasets}


def unmatched(
    groups: Sequence[Group], naming: Naming, published: Published, table: pd.DataFrame
) -> Unmatched:
    """Say which published numbers have no cells here, by the labels that nothing here has."""
    seen = set(map(tuple, table[THEIRS].to_numpy()))
    own = [labels for group in groups for labels in _labels_of(group, naming, published)]
    here = {role: sorted({labels[i] for labels in own} - {""}) for i, role in enumerate(NAMES[:3])}
    num = 0
    labels: dict[str, dict[str, None]] = {role: {} for role in here}
    for score in published.scores:
        theirs = score.model, score.method, score.dataset
        num += (*theirs, score.task) not in seen
        for role, label in zip(here, theirs, strict=True):
            if label and label not in here[role]:
                labels[role][label] = None
    return Unmatched(num, len(published.scores), {k: list(v) for k, v in labels.items()}, here)
