"""The parts of a cell: built from its configuration, each once, and checked one by one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calib_sweep.cell import Cell, digest
from calib_sweep.errors import ConfigError, Problems, collected, require
from calib_sweep.results.store import MODEL_FORMS
from calib_sweep.targets import check_targets
from calib_sweep.values import is_int

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
        from calib_sweep.dataset.calibration.artifact import draw_or_load

        assert self.calibration is not None and self.seed is not None
        drawn = draw_or_load(results_dir, self.dataset, tokenizer, self.calibration, self.seed)
        check_tokens(self, drawn)
        return drawn


def check_tokens(parts: Parts, drawn: Any) -> None:
    """Raise `ConfigError` where a calibration set holds tokens that the model does not know."""
    from calib_sweep.model.vocabulary import check_ids

    assert parts.dataset is not None
    num_embeddings = parts.model.num_embeddings()
    if num_embeddings is not None:
        check_ids(
            "dataset",
            parts.dataset.name,
            drawn.tokens_NT,
            num_embeddings,
            lambda row: f"document {drawn.samples[row].get('document')} (seed {parts.seed})",
        )


def build_parts(cell: Cell) -> Parts:
    """Build every part of `cell`; `ConfigError` reports the problems of all parts together."""
    with collected() as problems:
        parts = collect_parts(cell, problems)
    return parts


def collect_parts(cell: Cell, problems: Problems) -> Parts:
    """Build every part of `cell`; one that cannot be built is None, its problem is kept."""
    config = cell.config
    targets = {
        "calibration": "calib_sweep.dataset.calibration.settings.Calibration",
        "walk": "calib_sweep.compression.walk.Walk",
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


def _is_folder_name(value: object) -> bool:
    reserved = ("", ".", "..", "calibration")
    return isinstance(value, str) and value not in reserved and not set("/\\") & set(value)


# key: (is it acceptable?, what is, what to type)
PLAIN_VALUES: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "seed": (
        lambda v: is_int(v, 0),
        "an integer >= 0",
        "Type seed=0, or 'seed=range(5)' to sweep.",
    ),
    "replicate": (
        lambda v: is_int(v, 0),
        "an integer >= 0",
        "Type replicate=0,1 to run every cell twice.",
    ),
    "ranks_per_cell": (
        lambda v: v == 1,
        "1 (several ranks that share one cell are not supported yet)",
        "Leave ranks_per_cell=1: every process takes cells of its own.",
    ),
    "num_threads": (
        lambda v: v is None or is_int(v, 1),
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
