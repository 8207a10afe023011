"""Say what was typed wrong in overrides, for the person who typed it."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from calib_sweep import wording

READABLE = (
    "A list has no spaces after its commas (method=wanda,sparsegpt); what has brackets is quoted "
    "('seed=range(5)')."
)
# The groups that null may be chosen from, and what is then not chosen.
OPTIONAL = {
    "dataset/selector": "selector is",
    "rotation": "rotation is",
    "activations": "activations are",
}
SEVERAL = "tracking"  # the group of which several may be chosen at once
GROUPS = ("model", "method", "dataset", *OPTIONAL, "evaluation", "tracking", "experiment")


def describe_unknown(override: Override, options: Sequence[str]) -> str | None:
    """Say what is wrong with the choice from a group; None if nothing is."""
    key, typed, value = override.key_or_group, override.input_line, override.value()
    known, word = ", ".join(options), "null" if value is None else value
    if not key:
        return f"{typed}: expected key=value."
    if override.is_delete():
        if key in OPTIONAL:
            return f"{typed}: expected no ~. Type {key}=null."
        return (
            f"{typed}: expected to stay, as every cell needs it. Type {key}=NAME, one of {known}."
        )
    if isinstance(value, list):
        return _describe_list(override, value, options)
    is_inside = "." in (override.package or "")  # dataset@dataset.prefix: a part of what is there
    if (
        key in GROUPS
        and not is_inside
        and (override.package or override.type != OverrideType.CHANGE)
    ):
        return f"{typed}: expected without +, ++ or @, as there is one already. Type {key}={word}."
    if (isinstance(value, str) and value in options) or (value is None and key in OPTIONAL):
        return None
    near = _near(str(word).rpartition("/")[2], options, f"{key}=")
    return f"{typed}: expected one of {known}.{near}"


def _describe_list(override: Override, names: list[object], options: Sequence[str]) -> str | None:
    """Say what is wrong with a list of names: several are chosen from one group alone."""
    key, typed = override.key_or_group, override.input_line
    if key != SEVERAL:
        words = ",".join(map(str, names))
        return f"{typed}: expected one name. To sweep several, type -m {key}={words}."
    if names and all(name in options for name in names):
        return None
    known = ", ".join(options)
    return f"{typed}: expected a list of any of {known}. Example: '{key}=[wandb,tensorboard]'."


def _near(word: object, known: Sequence[str], prefix: str) -> str:
    """Name the nearest of `known`, if one is near: what was meant, most likely."""
    near = get_close_matches(str(word), known, n=1)
    return f" Did you mean {prefix}{near[0]}?" if near else ""


def describe_override_error(
    override: Override, config: DictConfig, error: Exception, choices: Mapping[str, object]
) -> str:
    """Say why `override` cannot be applied to `config`, which is of these choices from groups."""
    typed, key = override.input_line, override.key_or_group
    cause = error.__cause__
    if override.is_add() and cause is None:
        return f"{typed}: expected without +, as there is one already. Type {str(typed)[1:]}."
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        key = str(cause.full_key)  # of a mapping, the key in it
    for group, absent in OPTIONAL.items():
        node = group.replace("/", ".")
        if f"{key}.".startswith(f"{node}.") and OmegaConf.select(config, node) is None:
            return f"{typed}: no such key, as no {absent} chosen. Type {group}=NAME besides."
    parent, _, leaf = key.rpartition(".")
    try:
        node = OmegaConf.select(config, parent) if parent else config
    except OmegaConfBaseException:
        node = None
    if isinstance(node, DictConfig) and leaf not in node and len(node):
        where = f"{parent} has" if parent else "the configuration has"
        known = [str(name) for name in node] if parent else _top(config)
        owners = [name for name in known if parent == SEVERAL and leaf in node[name]]
        meant = [f"{name}.{leaf}" for name in owners]
        near = _near(meant[0] if meant else leaf, meant or known, f"{parent}." if parent else "")
        group = parent.partition(".")[0]
        of = f" These are the keys of {group}={choices[group]}." if choices.get(group) else ""
        keys = ", ".join(name for name in known if name != "_target_")
        return f"{typed}: no such key. {where}: {keys}.{of}{near}"
    if parent and (node == {} or not OmegaConf.is_config(node)):  # emptied to take the key
        return f"{typed}: no such key. {_keyless(parent)}"
    return f"{typed}: {describe_hydra_error(error)}"


def _keyless(parent: str) -> str:
    """Say why there is no key below `parent`."""
    if parent.partition(".")[0] == SEVERAL:
        return f"That tracker is not chosen. Type {SEVERAL}=NAME besides, or leave this out."
    return f"{parent} is one value and has no keys."


def describe_no_effect(override: Override, config: DictConfig) -> list[str]:
    """Say that an empty mapping changes nothing where there are keys already."""
    key = override.key_or_group
    if override.value() != {} or not OmegaConf.select(config, key):
        return []
    return [
        f"{override.input_line}: expected the keys that change, as in '{key}={{KEY: VALUE}}', or "
        "null to leave it out. An empty mapping changes nothing."
    ]


def _top(config: DictConfig) -> list[str]:
    """Name the keys of a configuration, and what may be chosen besides."""
    names = [str(name) for name in config]
    return [*names, *(group for group in OPTIONAL if "/" not in group and group not in names)]


def _keys(node: DictConfig) -> str:
    return ", ".join(str(key) for key in node if key != "_target_")


def describe_reference(error: Exception, values: Sequence[Override]) -> str:
    """Say which key takes its value from something that is not there."""
    if isinstance(error, RecursionError) or not isinstance(error, OmegaConfBaseException):
        typed = " ".join(str(o.input_line) for o in values if "${" in str(o.input_line))
        return f"{typed}: expected a value, but this refers to itself."
    key, reason = error.full_key, str(error).splitlines()[0]
    if absent := re.search(r"Environment variable '(.*)' not found", reason):
        reason = f"the environment variable {absent[1]} is not set. Set it"
    elif absent := re.search(r"Interpolation key '(.*)' not found", reason):
        reason = f"there is no key {absent[1]} to take a value from. Correct it"
    return f"{key}: {reason}, or type {key}=VALUE."


def describe_lost_parts(base: DictConfig, task: Mapping[str, object]) -> list[str]:
    """Name what was deleted, what was added, and groups of keys replaced by a single value."""
    problems = [
        f"~{key}: expected to stay, as every cell needs it. Leave ~{key} out."
        for key in base
        if key not in task
    ]
    for key, value in task.items():
        if key not in base:
            problems.append(f"+{key}: no such key. the configuration has: {_keys(base)}.")
        elif isinstance(base[key], DictConfig) and not isinstance(value, dict):
            problems.append(
                f"{key}={value!r}: expected its keys ({_keys(base[key])}). Set one of them."
            )
    return problems


def mislabelled(choice: str, model: Mapping[str, object], values: Sequence[Override]) -> list[str]:
    """Another checkpoint under the name of a shipped model's YAML would mislead every table."""
    keys = {override.key_or_group for override in values}
    name = model.get("name")
    if "model.path" not in keys or "model.name" in keys or name is None:
        return []
    path = next(o.value() for o in values if o.key_or_group == "model.path")
    return [
        f"model.path={path}: expected model=hf beside it, as model={choice} would call it "
        f"{name!r}. Type model=hf {wording.typed('model.path', path)}, or add model.name=NAME."
    ]


def describe_hydra_error(error: BaseException) -> str:
    """Hydra's own message with its cause, on one line; what it cannot parse, in our words."""
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read as key=value. {READABLE}"
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark
        where = f"{mark.name}, line {mark.line + 1}" if mark else "a configuration"
        return f"{where}: expected YAML: {error.problem}. Correct the file."
    messages = [str(error)]
    if error.__cause__ is not None and str(error.__cause__) not in messages[0]:
        messages.append(str(error.__cause__))
    return " ".join(" ".join(message.split()) for message in messages)
