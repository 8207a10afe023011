"""The verb `gate`: is what compression costs within a limit, with confidence? For CI of models.

    gate FOLDER --loss 0.01 [--worst 0.05] [--confidence 0.95] [--method NAME] [--metric NAME]

The mean draw: the mean loss against dense, for other draws of these datasets and other items of the
same kind, is at most `--loss`. With `--worst` also: on each dataset `SHARE` of all draws lose at
most so much. `inference.loss_limits` has the bounds. Limits are shares of accuracy, and relative to
a perplexity: 0.01 is one point, and 1 %.

All that is asked about has to pass, so nothing is corrected for how much that is. Of models whose
loss is at the limit or beyond at most 1 - confidence pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, log1p

from calib_sweep.analysis import formatting
from calib_sweep.analysis.commands.gate_arguments import Asked, chosen, read_arguments
from calib_sweep.analysis.inference.loss_limits import at_limit, draws_bound, mean_bound
from calib_sweep.analysis.inference.paired_items import NO_PART, Part
from calib_sweep.analysis.metrics import Metrics
from calib_sweep.analysis.report.losses import about
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.items import read_items
from calib_sweep.analysis.scores.table import read_cells
from calib_sweep.analysis.settings import read_settings
from calib_sweep.analysis.tables.losses import ITEMS, LOST, ONE_DRAW, Loss, losses_of
from calib_sweep.console import output
from calib_sweep.wording import counted

SHARE = 0.95  # of all draws that a bound of the worst ones is for
WITHIN, NOT_WITHIN, UNKNOWN = 0, 4, 5  # exit codes; 1 is a mistake in what was typed
SAID = {WITHIN: "within", NOT_WITHIN: "NOT WITHIN", UNKNOWN: "UNKNOWN"}


@dataclass(frozen=True)
class Verdict:
    """One loss beside its limit; `code`: an exit code."""

    code: int
    text: str


def main(arguments: Sequence[str]) -> int:
    """Print each loss beside its limit, return the exit code."""
    asked = read_arguments(arguments)
    cells = read_cells(asked.folder)
    material = Material.of(asked.folder.resolve().name, cells, read_settings())
    told = list(material.warnings)
    items = read_items(asked.folder, cells, told.append)
    arrays = score_arrays(material.rows, known=material.known)
    methods, metrics = chosen(asked, arrays, material)
    found = {(one.model, one.method, one.cells.metric): one for one in losses_of(arrays, items)}
    verdicts: list[Verdict] = []
    for array in arrays:
        for names in array.methods:
            for metric in metrics if names.method in methods else ():
                of = f"{array.model}, " if len(arrays) > 1 else ""
                head = f"{of}{names.method}, {material.known.headline_words(metric)}"
                loss = found.get((array.model, names.method, metric))
                verdicts += verdicts_on(loss, metric, head, asked, material.known)
    output("\n".join([*told, *_lines(verdicts), *_not_counted(material)]))
    return code_of(verdicts)


def code_of(verdicts: Sequence[Verdict]) -> int:
    """Return the exit code of all together."""
    codes = {verdict.code for verdict in verdicts}
    return next((code for code in (NOT_WITHIN, UNKNOWN) if code in codes), WITHIN)


def verdicts_on(
    loss: Loss | None, metric: str, head: str, asked: Asked, known: Metrics
) -> Iterator[Verdict]:
    """Judge the mean draw and, where it is asked for, the worst ones; `head`: of whom."""
    if loss is None:
        nothing = "has no score, or the dense model has none (method=dense)"
        yield Verdict(UNKNOWN, f"{head}: {nothing}")
    elif loss.reason == LOST:
        yield Verdict(NOT_WITHIN, f"{head}: {LOST}")
    elif loss.part is None or loss.population == ONE_DRAW:
        few = "too few draws: three of a dataset, or one of each of three datasets"
        yield Verdict(UNKNOWN, f"{head}: {few}")
    else:
        yield _of_mean(loss, loss.part, head, asked, known)
        if asked.worst is not None and loss.population != ITEMS:
            yield _of_worst(loss, asked.worst, head, asked, known)


def _of_mean(loss: Loss, part: Part, head: str, asked: Asked, known: Metrics) -> Verdict:
    metric, sign = loss.cells.metric, -known.of(loss.cells.metric).direction
    limit = _scaled(asked.loss, metric, known)
    bound = mean_bound(sign * loss.estimate, _not_below(part, limit, loss), asked.confidence)
    least = sign * loss.estimate - mean_bound(0.0, part, asked.confidence)
    if part.variance == 0 and bound <= limit:
        still = "no spread over draws, and no list of items: other draws may lose more"
        return Verdict(UNKNOWN, f"{head}, mean draw: {still}")
    told = _told(sign * loss.estimate, bound, limit, least, metric, known)
    population = about(loss.population, len(set(loss.cells.dataset_C)))
    of = "" if loss.population == ITEMS else ", mean draw"
    text = f"{head}{of}: {told}, {population}"
    return Verdict(WITHIN if bound <= limit else NOT_WITHIN, text)


def _of_worst(loss: Loss, worst: float, head: str, asked: Asked, known: Metrics) -> Verdict:
    """Judge the draws of the dataset whose bound is the worst."""
    metric, sign = loss.cells.metric, -known.of(loss.cells.metric).direction
    limit = _scaled(worst, metric, known)
    bounds: dict[str, float] = {}
    for dataset, difference_S in loss.cells.by_dataset().items():
        items = NO_PART if loss.on is None else loss.on.by_dataset[dataset]
        items = items if loss.on is None else _not_below(items, limit, loss)
        bounds[dataset] = draws_bound(sign * difference_S, items, SHARE, asked.confidence)
    head = f"{head}, {100 * SHARE:g} % of draws"
    unknown = [dataset for dataset, bound in bounds.items() if not isfinite(bound)]
    if unknown:
        return Verdict(UNKNOWN, f"{head}: fewer than three draws of {formatting.listed(unknown)}")
    dataset = max(bounds, key=lambda name: bounds[name])
    seen = max(float((sign * own).max()) for own in loss.cells.by_dataset().values())
    told = _told(seen, bounds[dataset], limit, seen, metric, known, what="the worst seen lost")
    code = WITHIN if bounds[dataset] <= limit else NOT_WITHIN
    return Verdict(code, f"{head}: {told}" + (f", on {dataset}" if len(bounds) > 1 else ""))


def _not_below(part: Part, limit: float, loss: Loss) -> Part:
    """Trust no variance of right answers below that of losing as much as the limit."""
    if loss.on is None or not loss.on.are_right_or_wrong:
        return part
    return at_limit(part, limit, loss.on.num_alone)


def _scaled(limit: float, metric: str, known: Metrics) -> float:
    """Return a typed limit on the scale of the analysis."""
    return log1p(limit) if known.of(metric).is_logged else limit


def _told(
    loss: float,
    bound: float,
    limit: float,
    least: float,
    metric: str,
    known: Metrics,
    what: str = "loses",
) -> str:
    """Say a loss, its bound, and its limit: in points, or as ratios of perplexities."""
    ends = [formatting.difference(metric, value, known) for value in (loss, bound, limit)]
    digits = formatting.difference_decimals([ends[1] - ends[0]])
    seen, most, allowed = (formatting.number(end, digits) for end in ends)
    unit = "" if known.of(metric).is_logged else f" {formatting.unit(metric, known)}".rstrip()
    times = "x" if known.of(metric).is_logged else ""
    over = "; more than the limit already" if least > limit else ""
    return f"{what} {times}{seen}{unit}, at most {times}{most} (limit {times}{allowed}{over})"


def _lines(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Yield what was found, worst first, and the answer."""
    width = max(map(len, SAID.values()))
    order = (NOT_WITHIN, UNKNOWN, WITHIN)
    for verdict in sorted(verdicts, key=lambda one: order.index(one.code)):
        yield f"{SAID[verdict.code]:<{width}}  {verdict.text}"
    code = code_of(verdicts)
    num = sum(verdict.code == code for verdict in verdicts)
    yield f"gate: {SAID[code].lower()} ({num} of {counted(len(verdicts), 'answer')})"


def _not_counted(material: Material) -> Iterator[str]:
    """Tell of cells without scores: what they would have lost nobody knows."""
    lost = {row["cell_id"] for row in material.rows if row["metric"] is None}
    if lost:
        yield f"{counted(len(lost), 'cell')} without scores (failed or unfinished) did not count."
