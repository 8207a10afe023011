"""Composing the points of a grid, each into one configuration; all mistakes are told together.

Composing from scratch takes Hydra 40 to 75 ms. A grid has few combinations of group choices and
many of plain values, so each combination is composed once. Values are applied to a copy as Hydra
itself applies them, after the defaults list, in the order typed; plain words and numbers for keys
that are there, which is nearly all of them, without its help: 6 ms become a tenth of one.
"""

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from calib_sweep.cell import AXES, BOOKKEEPING
from calib_sweep.errors import ConfigError
from calib_sweep.mistakes import (
    describe_hydra_error,
    describe_lost_parts,
    describe_no_effect,
    describe_override_error,
    describe_reference,
    describe_unknown,
    mislabelled,
)
from calib_sweep.points import Point, parse

NEEDED = (AXES | BOOKKEEPING | {"evaluation", "calibration", "walk"}) - {"experiment"}


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
    plain: dict[str, Any] | None  # the same as plain containers; None where it refers to itself
    missing: frozenset[str]  # keys that must be given


class GridError(ConfigError):
    """Mistakes found in composing. `composed`: the points without what is mistaken in them."""

    def __init__(self, *problems: str, composed: Sequence[Composed] = ()) -> None:
        super().__init__(*problems)
        self.composed = composed


def compose_grid(
    loader: ConfigLoader, master: DictConfig, points: Iterable[Point]
) -> list[Composed]:
    """Compose every point (a list of overrides without sweeps) of the grid.

    Raises `GridError` with every mistake of every point, each once.
    """
    options = cache(partial(_options, loader))  # thousands of points share a few keys
    bases: dict[tuple[str, ...], Base | str] = {}
    composed, problems = [], []
    for point in points:
        overrides = [parse(text) for text in point]
        choices = [o for o in overrides if options(o.key_or_group)]
        values = [o for o in overrides if not options(o.key_or_group)]
        unknown = [text for o in choices if (text := describe_unknown(o, options(o.key_or_group)))]
        problems += unknown
        groups = tuple(
            str(o.input_line) for o in choices if not describe_unknown(o, options(o.key_or_group))
        )
        if groups not in bases:
            bases[groups] = _compose_base(loader, master, groups)
        base = bases[groups]
        if isinstance(base, str):
            problems.append(base)
            continue
        result, mistakes = _apply_values(base, values)
        problems += mistakes
        if result is not None:
            composed.append(result)
    if not composed and not problems:
        problems = ["the grid is empty: expected values to sweep, as in 'seed=range(5)'."]
    if problems:
        raise GridError(*problems, composed=composed)
    return composed


def _options(loader: ConfigLoader, key: str) -> list[str]:
    """The choices that `key` has as a group; none where it is a plain key."""
    return [] if key in ("seed", "replicate") else loader.get_group_options(key)


def _compose_base(loader: ConfigLoader, master: DictConfig, groups: Sequence[str]) -> Base | str:
    try:
        whole = loader.load_sweep_config(master, list(groups))
    except (HydraException, OmegaConfBaseException, MarkedYAMLError) as error:
        return describe_hydra_error(error)
    if lacking := sorted(str(key) for key in NEEDED if key not in whole):
        return (
            f"config.yaml: expected all keys of the package's, and it lacks {', '.join(lacking)}."
        )
    config = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    OmegaConf.set_struct(config, True)
    _open_mappings(config)
    choices = {str(k): str(v) for k, v in whole.hydra.runtime.choices.items()}
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    task = None if "${" in json.dumps(plain, default=str) else plain
    return Base(config, choices, task, frozenset(_missing(plain)))


def _missing(plain: Any, key: str = "") -> Iterator[str]:
    """The keys without a value, which must be given."""
    if plain == "???":
        yield key
    for name, value in plain.items() if isinstance(plain, dict) else ():
        yield from _missing(value, f"{key}.{name}" if key else str(name))


def _open_mappings(config: DictConfig) -> None:
    """Let mappings inside of a part, which say what belongs to what, take new keys."""
    parts = [node for node in map(config._get_node, config) if _is_part(node)]
    while parts:
        part = parts.pop()
        for node in map(part._get_node, part):
            if _is_part(node):
                parts.append(node)
            elif isinstance(node, DictConfig):
                OmegaConf.set_struct(node, False)
                parts.append(node)


def _is_part(node: Any) -> bool:
    return isinstance(node, DictConfig) and "_target_" in node


def _apply_values(base: Base, values: Sequence[Override]) -> tuple[Composed | None, list[str]]:
    """Apply plain values to a copy of `base`; return the result and every mistake among them.

    The result is there for what else can be checked of it; None if nothing can.
    """
    problems = mislabelled(base.choices["model"], base.config["model"], values)
    task = _assign(base, values)
    if task is not None:
        kept = {o.key_or_group: o.value() for o in values if _is_setting(o.key_or_group)}
        return Composed(task, base.choices, kept), problems
    config = copy.deepcopy(base.config)
    for override in values:
        try:
            problems += describe_no_effect(override, config)
            ConfigLoaderImpl._apply_overrides_to_config([override], config)
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(describe_override_error(override, config, error))
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        return None, [*problems, describe_reference(error, values)]
    assert isinstance(plain, dict)
    problems += [f"{key} is missing: type {key}=VALUE." for key in sorted(_missing(plain))]
    task = {str(key): value for key, value in plain.items()}
    broken = describe_lost_parts(base.config, task)
    if broken:
        return None, problems + broken
    settings = {o.key_or_group: OmegaConf.select(config, o.key_or_group) for o in values}
    kept = {k: _plain(v) for k, v in settings.items() if _is_setting(k)}
    return Composed(task, base.choices, kept), problems


def _assign(base: Base, values: Sequence[Override]) -> dict[str, Any] | None:
    """Assign plain values to keys that have one, sharing all else with `base`.

    None where it takes Hydra: new and deleted keys, lists, mappings, references, missing values.
    """
    keys = {override.key_or_group for override in values}
    if base.plain is None or not base.missing <= keys:
        return None
    task = dict(base.plain)
    for override in values:
        value, node = override.value(), task
        if override.type != OverrideType.CHANGE or override.package or not _is_plain(value):
            return None
        *path, leaf = override.key_or_group.split(".")
        for name in path:
            if not isinstance(node.get(name), dict):
                return None
            node[name] = dict(node[name])
            node = node[name]
        if leaf not in node or isinstance(node[leaf], dict | list):
            return None
        node[leaf] = value
    return task


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, int | float)


def _is_setting(key: str) -> bool:
    """`method.sparsity` is one; `method`, `tracking.mode` and the label `dataset.name` are not."""
    first, _, rest = key.partition(".")
    return first not in BOOKKEEPING and (first not in AXES or rest not in ("", "name"))


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
