"""Hold `_target_` to the classes that may stand there: parts of a cell, and nothing else.

Decided for a part and all within it before anything is called. Python's own library, which holds no
part, is not even imported.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from calib_sweep.errors import ConfigError, Problems, collected, require

TARGET, PARTIAL = "_target_", "_partial_"
TRACKS = ("log", "log_missing", "log_report")  # the methods of a tracker
OTHER_WORDS = ("_args_", "_convert_", "_recursive_")  # Hydra's; no part of ours needs them


@dataclass(frozen=True)
class Kind:
    """The kind of class that may stand at some place of the configuration."""

    expected: str
    example: str  # a file that shows one
    accepts: Callable[[type], bool]


def _derived_from(base: str, expected: str, example: str) -> Kind:
    return Kind(expected, example, lambda found: issubclass(found, find_class("", base)))


def _ours(name: str, example: str) -> Kind:
    return _derived_from(f"calib_sweep.{name}", f"calib_sweep.{name}", example)


METHOD = _derived_from(
    "calib_sweep.method.base.Method",
    "a class derived from one of calib_sweep.method.base, such as LayerMethod",
    "conf/method/wanda.yaml",
)
MODEL = _derived_from(
    "calib_sweep.model.loading.HubModel",
    "a model: calib_sweep.model.loading.HubModel, or a class derived from it",
    "conf/model/hf.yaml",
)
DATASET = _derived_from(
    "calib_sweep.dataset.base.Dataset",
    "a dataset: a class derived from one of calib_sweep.dataset.base",
    "conf/dataset/text.yaml",
)
SELECTOR = _derived_from(
    "calib_sweep.dataset.selector.base.Selector",
    "a selector: a class derived from calib_sweep.dataset.selector.base.Selector",
    "conf/dataset/selector/length.yaml",
)
CORPUS = _derived_from(
    "calib_sweep.dataset.base.TextDataset",
    "a dataset with documents: a class derived from calib_sweep.dataset.base.TextDataset",
    "conf/evaluation/miniature.yaml",
)
EVALUATION = _derived_from(
    "calib_sweep.evaluation.suite.Evaluation",
    "an evaluation: calib_sweep.evaluation.suite.Evaluation, or a class derived from it",
    "conf/evaluation/miniature.yaml",
)
ROTATION = _ours("rotation.settings.Rotation", "conf/rotation/hadamard.yaml")
ACTIVATIONS = _derived_from(
    "calib_sweep.activations.base.Activations",
    "a quantiser of inputs: a class derived from calib_sweep.activations.base.Activations",
    "conf/activations/int8.yaml",
)
TRACKING = Kind(
    f"a tracker: a class with the methods {' '.join(TRACKS)}",
    "conf/tracking/wandb.yaml",
    lambda found: all(callable(getattr(found, name, None)) for name in TRACKS),
)

# A place in the configuration -> what may stand there.
PLACES = {
    r"method(\..+)?": METHOD,
    r"dataset(\..+)?\.selector": SELECTOR,
    r"dataset(\..+)?": DATASET,
    "model": MODEL,
    "evaluation": EVALUATION,
    r"evaluation\.perplexity": _ours(
        "evaluation.corpora.perplexity.Perplexity", EVALUATION.example
    ),
    r"evaluation\.perplexity\.corpora\.\d+": CORPUS,
    r"evaluation\.zero_shot": _ours("evaluation.tasks.settings.ZeroShot", EVALUATION.example),
    r"evaluation\.divergence": _ours(
        "evaluation.corpora.divergence.Divergence", EVALUATION.example
    ),
    "rotation": ROTATION,
    "activations": ACTIVATIONS,
    r"tracking\.[^.]+": TRACKING,
    "calibration": _ours("dataset.calibration.settings.Calibration", "conf/config.yaml"),
    "walk": _ours("compression.settings.Walk", "conf/config.yaml"),
    "analysis": _ours("analysis.settings.AnalysisSettings", "conf/config.yaml"),
}


def check_targets(key: str, node: object) -> None:
    """Raise `ConfigError` unless every class named in `node`, at `key`, may stand where it does."""
    with collected() as problems:
        for place, part in _named(key, node):
            _check_words(place, part, problems)
            found = problems.of(target_class, place, part[TARGET]) if TARGET in part else None
            if found is not None:
                _check_keys(place, part, found, problems)


def target_classes(key: str, node: object) -> list[type]:
    """Return the classes that `node`, at `key`, names, itself and within."""
    return [target_class(place, p[TARGET]) for place, p in _named(key, node) if TARGET in p]


def target_names(key: str, node: object) -> list[str]:
    """Return the same as they stand there, once `check_targets` let them pass."""
    return [str(part[TARGET]) for _, part in _named(key, node) if TARGET in part]


def target_class(place: str, target: object) -> type:
    """Return the class that `_target_` names at `place`; `ConfigError` if none of its kind."""
    key = f"{place}.{TARGET}"
    kind = next((kind for pattern, kind in PLACES.items() if re.fullmatch(pattern, place)), None)
    if kind is None:
        raise ConfigError(f"{key}={target!r}: expected no class at this place. Leave it out.")
    named = target if isinstance(target, str) else ""
    is_foreign = named.partition(".")[0] not in sys.stdlib_module_names
    found = find_class(key, named) if is_foreign and re.fullmatch(r"\w+(\.\w+)+", named) else None
    accepted = isinstance(found, type) and kind.accepts(found)
    require(accepted, key, target, kind.expected, f"See {kind.example} for one.")
    assert isinstance(found, type)
    return found


def find_class(key: str, target: str) -> Any:
    """Import what `target`, MODULE.NAME, stands for."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (Exception, SystemExit) as error:  # importing a module of somebody else's
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{key}={target!r}: expected a class to import: {reason}.") from error


def _named(place: str, node: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Every mapping of `node`, with its place."""
    if isinstance(node, Mapping):
        yield place, node
    items = node.items() if isinstance(node, Mapping) else ()
    items = enumerate(node) if isinstance(node, list | tuple) else items
    for name, value in items:
        yield from _named(f"{place}.{name}", value)


def _check_words(place: str, node: Mapping[str, object], problems: Problems) -> None:
    """Refuse what else tells Hydra how to call; only a method's own method may be unfinished."""
    refused = [word for word in OTHER_WORDS if word in node]
    if PARTIAL in node and not place.startswith("method."):
        refused.append(PARTIAL)
    for word in refused:
        expected = "no such word, as parts are made of their keys"
        problems.of(require, False, f"{place}.{word}", node[word], expected, "Leave it out.")


def _check_keys(place: str, node: Mapping[str, object], found: type, problems: Problems) -> None:
    """Hold the keys against what the class takes, before Python does it in words of its own."""
    takes = inspect.signature(found).parameters.values()
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in takes):
        return
    names = [parameter.name for parameter in takes]
    for key in node:
        if key not in names and not str(key).startswith("_"):
            known = ", ".join(names) or "no keys"
            problems.add(f"{place}.{key}: no such key. {found.__name__} has: {known}.")
    for parameter in takes:
        is_needed = parameter.default is parameter.empty and not node.get(PARTIAL)
        if is_needed and parameter.name not in node:
            key = f"{place}.{parameter.name}"
            problems.add(f"{key} is missing: expected a value. Type {key}=VALUE.")
