"""Check every part of every cell before the first weight is read; report all problems at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from calib_sweep import valid_json
from calib_sweep.cell import Cell, digest
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.lengths import draw_set
from calib_sweep.dataset.documents.keeping import kept_in
from calib_sweep.errors import Problems, collected
from calib_sweep.parts.building import Builder
from calib_sweep.parts.interfaces import PartialParts
from calib_sweep.settings import PREPARATIONS
from calib_sweep.sweep.compatibility import (
    check_alone,
    check_apart,
    check_fit,
    check_model,
    check_packing,
    check_savable,
    check_saving,
    context_length,
)
from calib_sweep.values import is_int

Draw = Callable[[Cell, PartialParts], CalibrationSet | None]
Look = Callable[[Cell, PartialParts, CalibrationSet], None]


def check_cells(
    builder: Builder, cells: Sequence[Cell], *, draw: Draw, notes: dict[str, None] | None = None
) -> list[str]:
    """Validate all `cells`; `ConfigError` holds every problem of the grid, each once.

    Loads no weights. `draw(cell, parts)` is called for the calibration set with the largest seed
    of each source: it exists only if all before it do. What the model draws is not drawn. Returns
    notes: what could not be checked because it is not on this machine. They are added to `notes`,
    also where problems are raised.
    """
    notes = {} if notes is None else notes
    with collected(notes) as problems:
        parts = {cell.id: builder.partial_parts(cell, problems) for cell in cells}
        for cell in cells:
            builder.check_beside(cell, problems)
        _check_models(cells, parts, problems)
        _check_evaluations(cells, parts, problems)
        draw = check_pool if problems.errors else draw  # what is refused leaves nothing behind
        for cell in _largest_seeds(cells):
            _check_draw(cell, parts[cell.id], draw, problems)
    return list(notes)


def build_problems(cells: Iterable[Cell]) -> list[str]:
    """Return what is wrong with the values of `cells`, without a look at any file."""
    builder, problems = Builder(), Problems()
    for cell in cells:
        builder.partial_parts(cell, problems)
        builder.check_beside(cell, problems)
    return problems.texts


def _check_models(
    cells: Sequence[Cell], parts: Mapping[str, PartialParts], problems: Problems
) -> None:
    for cell in _one_of_each_model(cells):
        check_model(parts[cell.id], problems)
    for cell in _distinct(cells, ("model", "method", *PREPARATIONS, "calibration", "walk")):
        check_fit(parts[cell.id], problems)
    for cell in _distinct(cells, ("method", "checkpoint", "ranks_per_cell")):
        problems.of(check_alone, parts[cell.id], cell.config)
    saved = [cell for cell in cells if cell.config["save_model"] is not None]
    for cell in _distinct(saved, ("activations",)):
        if parts[cell.id].activations is not None:
            problems.of(check_savable, cell.config["save_model"])
    for cell in _distinct(saved, ("model", "method")):
        problems.of(check_saving, parts[cell.id])
    packed = [cell for cell in cells if cell.config["save_model"] == "compressed-tensors"]
    for cell in _distinct(packed, ("model", "method")):
        check_packing(parts[cell.id], problems)


def _check_evaluations(
    cells: Sequence[Cell], parts: Mapping[str, PartialParts], problems: Problems
) -> None:
    for cell in _distinct(cells, ("model", "evaluation")):
        _check_evaluation(cell, parts[cell.id], problems)
    for cell in _distinct(cells, ("dataset", "evaluation", "allow_overlap")):
        # Else files may be missing, and that is told already.
        if not problems.errors and not cell.config["allow_overlap"]:
            check_apart(parts[cell.id], problems)


def _check_evaluation(cell: Cell, parts: PartialParts, problems: Problems) -> None:
    if parts.evaluation is None:
        return
    num_before = len(problems.errors)
    problems.of(parts.evaluation.check, context_length(parts, problems))
    # What the dense cell could score, every other one can.
    if cell.is_dense and parts.model is not None and len(problems.errors) == num_before:
        tokenizer = problems.of(parts.model.load_tokenizer)
        if tokenizer is not None:
            num_embeddings = problems.of(parts.model.num_embeddings)
            parts.evaluation.check_text(tokenizer, num_embeddings, problems)


def _check_draw(cell: Cell, parts: PartialParts, draw: Draw, problems: Problems) -> None:
    if parts.dataset is None:
        return
    drawable = None not in (parts.model, parts.calibration) and is_int(parts.seed, 0)
    if parts.dataset.needs_model:  # no weights are read here
        if drawable:
            problems.of(_check_without_model, parts)
        problems.of(parts.dataset.prefetch)
        return
    if not drawable or problems.of(draw, cell, parts) is None:
        # Whatever else hindered it, files that are not to be had are told too.
        problems.of(parts.dataset.prefetch)


def _check_without_model(parts: PartialParts) -> None:
    assert parts.dataset is not None and parts.model is not None
    assert parts.calibration is not None and parts.seed is not None
    from calib_sweep.dataset.calibration.weighting import require_answers

    dataset, weighting = parts.dataset, parts.calibration.weighting
    with collected() as problems:
        problems.of(require_answers, dataset.name, dataset.tells_answers, weighting)
        problems.of(dataset.check, parts.model.load_tokenizer(), parts.calibration, parts.seed)


def _distinct(cells: Iterable[Cell], keys: Sequence[str]) -> Iterator[Cell]:
    seen = set()
    for cell in cells:
        address = valid_json.dumps(
            [cell.config.get(key) for key in keys] + [cell.needs_data], sort_keys=True
        )
        if address not in seen:
            seen.add(address)
            yield cell


def _one_of_each_model(cells: Iterable[Cell]) -> Iterable[Cell]:
    """Return a cell of each model; one that needs data, if any, as it is checked for more."""
    ordered = sorted(cells, key=lambda cell: cell.needs_data)
    return {digest(cell.config["model"]): cell for cell in ordered}.values()


def _largest_seeds(cells: Iterable[Cell]) -> list[Cell]:
    """Per source and settings the cell with the largest seed: its set needs all before it."""
    largest: dict[str, Cell] = {}
    for cell in (cell for cell in cells if cell.needs_data):
        address = digest([cell.config[key] for key in ("model", "dataset", "calibration")])
        if address not in largest or _rank(cell.seed) > _rank(largest[address].seed):
            largest[address] = cell
    return list(largest.values())


def _rank(seed: object) -> int:
    return seed if isinstance(seed, int) else -1


class Pools:
    """What was drawn from, in words: a line for each pool."""

    def __init__(self) -> None:
        self.lines: dict[str, None] = {}

    def look(self, _cell: Cell, _parts: PartialParts, drawn: CalibrationSet) -> None:
        """Remember the pools of a set."""
        from calib_sweep.dataset.calibration.pool import describe_pools

        told = describe_pools(drawn.card).items()
        self.lines |= dict.fromkeys(f"pool of {name}: {text}" for name, text in told)


def check_pool(
    cell: Cell,
    parts: PartialParts,
    looks: Sequence[Look] = (),
    results_dir: Path | None = None,
) -> CalibrationSet | None:
    """Draw the set of the cell, not kept: for the error that this may raise, and for `looks`.

    What it tokenises for that is kept in `results_dir` if there is one already.
    """
    if parts.dataset is None:
        return None
    assert not parts.dataset.needs_model
    assert parts.model is not None and parts.calibration is not None and parts.seed is not None
    tokenizer = parts.model.load_tokenizer()
    has_place = results_dir is not None and results_dir.is_dir()
    with kept_in(results_dir if has_place else None):
        drawn = draw_set(parts.dataset, tokenizer, parts.calibration, parts.seed)
    parts.check_tokens(drawn)
    for look in looks:
        look(cell, parts, drawn)
    return drawn
