"""Build the parts of a cell from its configuration: each once, and checked one by one."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from calib_sweep.cell import Cell, Config, digest
from calib_sweep.dataset.calibration.settings import sized
from calib_sweep.errors import ConfigError, Problems, collected, require
from calib_sweep.interruption import raise_if_told
from calib_sweep.parts.interfaces import Evaluation, Model, PartialParts, Parts, Tracking
from calib_sweep.parts.plain_values import check_plain_values
from calib_sweep.settings import PREPARATIONS
from calib_sweep.targets import check_targets, target_classes, target_names

if TYPE_CHECKING:
    from calib_sweep.activations.base import Activations
    from calib_sweep.dataset.base import Dataset
    from calib_sweep.method.base import Method
    from calib_sweep.rotation.settings import Rotation


SELECTED = "calib_sweep.dataset.selected.Selected"
OURS = "calib_sweep"  # what changes in our own code is for NUMBERS_VERSION to say
WITH_CODE = (
    "model",
    "dataset",
    "evaluation",
    "method",
    "activations",
)  # parts whose classes may be a user's own


class Builder:
    """Builds each part once per distinct configuration, however many cells share it.

    A sweep has one, and so has each worker process: one that is pickled arrives empty.
    """

    def __init__(self) -> None:
        self._parts: dict[str, object] = {}
        self._sources: dict[str, str | None] = {}
        self._codes: dict[str, str | None] = {}

    def __reduce__(self) -> tuple[type["Builder"], tuple[()]]:
        return Builder, ()

    @overload
    def build(self, key: Literal["model"], node: Config) -> Model: ...
    @overload
    def build(self, key: Literal["method"], node: Config) -> "Method": ...
    @overload
    def build(self, key: Literal["rotation"], node: Config) -> "Rotation": ...
    @overload
    def build(self, key: Literal["activations"], node: Config) -> "Activations": ...
    @overload
    def build(self, key: Literal["dataset"], node: Config) -> "Dataset": ...
    @overload
    def build(self, key: Literal["evaluation"], node: Config) -> Evaluation: ...
    @overload
    def build(self, key: Literal["tracking"], node: Config) -> Tracking: ...
    @overload
    def build(self, key: str, node: Config) -> Any: ...

    def build(self, key: str, node: Config) -> Any:
        """Instantiate the part at `key` of the configuration; `ConfigError` names the key."""
        address = f"{key}:{digest(node)}"
        if address not in self._parts:
            self._parts[address] = ASSEMBLED.get(key, partial(_instantiate, key))(node)
        return self._parts[address]

    def parts(self, cell: Cell) -> Parts:
        """Build every part of `cell`; `ConfigError` reports the problems of all parts together."""
        with collected() as problems:
            parts = self.partial_parts(cell, problems)
        return Parts(**vars(parts))

    def partial_parts(self, cell: Cell, problems: Problems) -> PartialParts:
        """Build every part of `cell`; one that cannot be built is None, its problem is kept."""
        config = cell.config
        targets = {
            "calibration": "calib_sweep.dataset.calibration.settings.Calibration",
            "walk": "calib_sweep.compression.settings.Walk",
        }
        nodes = {key: config[key] for key in ("model", "method", "evaluation")}
        given = {"calibration": sized(config["calibration"]), "walk": config["walk"]}
        nodes |= {key: {"_target_": target, **given[key]} for key, target in targets.items()}
        if not cell.is_dense:
            chosen = [key for key in PREPARATIONS if config.get(key) is not None]
            nodes |= {key: config[key] for key in chosen}
        if cell.needs_data:
            nodes["dataset"] = config["dataset"]
        else:
            del nodes["calibration"]
        parts: dict[str, Any] = {
            key: problems.of(self.build, key, node) for key, node in nodes.items()
        }
        problems.of(check_plain_values, config)
        absent = dict.fromkeys((*PREPARATIONS, "dataset", "calibration"))
        parts = {**absent, "seed": cell.seed} | parts
        built = [key for key in WITH_CODE if parts.get(key) is not None]
        code = {key: self.code_of(key, config[key]) for key in built}
        return PartialParts(**parts, code={k: found for k, found in code.items() if found})

    def check_beside(self, cell: Cell, problems: Problems) -> None:
        """Build what a sweep has beside its cells: trackers, and the settings of its report.

        No part of a cell: it runs also on a machine where the library of a tracker is missing.
        """
        config, analysis = cell.config, "calib_sweep.analysis.settings.AnalysisSettings"
        problems.of(self.build, "tracking", config["tracking"])
        problems.of(self.build, "analysis", {"_target_": analysis, **config["analysis"]})

    def code_of(self, key: str, node: Config) -> str | None:
        """Hash the modules that define the classes of a part; None if all are ours."""
        address = f"{key}:{digest(node)}"
        if address not in self._codes:
            modules = {name for found in target_classes(key, node) for name in _own_modules(found)}
            found = [self.source_sha256(name) for name in sorted(modules)]
            text = "".join(source for source in found if source is not None)
            self._codes[address] = hashlib.sha256(text.encode()).hexdigest()[:32] if text else None
        return self._codes[address]

    def source_sha256(self, module: str) -> str | None:
        """Hash the file of an imported module as it is when first asked: it is the code that runs.

        None for a module without a file.
        """
        if module not in self._sources:
            file = getattr(sys.modules.get(module), "__file__", None)
            content = None if file is None else Path(file).read_bytes()
            self._sources[module] = None if content is None else hashlib.sha256(content).hexdigest()
        return self._sources[module]


def _own_modules(found: type) -> set[str]:
    """Return the modules of the package of the class that define it and its bases."""
    package = found.__module__.partition(".")[0]
    modules = {base.__module__ for base in found.__mro__}
    return {name for name in modules if name.partition(".")[0] == package != OURS}


def _dataset(node: Config) -> "Dataset":
    """Build a dataset; with `selector`, one that chooses from what the dataset draws."""
    selector = node.get("selector")
    if selector is None or node.get("_target_") == SELECTED:
        return _instantiate("dataset", {k: v for k, v in node.items() if v or k != "selector"})
    require(
        isinstance(selector, Mapping),
        "dataset.selector",
        selector,
        "the keys of a selector",
        "Choose one by its name: dataset/selector=NAME.",
    )
    with collected() as problems:
        own = {key: value for key, value in node.items() if key != "selector"}
        source = problems.of(_instantiate, "dataset", own)
        selector = problems.of(_instantiate, "dataset.selector", selector)
    from calib_sweep.dataset.selected import Selected

    return Selected(source=source, selector=selector)


def _trackers(node: Config) -> Tracking:
    """Build every tracker that is chosen; each is named by the key that has its settings."""
    from calib_sweep.tracking.base import Trackers

    with collected() as problems:
        for name, own in node.items():
            problems.of(
                require,
                isinstance(own, Mapping),
                f"tracking.{name}",
                own,
                "the keys of a tracker",
                "Choose trackers by their names: 'tracking=[wandb,tensorboard]', tracking=none.",
            )
    with collected() as problems:
        by_name = {
            name: problems.of(_instantiate, f"tracking.{name}", cast(Config, own))
            for name, own in node.items()
        }
    return Trackers(by_name=by_name)


# Parts that are made of several.
ASSEMBLED: dict[str, Callable[[Config], Any]] = {"dataset": _dataset, "tracking": _trackers}


def _instantiate_within(key: str, name: str, node: Config) -> Any:
    """Build a part of a part; a method tells its own keys as those of `method`, wherever it is."""
    try:
        return _instantiate(f"{key}.{name}", node)
    except ConfigError as error:
        own, here = "method.", f"method.{name}."
        told = (text if here in text else text.replace(own, here) for text in error.problems)
        raise (ConfigError(*told) if key == "method" else error) from None


def _instantiate(key: str, node: Config) -> Any:
    from hydra.utils import instantiate
    from omegaconf.errors import MissingMandatoryValue

    check_targets(key, node)
    try:
        with _calling_only(target_names(key, node)):
            return instantiate(dict(node), _convert_="all")
    except MissingMandatoryValue as error:
        lacking = f"{key}.{error.full_key}"
        raise ConfigError(
            f"{lacking} is missing: expected a value. Type {lacking}=VALUE."
        ) from None
    except Exception as error:  # Hydra 1.3 wraps what a class raises, 1.4 lets it through
        raise_if_told()
        with collected() as problems:  # Hydra stops at the first part that cannot be built
            for name, part in node.items():
                if isinstance(part, Mapping) and "_target_" in part:
                    problems.of(_instantiate_within, key, str(name), cast(Config, part))
        raise _explained(key, error) from None


def _calling_only(names: list[str]) -> AbstractContextManager[object]:
    """Have Hydra call what was checked and nothing else. Before 1.4 it cannot be told."""
    import hydra.utils

    limited = getattr(hydra.utils, "execution_whitelist", None)
    return nullcontext() if limited is None else limited(names)


def _explained(key: str, error: Exception) -> ConfigError:
    """Return the `ConfigError` behind what Hydra raised, or one that says what it was."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigError):
            return cause
        cause = cause.__cause__
    return ConfigError(f"{key}: cannot be built: {' '.join(str(error).split())}")
