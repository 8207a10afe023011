"""The verb `inspect`: draw the sets of a grid, describe them, show them and write a page.

    results_dir/SWEEP/inspection/    index.html  inspection.md  figures/*.{png,svg}

A set is drawn as a run would draw it and is kept for that run. Methods that share a set share what
is told of it. What is scored is looked at too, tasks of lm-eval included, as far as it is on this
machine.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.cell import Cell, digest
from calib_sweep.console import output
from calib_sweep.errors import UnavailableError
from calib_sweep.inspection.inspected import Held, Seen, inspect_sets
from calib_sweep.inspection.page import write_pages
from calib_sweep.inspection.perplexity import sample_perplexities_of
from calib_sweep.inspection.terminal import show
from calib_sweep.parts.building import Builder
from calib_sweep.parts.interfaces import PartialParts, Parts, PreparedEvaluation
from calib_sweep.places import INSPECTION
from calib_sweep.results.store import Store
from calib_sweep.session import Session
from calib_sweep.settings import title_of

if TYPE_CHECKING:
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet

log = logging.getLogger(__name__)

Draw = Callable[[Cell, PartialParts, Session], "CalibrationSet | None"]
OF_A_SET = ("dataset", "calibration")  # parts of the configuration whose settings name a set


def inspect_cells(builder: Builder, store: Store, cells: Sequence[Cell], draw: Draw) -> None:
    """Show the sets of `cells`; `draw` gives the set of one."""
    session = Session(builder)
    names = names_of(cells)
    sets: dict[str, CalibrationSet] = {}
    perplexities: dict[str, np.ndarray] = {}
    seen: dict[str, Seen] = {}
    held: dict[str, Held] = {}
    suites: dict[str, PreparedEvaluation | None] = {}
    for cell, name in zip(cells, names, strict=True):
        if name in sets:
            continue
        parts = builder.parts(cell)
        drawn = draw(cell, parts, session)
        if drawn is None:
            continue
        sets[name] = drawn
        found = sample_perplexities_of(drawn, cell, parts, session)
        if found is not None:
            perplexities[name] = found
        key = digest([cell.config["model"], cell.config["evaluation"]])
        if key not in suites:
            suites[key] = _scored(parts, session, store)
        if (suite := suites[key]) is not None:
            seen[name] = suite.overlap(drawn.tokens_NT, drawn.lengths_N)
            held[name] = _held(drawn, suite, seen[name])
    inspection = inspect_sets(sets, perplexities, seen, held)
    output(show(inspection))
    page, here = write_pages(inspection, store.folder / INSPECTION), Path.cwd()
    output(f"page: {page.relative_to(here) if page.is_relative_to(here) else page}")


def _held(drawn: "CalibrationSet", suite: PreparedEvaluation, seen: Seen) -> Held:
    """Name by sample the corpora and tasks that have most of it."""
    if not any(found["samples"] for found in seen.values()):
        return {}
    ends = drawn.lengths_N
    single = [
        suite.overlap(drawn.tokens_NT[k : k + 1], None if ends is None else ends[k : k + 1])
        for k in range(len(drawn.tokens_NT))
    ]
    names = [[name for name, one in found.items() if one["samples"]] for found in single]
    return {sample: own for sample, own in enumerate(names) if own}


def names_of(cells: Sequence[Cell]) -> list[str]:
    """Name the set of each cell: equal names, the same set.

    By dataset and seed; by the model where there are several, and by settings that tell apart.
    """
    models = {cell.model for cell in cells}

    def name(cell: Cell) -> str:
        axes: Mapping[str, object] = {"dataset": cell.dataset, "seed": cell.seed}
        own = {k: v for k, v in cell.settings.items() if k.split(".")[0] in OF_A_SET}
        return title_of(axes | ({"model": cell.model} if len(models) > 1 else {}), own, cell.shown)

    draws: dict[str, set[str]] = {}
    for cell in cells:
        draws.setdefault(name(cell), set()).add(_draw_of(cell))
    return [name(cell) if len(draws[name(cell)]) == 1 else cell.title for cell in cells]


def _draw_of(cell: Cell) -> str:
    return digest([cell.config[key] for key in ("model", *OF_A_SET, "seed")])


def _scored(parts: Parts, session: Session, store: Store) -> PreparedEvaluation | None:
    """Prepare what is scored; corpora and own tasks where the rest is not on this machine."""
    tokenizer = session.tokenizer(parts.model, parts.model.fingerprint())
    for evaluation in (parts.evaluation, parts.evaluation.of_check()):
        try:
            if evaluation is not None:
                return evaluation.prepare(tokenizer, store.results_dir)
        except UnavailableError as error:
            log.warning("not looked for in the sets: %s", error)
    return None
