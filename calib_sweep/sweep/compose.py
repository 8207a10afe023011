"""Composing the points of a grid, each into one configuration; all mistakes are told together.

Composing from scratch takes Hydra 40 to 75 ms. A grid has few combinations of group choices and
many of plain values, so each combination is composed once. Values are applied to a copy as Hydra
itself applies them, after the defaults list, in the order typed: what takes its help once for all
points that share it, plain words and numbers, nearly all, by assigning them: 6 ms become a tenth.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from calib_sweep import valid_json
from calib_sweep.cell import Config
from calib_sweep.errors import ConfigError
from calib_sweep.settings import AXES, BOOKKEEPING, flatten, is_setting
from calib_sweep.sweep.choices import as_hydra_chooses, chosen_settings, deeper, options_of
from calib_sweep.sweep.mistakes import (
    describe_hydra_error,
    describe_lost_parts,
    describe_no_effect,
    describe_override_error,
    describe_reference,
    describe_unknown,
    mislabelled,
)
from calib_sweep.sweep.points import Point, parse

NEEDED = (AXES | BOOKKEEPING | {"evaluation", "calibration", "walk"}) - {"experiment"}


@dataclass(frozen=True)
class Composed:
    """One composed point of the grid, before it is known whether its method needs data."""

    config: Config = field(repr=False)
    choices: dict[str, str] = field(repr=False)
    settings: dict[str, object]


@dataclass(frozen=True)
class Base:
    """The configuration that all points with the same choices share, before plain values."""

    config: DictConfig
    choices: dict[str, str]
    plain: Config | None  # the same as plain containers; None where it refers to itself
    missing: frozenset[str]  # keys that must be given
    # With what takes Hydra to apply: lists, mappings, new keys. None where that is mistaken.
    derived: dict[tuple[str, ...], "Base | None"] = field(default_factory=dict)


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
    options = cache(partial(options_of, loader))  # thousands of points share a few keys
    bases: dict[tuple[str, ...], Base | str] = {}
    composed, problems = [], []
    for point in points:
        overrides = [parse(text) for text in point]
        choices = [o for o in overrides if options(o.key_or_group)]
        values = [o for o in overrides if not options(o.key_or_group)]
        unknown = [
            describe_unknown(o, [*options(o.key_or_group), *deeper(loader, o)]) for o in choices
        ]
        problems += filter(None, unknown)
        groups = tuple(
            as_hydra_chooses(o) for o, text in zip(choices, unknown, strict=True) if not text
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
            composed.append(replace(result, settings=chosen_settings(choices) | result.settings))
    if not composed and not problems:
        problems = ["the grid is empty: expected values to sweep, as in 'seed=range(5)'."]
    if problems:
        raise GridError(*problems, composed=composed)
    return composed


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
    return _base(config, {str(k): str(v) for k, v in whole.hydra.runtime.choices.items()})


def _base(config: DictConfig, choices: dict[str, str]) -> Base:
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    refers = "${" in valid_json.dumps(plain, default=str)
    task = None if refers else {str(key): value for key, value in plain.items()}
    return Base(config, choices, task, frozenset(_missing(plain)))


def _missing(plain: object, key: str = "") -> Iterator[str]:
    """Yield the keys without a value, which must be given."""
    if plain == "???":
        yield key
    for name, value in plain.items() if isinstance(plain, dict) else ():
        yield from _missing(value, f"{key}.{name}" if key else str(name))


def _open_mappings(config: DictConfig, *, in_part: bool = False) -> None:
    """Let mappings inside of a part, and of `analysis`, take new keys.

    They say what belongs to what.
    """
    for key in config:
        node = config._get_node(key)
        if not isinstance(node, DictConfig):
            continue
        is_part = "_target_" in node or (key == "analysis" and not in_part)
        if in_part and not is_part:
            OmegaConf.set_struct(node, False)
        if in_part or is_part:
            _open_mappings(node, in_part=True)


def _apply_values(base: Base, values: Sequence[Override]) -> tuple[Composed | None, list[str]]:
    """Apply plain values to a copy of `base`; return the result and every mistake among them.

    The result is there for what else can be checked of it; None if nothing can.
    """
    problems = mislabelled(base.choices["model"], base.config["model"], values)
    if (composed := _assign(base, values)) is not None:
        return composed, problems
    config = copy.deepcopy(base.config)
    for override in values:
        try:
            problems += describe_no_effect(override, config)
            ConfigLoaderImpl._apply_overrides_to_config([override], config)
        except (HydraException, OmegaConfBaseException) as error:
            problems.append(describe_override_error(override, config, error, base.choices))
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        return None, [*problems, describe_reference(error, values)]
    assert isinstance(plain, dict)
    problems += [
        f"{key} is missing: expected a value. Type {key}=VALUE." for key in sorted(_missing(plain))
    ]
    task = {str(key): value for key, value in plain.items()}
    broken = describe_lost_parts(base.config, task)
    if broken:
        return None, problems + broken
    return Composed(task, base.choices, _settings(config, values)), problems


def _assign(base: Base, values: Sequence[Override]) -> Composed | None:
    """Assign plain values to keys that have one, after Hydra has applied all others, once.

    None where a value is mistaken, missing or refers to another, or where the order counts.
    """
    others = [o for o in values if not _is_assignment(o, base.plain)]
    plain = [o for o in values if o not in others]
    start = _derive(base, others) if others else base
    if start is None or start.plain is None or _overlap(plain, others):
        return None
    if not start.missing <= {override.key_or_group for override in plain}:
        return None
    task = dict(start.plain)
    for override in plain:
        *path, leaf = override.key_or_group.split(".")
        node = task
        for name in path:
            node[name] = dict(node[name])
            node = node[name]
        node[leaf] = override.value()
    return Composed(task, base.choices, _settings(start.config, values, plain))


def _is_assignment(override: Override, config: Mapping[str, object] | None) -> bool:
    """Tell whether the override gives a key of one value another one."""
    node: object = config
    for name in override.key_or_group.split("."):
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    is_change = override.type == OverrideType.CHANGE and not override.package
    return is_change and not isinstance(node, dict | list) and _is_plain(override.value())


def _overlap(plain: Sequence[Override], others: Sequence[Override]) -> bool:
    """Tell whether a key is part of another's value, so that it counts which was typed first."""
    keys = [f"{override.key_or_group}." for override in others]
    return any(f"{override.key_or_group}.".startswith(tuple(keys)) for override in plain)


def _derive(base: Base, overrides: Sequence[Override]) -> Base | None:
    """`base` with `overrides` applied by Hydra; None if one of them is mistaken."""
    words = tuple(str(override.input_line) for override in overrides)
    if words not in base.derived:
        base.derived[words] = None
        config = copy.deepcopy(base.config)
        with suppress(HydraException, OmegaConfBaseException):  # told when applied in order
            wrong = [text for o in overrides for text in describe_no_effect(o, config)]
            ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)
            derived = _base(config, base.choices)
            if not wrong and not describe_lost_parts(base.config, derived.plain or {}):
                base.derived[words] = derived
    return base.derived[words]


def _settings(
    config: DictConfig, values: Iterable[Override], plain: Sequence[Override] = ()
) -> dict[str, object]:
    """Return the settings that were typed: of `plain` ones their value, else that in `config`."""
    typed = {o.key_or_group: o for o in values if is_setting(o.key_or_group)}
    return flatten(
        {
            key: o.value() if o in plain else _to_plain(OmegaConf.select(config, key))
            for key, o in typed.items()
        }
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, int | float)


def _to_plain(value: object) -> object:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
