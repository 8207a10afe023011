"""The plan of a sweep: command line -> cells, composed by Hydra, each once, all mistakes together.

Composing from scratch takes Hydra 40 to 75 ms. A grid has few combinations of group choices and
many of plain values, so each combination is composed once, and the values are applied to copies as
Hydra itself applies them: after the defaults list, in the order typed.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_automatic_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from calib_sweep.cell import AXES, BOOKKEEPING, DENSE, Cell, cell_id
from calib_sweep.errors import ConfigError, collected
from calib_sweep.results.store import Store
from calib_sweep.targets import target_class


@dataclass(frozen=True)
class Composed:
    """One composed point of the grid, before it is known whether its method needs data."""

    config: dict[str, Any] = field(repr=False)
    choices: dict[str, str] = field(repr=False)
    settings: dict[str, Any]


@dataclass(frozen=True)
class Base:
    """What all points with the same choices share: their configuration before plain values."""

    config: DictConfig
    choices: dict[str, str]


class GridError(ConfigError):
    """Mistakes found in composing. `composed`: the points without what is mistaken in them."""

    composed: Sequence[Composed] = ()


def compose_grid(
    loader: ConfigLoader, master: DictConfig, points: Iterable[Sequence[str]]
) -> list[Composed]:
    """Compose every point (a list of overrides without sweeps) of the grid.

    Raises `GridError` with every mistake of every point, each once.
    """
    # Each takes Hydra milliseconds, and thousands of points share a few keys, words and choices.
    parse = cache(OverridesParser.create().parse_override)
    options = cache(partial(_options, loader))
    bases: dict[tuple[str, ...], Base | str] = {}
    composed, problems = [], []
    for point in points:
        overrides = [parse(text) for text in point]
        choices = [o for o in overrides if options(o.key_or_group)]
        known = [o for o in choices if _is_known(o, options(o.key_or_group))]
        problems += [
            _describe_unknown(o, options(o.key_or_group)) for o in choices if o not in known
        ]
        groups = tuple(str(o.input_line) for o in known)
        if groups not in bases:
            bases[groups] = _compose_base(loader, master, groups)
        base = bases[groups]
        if isinstance(base, str):
            problems.append(base)
            continue
        values = [o for o in overrides if o not in choices]
        result, mistakes = _apply_values(base, values)
        problems += mistakes
        if result is not None:
            composed.append(result)
    if not composed and not problems:
        problems = ["the grid is empty: expected values to sweep, as in 'seed=range(5)'."]
    if problems:
        error = GridError(*problems)
        error.composed = composed
        raise error
    return composed


def _options(loader: ConfigLoader, key: str) -> list[str]:
    """The choices that `key` has as a group; none where it is a plain key."""
    return [] if key in ("seed", "replicate") else loader.get_group_options(key)


def _is_known(override: Override, options: Sequence[str]) -> bool:
    value = override.value()
    words = value if isinstance(value, list) else [value]
    return not override.is_delete() and all(
        isinstance(word, str) and (word in options or "/" in word) for word in words
    )


def _describe_unknown(override: Override, options: Sequence[str]) -> str:
    key = override.key_or_group
    if not key:
        return f"{override.input_line}: expected key=value."
    known = ", ".join(options)
    return f"{override.input_line}: there is no {key}/{override.value()}, expected one of {known}."


def _compose_base(loader: ConfigLoader, master: DictConfig, groups: Sequence[str]) -> Base | str:
    try:
        whole = loader.load_sweep_config(master, list(groups))
    except (HydraException, OmegaConfBaseException) as error:
        return describe_hydra_error(error)
    config = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    OmegaConf.set_struct(config, True)
    return Base(config, {str(k): str(v) for k, v in whole.hydra.runtime.choices.items()})


def _apply_values(base: Base, values: Sequence[Override]) -> tuple[Composed | None, list[str]]:
    """Apply plain values to a copy of `base`; return the result and every mistake among them.

    The result is there for what else can be checked of it; None if nothing can.
    """
    config = copy.deepcopy(base.config)
    problems = []
    for override in values:
        try:
            ConfigLoaderImpl._apply_overrides_to_config([override], config)
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(_describe_override_error(override, config, error))
    problems += _mislabelled(base, values)
    missing = sorted(OmegaConf.missing_keys(config))
    problems += [f"{key} is missing: type {key}=VALUE." for key in missing]
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    task = {str(key): value for key, value in plain.items()}
    broken = _describe_lost_parts(base.config, task)
    if broken:
        return None, problems + broken
    settings = {o.key_or_group: OmegaConf.select(config, o.key_or_group) for o in values}
    kept = {k: _plain(v) for k, v in settings.items() if _is_setting(k)}
    return Composed(task, base.choices, kept), problems


def _describe_lost_parts(base: DictConfig, task: Mapping[str, Any]) -> list[str]:
    """What was deleted, what was added, and groups of keys replaced by a single value."""
    problems = [
        f"~{key}: expected to stay, every cell needs it." for key in base if key not in task
    ]
    for key, value in task.items():
        if key not in base:
            keys = ", ".join(str(known) for known in base)
            problems.append(f"+{key}: no such key. the configuration has: {keys}.")
        elif isinstance(base[key], DictConfig) and not isinstance(value, dict):
            keys = ", ".join(str(part) for part in base[key] if part != "_target_")
            problems.append(
                f"{key}={value!r}: expected to keep its keys ({keys}). Set one of them."
            )
    return problems


def _mislabelled(base: Base, values: Sequence[Override]) -> list[str]:
    """Another checkpoint under the name of a shipped model's YAML would mislead every table."""
    keys = {override.key_or_group for override in values}
    choice, name = base.choices["model"], base.config["model"].get("name")
    if "model.path" not in keys or "model.name" in keys or name is None:
        return []
    path = next(o.value() for o in values if o.key_or_group == "model.path")
    return [
        f"model.path={path}: expected with model=hf, as model={choice} would call it {name!r}. "
        f"Type model=hf model.path={path}, or give it a name with model.name=NAME."
    ]


