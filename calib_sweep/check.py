"""Check every part of every cell before the first weight is read; report all problems at once."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calib_sweep.cell import Cell, digest
from calib_sweep.errors import ConfigError, Problems, collected, require
from calib_sweep.fit import (
    check_apart,
    check_fit,
    check_model,
    check_packing,
    check_tokens,
    context_length,
)
from calib_sweep.results.store import MODEL_FORMS
from calib_sweep.targets import check_targets

# A part is built once per distinct configuration, however many cells share it.
_parts: dict[str, Any] = {}


def build(key: str, node: Mapping[str, Any]) -> Any:
    """Instantiate the part at `key` of the configuration, once; `ConfigError` names the key."""
    address = f"{key}:{digest(node)}"
    if address not in _parts:
        _parts[address] = _instantiate(key, node)
    return _parts[address]


def _instantiate(key: str, node: Mapping[str, Any]) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate
    from omegaconf.errors import MissingMandatoryValue

    check_targets(key, node)
    try:
        return instantiate(dict(node), _convert_="all")
    except MissingMandatoryValue as error:
        lacking = f"{key}.{error.full_key}"
        raise ConfigError(f"{lacking} is missing: type {lacking}=VALUE.") from None
    except InstantiationException as error:
        with collected() as problems:  # Hydra stops at the first part that cannot be built
            for name, part in node.items():
                if isinstance(part, Mapping) and "_target_" in part:
                    problems.of(_instantiate, f"{key}.{name}", part)
        raise _explained(key, error) from None


def _explained(key: str, error: Exception) -> ConfigError:
    """The `ConfigError` behind what Hydra raised, or one that says what it was."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return cause
        cause = cause.__cause__
    return ConfigError(f"{key}: cannot be built: {' '.join(str(error).split())}")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of one cell, built and checked one by one."""

    model: Any
    method: Any
    dataset: Any | None
    evaluation: Any
    calibration: Any | None
    walk: Any
    tracking: Any
    seed: int | None

    def draw(self, results_dir: Path, tokenizer: Any) -> Any:
        """The calibration set of the cell, shared by every method; None if none is needed."""
        if self.dataset is None:
            return None
        from calib_sweep.dataset.artifact import draw_or_load

        assert self.calibration is not None and self.seed is not None
        drawn = draw_or_load(results_dir, self.dataset, tokenizer, self.calibration, self.seed)
        check_tokens(self, drawn)
        return drawn


def build_parts(cell: Cell) -> Parts:
    """Build every part of `cell`; `ConfigError` reports the problems of all parts together."""
    with collected() as problems:
        parts = _build_parts(cell, problems)
    return parts


def _build_parts(cell: Cell, problems: Problems) -> Parts:
    """Build every part of `cell`; one that cannot be built is None, its problem is kept."""
    config = cell.config
    targets = {
        "calibration": "calib_sweep.dataset.calibration.Calibration",
        "walk": "calib_sweep.walk.Walk",
    }
    nodes = {key: config[key] for key in ("model", "method", "evaluation", "tracking")}
    nodes |= {key: {"_target_": target, **config[key]} for key, target in targets.items()}
    if cell.needs_data:
        nodes["dataset"] = config["dataset"]
    else:
        del nodes["calibration"]
    parts = {key: problems.of(build, key, node) for key, node in nodes.items()}
    analysis = "calib_sweep.analysis.settings.AnalysisSettings"
    problems.of(build, "analysis", {"_target_": analysis, **config["analysis"]})
    problems.of(_check_plain_values, config)
    return Parts(**{"dataset": None, "calibration": None, "seed": cell.seed, **parts})


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_folder_name(value: object) -> bool:
    reserved = ("", ".", "..", "calibration")
    return isinstance(value, str) and value not in reserved and not set("/\\") & set(value)


# key: (is it acceptable?, what is, what to type)
PLAIN_VALUES: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "seed": (
        lambda v: _is_int(v, 0),
        "an integer >= 0",
        "Type seed=0, or 'seed=range(5)' to sweep.",
    ),
    "replicate": (
        lambda v: _is_int(v, 0),
        "an integer >= 0",
        "Type replicate=0,1 to run every cell twice.",
    ),
    "ranks_per_cell": (
        lambda v: v == 1,
        "1 (several ranks that share one cell are not supported yet)",
        "Leave ranks_per_cell=1: every process takes cells of its own.",
    ),
    "num_threads": (
        lambda v: v is None or _is_int(v, 1),
        "null or an integer >= 1",
        "Type num_threads=1 when several workers share the processor.",
    ),
    "dense_perplexity": (
        lambda v: isinstance(v, bool),
        "true or false",
        "Type dense_perplexity=false to spare a forward pass of each calibration set.",
    ),
    "save_model": (
        lambda v: v in (None, *MODEL_FORMS),
        f"null, {' or '.join(MODEL_FORMS)}",
        "Type save_model=dense to keep the compressed models.",
    ),
    "results_dir": (
        lambda v: isinstance(v, str) and v != "",
        "a folder",
        "Type results_dir=results.",
    ),
    "sweep_name": (
        _is_folder_name,
        "a folder name without '/' (and not 'calibration', which holds the calibration sets)",
        "Type sweep_name=my_sweep.",
    ),
}


def _check_plain_values(config: Mapping[str, Any]) -> None:
    with collected() as problems:
        for key, (accepts, expected, remedy) in PLAIN_VALUES.items():
            problems.of(require, accepts(config[key]), key, config[key], expected, remedy)


def check_cells(cells: Sequence[Cell], *, draw: Callable[[Cell, Parts], Any]) -> list[str]:
    """Validate all `cells`; `ConfigError` holds every problem of the grid, each once.

    Loads no weights. `draw(cell, parts)` is called for the calibration set with the largest seed
    of each source: it exists only if all before it do. Returns notes: what could not be checked
    because it is not on this machine.
    """
    notes: dict[str, None] = {}
    with collected(notes) as problems:
        parts = {cell.id: _build_parts(cell, problems) for cell in cells}
        _check_models(cells, parts, problems)
        _check_evaluations(cells, parts, problems)
        draw = check_pool if problems.errors else draw  # what is refused leaves nothing behind
        for cell in _largest_seeds(cells):
            _check_draw(cell, parts[cell.id], draw, problems)
    return list(notes)


def build_problems(cells: Iterable[Cell]) -> list[str]:
    """What is wrong with the values of `cells`, without a look at any file."""
    problems = Problems()
    for cell in cells:
        _build_parts(cell, problems)
    return list(ConfigError.merge(problems.errors).problems)


def _check_models(cells: Sequence[Cell], parts: Mapping[str, Parts], problems: Problems) -> None:
    for cell in _one_of_each_model(cells):
        check_model(parts[cell.id], problems)
    for cell in _distinct(cells, ("model", "method", "calibration", "walk")):
        check_fit(parts[cell.id], problems)
    packed = [cell for cell in cells if cell.config["save_model"] == "compressed-tensors"]
    for cell in _distinct(packed, ("model", "method")):
        check_packing(parts[cell.id], problems)


def _check_evaluations(
    cells: Sequence[Cell], parts: Mapping[str, Parts], problems: Problems
) -> None:
    for cell in _distinct(cells, ("model", "evaluation")):
        _check_evaluation(cell, parts[cell.id], problems)
    for cell in _distinct(cells, ("dataset", "evaluation")):
        if not problems.errors:  # else files may be missing, and that is told already
            check_apart(parts[cell.id], problems)


def _check_evaluation(cell: Cell, parts: Parts, problems: Problems) -> None:
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


def _check_draw(
    cell: Cell, parts: Parts, draw: Callable[[Cell, Parts], Any], problems: Problems
) -> None:
    if parts.dataset is None:
        return
    drawable = None not in (parts.model, parts.calibration) and _is_int(parts.seed, 0)
    if not drawable or problems.of(draw, cell, parts) is None:
        # Whatever else hindered it, files that are not there are told too.
        problems.of(parts.dataset.fingerprint)


def _distinct(cells: Iterable[Cell], keys: Sequence[str]) -> Iterator[Cell]:
    seen = set()
    for cell in cells:
        address = json.dumps([cell.config[key] for key in keys] + [cell.needs_data], sort_keys=True)
        if address not in seen:
            seen.add(address)
            yield cell


def _one_of_each_model(cells: Iterable[Cell]) -> Iterable[Cell]:
    """A cell of each model, of those that need data where there is one: more can be asked of it."""
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


def check_pool(_cell: Cell, parts: Parts) -> Any:
    """The set of the cell, not kept: drawn for the error that this may raise."""
    if parts.dataset is None:
        return None
    drawn = parts.dataset.draw(parts.model.load_tokenizer(), parts.calibration, parts.seed)
    check_tokens(parts, drawn)
    return drawn
