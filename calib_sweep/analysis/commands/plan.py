"""The verb `plan`: which datasets x seeds x items to run next, for the difference of two methods.

    plan FOLDER --budget 40 [--target 0.3] [--contrast A,B] [--metric NAME] [--model NAME]
         [--datasets MOST] [analysis.power=0.9]

`--budget` counts cells, of both methods, those of the pilot included. `--target` is the half-width
of the 95 % interval, in points or per cent of perplexity. `inference.design` has the formulas. A
width is told so that it is not exceeded with probability `analysis.power`.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from calib_sweep.analysis import formatting
from calib_sweep.analysis.commands.pilot import Contrast, find_contrast
from calib_sweep.analysis.commands.plan_arguments import Asked, read_arguments
from calib_sweep.analysis.inference.design import Design, Planner, designs_of
from calib_sweep.console import output
from calib_sweep.wording import counted

SHOWN_DATASETS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50)
MAX_SEEDS = 1000
NO_DRAWS = "nothing can be planned: a pilot of three seeds or more can."


def main(arguments: Sequence[str]) -> int:
    """Print the plan, return the exit code."""
    asked = read_arguments(arguments)
    contrast = find_contrast(asked)
    planner = Planner(contrast.pilot, power=asked.settings.power, **asked.settings.resampling)
    output(Group(*_parts(asked, contrast, planner)))
    return 0


def _parts(asked: Asked, contrast: Contrast, planner: Planner) -> Iterator[Text | Table]:
    yield Text(f"Plan for {_about(contrast)}", style="bold")
    yield from map(Text, _what_is_known(asked, contrast))
    if asked.budget is not None:
        yield from _bought(asked, contrast, planner, asked.budget)
    if asked.target is not None:
        yield from map(Text, _cost(asked, contrast, planner, asked.target))
    yield _one_more(contrast, planner)


def _about(contrast: Contrast) -> str:
    word = contrast.known.headline_words(contrast.metric)
    return f"{contrast.methods[0]} against {contrast.methods[1]} in {word}, {contrast.model}"


def _what_is_known(asked: Asked, contrast: Contrast) -> Iterator[str]:
    pilot = contrast.pilot
    yield f"These two: {contrast.why}."
    few = "one seed of each" if pilot.num_draws <= 1 else "too few seeds"
    draws = f"not known, {few}" if math.isnan(pilot.draw_df) else _width(contrast, pilot.draw_sd)
    between = pilot.dataset_sd if pilot.num_datasets > 1 else math.nan
    datasets = "not known" if math.isnan(between) else _width(contrast, between)
    yield (
        f"The pilot: {counted(pilot.num_datasets, 'dataset')} x {pilot.num_draws:.3g} seeds, "
        f"{counted(contrast.num_cells, 'cell')}. SD of their difference between draws {draws}, "
        f"between datasets {datasets}."
    )
    yield (
        f"Widths are half of the 95 % interval of this pair by itself, not exceeded with "
        f"{100 * asked.settings.power:.0f} % probability, given what the pilot leaves open."
    )
    if math.isnan(pilot.item_variance):
        yield "What other test items add is not known: the cells have no list of the same items."


def _bought(
    asked: Asked, contrast: Contrast, planner: Planner, budget: int
) -> Iterator[Text | Table]:
    """Show what the budget buys, by the number of datasets, and name the narrowest."""
    pairs = budget // contrast.cells_per_pair
    designs = designs_of(pairs, asked.most_datasets)
    best = min(designs, key=lambda one: _known(planner.for_new(one)))
    own = Design(contrast.pilot.num_datasets, pairs // contrast.pilot.num_datasets)
    shown = {*SHOWN_DATASETS, best.num_datasets, own.num_datasets}
    yield _table(
        f"What {counted(budget, 'cell')} buy{_in_unit(contrast)}",
        contrast,
        planner,
        [one for one in designs if one.num_datasets in shown],
    )
    if math.isnan(planner.on_these(own)):
        yield Text(f"On the datasets of the pilot {NO_DRAWS}")
    elif own.num_draws > 0 and math.isfinite(planner.on_these(own)):
        yield Text(
            f"On the {counted(own.num_datasets, 'dataset')} of the pilot: "
            f"{_design(own)}, ±{_width(contrast, planner.on_these(own))}."
        )
    if math.isfinite(_known(planner.for_new(best))):
        yield Text(
            f"For a new dataset the narrowest: {_design(best)}, "
            f"±{_width(contrast, planner.for_new(best))}; of at most {asked.most_datasets} "
            "(--datasets)."
        )
    else:
        yield Text(f"For a new dataset {_why_not_new(contrast)}")


def _why_not_new(contrast: Contrast) -> str:
    if contrast.pilot.num_datasets < 2:
        return "nothing can be planned: a pilot of two datasets or more can."
    if math.isnan(contrast.pilot.draw_df):
        return NO_DRAWS
    return "nothing can be said: it takes two datasets or more."


def _cost(asked: Asked, contrast: Contrast, planner: Planner, target: float) -> Iterator[str]:
    """Say the fewest cells that reach the target, for both populations."""
    goal = _on_scale(contrast, target)
    num_D = contrast.pilot.num_datasets
    these = _fewest(planner.on_these, goal, range(num_D, num_D + 1))
    new = _fewest(planner.for_new, goal, range(2, asked.most_datasets + 1))
    told = [
        (
            f"on the {counted(num_D, 'dataset')} of the pilot",
            these,
            NO_DRAWS
            if math.isnan(contrast.pilot.draw_df)
            else f"up to {MAX_SEEDS:,} seeds do not.",
        ),
        (
            "for a new dataset",
            new,
            f"up to {asked.most_datasets} datasets and {MAX_SEEDS:,} seeds do not."
            if num_D > 1 and not math.isnan(contrast.pilot.draw_df)
            else _why_not_new(contrast),
        ),
    ]
    for where, design, why in told:
        head = f"To be within ±{_width(contrast, goal)} {where}"
        if design is None:
            yield f"{head}: {why}"
        else:
            cells = _cells(contrast, design)
            yield f"{head}: {_design(design)}, {counted(cells, 'cell')}{_time(contrast, cells)}."


def _fewest(width: Callable[[Design], float], goal: float, datasets: range) -> Design | None:
    """Return the design of the fewest pairs whose width is at most `goal`."""
    found: list[Design] = []
    for num_D in datasets:
        if _known(width(Design(num_D, 1))) <= goal:
            found.append(Design(num_D, 1))
            continue
        low, high = 1, MAX_SEEDS + 1  # the width falls with the seeds
        while high - low > 1:
            middle = (low + high) // 2
            is_enough = _known(width(Design(num_D, middle))) <= goal
            low, high = (low, middle) if is_enough else (middle, high)
        if high <= MAX_SEEDS:
            found.append(Design(num_D, high))
    return min(found, key=lambda one: one.num_datasets * one.num_draws, default=None)


def _one_more(contrast: Contrast, planner: Planner) -> Table:
    """Show how much narrower one more dataset, seed or task makes the intervals."""
    pilot = contrast.pilot
    num_D, num_n, num_T = pilot.num_datasets, max(1, round(pilot.num_draws)), pilot.num_tasks
    now = Design(num_D, num_n, num_T)
    rows = [
        ("the pilot", now),
        ("one dataset more", Design(num_D + 1, num_n, num_T)),
        ("one seed more of each", Design(num_D, num_n + 1, num_T)),
    ]
    if not math.isnan(pilot.item_variance):
        rows.append(("one task more", Design(num_D, num_n, num_T + 1)))
    title = f"What one more is worth{_in_unit(contrast)}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("cells", justify="right", no_wrap=True)
    for heading in _headings(contrast):
        table.add_column(heading, justify="right", no_wrap=True)
    before = _widths(contrast, planner, now)
    for name, design in rows:
        after = _widths(contrast, planner, design)
        told = [
            _shown(contrast, new) + (_narrower(old, new) if design != now else "")
            for old, new in zip(before, after, strict=True)
        ]
        more = _cells(contrast, design) - _cells(contrast, now)
        table.add_row(name, f"+{more}" if design != now else str(_cells(contrast, now)), *told)
    return table


def _table(title: str, contrast: Contrast, planner: Planner, designs: Sequence[Design]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    has_time = math.isfinite(contrast.cell_s)
    for heading in ("datasets", "seeds", "cells", *(["time"] if has_time else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in _headings(contrast):
        table.add_column(heading, justify="right", no_wrap=True)
    for design in designs:
        cells = _cells(contrast, design)
        times = [formatting.duration(cells * contrast.cell_s)] if has_time else []
        numbers = [str(design.num_datasets), str(design.num_draws), str(cells), *times]
        widths = [_shown(contrast, one) for one in _widths(contrast, planner, design)]
        table.add_row(*numbers, *widths)
    return table


def _headings(contrast: Contrast) -> list[str]:
    has_items = not math.isnan(contrast.pilot.item_variance)
    items = ["and new\nitems"] if has_items else []
    return ["on its\ndatasets", *items, "for a new\ndataset", *items]


def _widths(contrast: Contrast, planner: Planner, design: Design) -> list[float]:
    """Return the half-widths of the headings."""
    widths = [planner.on_these(design), planner.for_new(design)]
    if math.isnan(contrast.pilot.item_variance):
        return widths
    return [one for width in widths for one in (width, planner.with_items(width, design))]


def _shown(contrast: Contrast, width: float) -> str:
    return f"±{_number(contrast, width)}" if math.isfinite(width) else "-"


def _narrower(old: float, new: float) -> str:
    if not (math.isfinite(old) and math.isfinite(new) and old > 0):
        return ""
    share = 100 * (1 - new / old)
    return f" (-{share:.0f} %)" if share >= 0.5 else ""


def _width(contrast: Contrast, width: float) -> str:
    """Return a half-width with its unit: points, per cent of a perplexity."""
    return f"{_number(contrast, width)} {_unit(contrast)}".rstrip()


def _number(contrast: Contrast, width: float) -> str:
    """Return a half-width as it is shown, to two digits."""
    kind = contrast.known.of(contrast.metric)
    shown = 100 * math.expm1(min(width, 50.0)) if kind.is_logged else kind.times * width
    digits = 1 - math.floor(math.log10(shown)) if shown > 0 else 0
    return f"{shown:.{min(max(digits, 0), 6)}f}"


def _in_unit(contrast: Contrast) -> str:
    return f", in {_unit(contrast)}" if _unit(contrast) else ""


def _unit(contrast: Contrast) -> str:
    return formatting.unit(contrast.metric, contrast.known)


def _on_scale(contrast: Contrast, target: float) -> float:
    """Return a typed half-width on the scale of the analysis."""
    kind = contrast.known.of(contrast.metric)
    return math.log1p(target / 100) if kind.is_logged else target / kind.times


def _known(width: float) -> float:
    return math.inf if math.isnan(width) else width


def _cells(contrast: Contrast, design: Design) -> int:
    return contrast.cells_per_pair * design.num_datasets * design.num_draws


def _design(design: Design) -> str:
    return f"{counted(design.num_datasets, 'dataset')} x {counted(design.num_draws, 'seed')}"


def _time(contrast: Contrast, cells: int) -> str:
    if not math.isfinite(contrast.cell_s):
        return ""
    return f", {formatting.duration(cells * contrast.cell_s)}"