def _is_setting(key: str) -> bool:
    """`method.sparsity` is one; `method`, `tracking.mode` and the label `dataset.name` are not."""
    first, _, rest = key.partition(".")
    return first not in BOOKKEEPING and (first not in AXES or rest not in ("", "name"))


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _describe_override_error(override: Override, config: DictConfig, error: Exception) -> str:
    parent, _, leaf = override.key_or_group.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if isinstance(node, DictConfig) and leaf not in node:
        accepted = ", ".join(str(key) for key in node if key != "_target_")
        where = f"{parent} has" if parent else "the configuration has"
        return f"{override.input_line}: no such key. {where}: {accepted}."
    return f"{override.input_line}: {describe_hydra_error(error)}"


def describe_hydra_error(error: BaseException) -> str:
    """Hydra's own message with its cause, on one line; what it cannot parse, in our words."""
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override!r} cannot be read as key=value. A list has no spaces after its "
            "commas (method=wanda,sparsegpt), and what has brackets is quoted ('seed=range(5)')."
        )
    messages = [str(error)]
    if error.__cause__ is not None and str(error.__cause__) not in messages[0]:
        messages.append(str(error.__cause__))
    return " ".join(" ".join(message.split()) for message in messages)


def plan_cells(store: Store, composed: Iterable[Composed]) -> list[Cell]:
    """Turn points into cells: duplicates dropped, each with the dense cell it is compared to.

    Whether a method needs data is known by its class, and importing that costs seconds. So a
    point whose record exists under either of its two possible ids is taken from there.
    """
    cells: dict[str, Cell] = {}
    composed = list(composed)
    varied = _varied([point.settings for point in composed])
    with collected() as problems:
        named = [problems.of(_to_cell, store, point, varied) for point in composed]
    for cell in named:
        dense = cell.dense()
        cells.setdefault(dense.id, dense)
        if not cell.is_dense or cell.id != dense.id:
            cells.setdefault(cell.id, cell)
    return sorted(cells.values(), key=_running_order)


def _varied(settings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The keys whose values are not the same for all."""
    keys = dict.fromkeys(key for one in settings for key in one)
    values = {key: {json.dumps(one.get(key), sort_keys=True) for one in settings} for key in keys}
    return tuple(key for key in keys if len(values[key]) > 1)


def _to_cell(store: Store, point: Composed, varied: tuple[str, ...]) -> Cell:
    both = [
        Cell(
            config=point.config,
            choices=point.choices,
            settings=point.settings,
            needs_data=needs_data,
            varied=varied,
        )
        for needs_data in (False, True)
    ]
    if point.config["method"] == DENSE:
        return both[False]
    for cell in both:
        if store.cell_folder(cell).is_dir() and store.is_done(cell):
            return cell
    return both[_needs_data(point.config["method"])]


def _needs_data(method: Mapping[str, Any]) -> bool:
    return target_class("method", method.get("_target_")).statistic is not None


def _running_order(cell: Cell) -> tuple[Any, ...]:
    """Models together, dense first, then by calibration set: what is loaded serves on."""
    # A seed that is no number is refused later, with all that is wrong besides.
    data = (str(cell.dataset), cell.seed if isinstance(cell.seed, int) else -1)
    evaluation = cell_id({**cell.config, "method": DENSE, "replicate": 0}, needs_data=False)
    return (cell.model, evaluation, not cell.is_dense, *data, cell.method, cell.folder_name)


def compose_command_line(conf: Path, arguments: Sequence[str]) -> list[Composed]:
    """Compose all points of a command line outside of a run; `ConfigError` names every mistake."""
    options = get_args_parser().parse_args(list(arguments))
    search_path = create_automatic_config_search_path(None, None, str(conf))
    if options.config_dir:
        search_path.prepend("command-line", f"file://{Path(options.config_dir).resolve()}")
    loader = ConfigLoaderImpl(config_search_path=search_path)
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(options.overrides)
    task = [o for o in overrides if not o.is_hydra_override()]
    master = loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN)
    points = BasicSweeper.split_arguments(task, max_batch_size=None)[0]
    return compose_grid(loader, master, points)
