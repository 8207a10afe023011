"""The launcher that a command line names, and all that is wrong with its settings, at once.

A launcher is Hydra's: hydra/launcher=NAME takes a YAML, hydra.launcher.KEY=VALUE a setting. Hydra
knows the keys and their types, and stops at the first mistake. One of ours has a method `check`
that knows the rest. So mistakes are found here before anything is started, or even loaded.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from calib_sweep.errors import ConfigError, Problems
from calib_sweep.sweep.choices import deeper
from calib_sweep.sweep.mistakes import describe_unknown

GROUP, PREFIX = "hydra/launcher", "hydra.launcher."
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
SUBMITITS_OWN = "hydra_plugins.hydra_submitit_launcher."
KINDS = {"Integer": "an integer", "Float": "a number", "bool": "true or false"}
EXAMPLES = {"Integer": "1", "Float": "1.5", "bool": "true"}


def check_launcher(master: DictConfig) -> None:
    """Raise `ConfigError` with all that cannot work of the launcher in Hydra's configuration."""
    node = master.hydra.launcher
    target, choice = str(node.get("_target_")), master.hydra.runtime.choices.get(GROUP)
    if target.startswith(SUBMITITS_OWN):
        other = "accelerate" if "Local" in target else "slurm"
        raise ConfigError(
            f"{GROUP}={choice}: expected basic, accelerate or slurm, as this one ends with the "
            f"first job that fails. Type {GROUP}={other}."
        )
    if node.get("detach") and str(master.hydra.sweeper.get("_target_")).endswith("AdaptiveSweeper"):
        raise ConfigError(
            f"{PREFIX}detach=true: expected false with hydra/sweeper=adaptive, as each round of "
            "seeds waits for the one before. Leave one of the two out."
        )
    if target != BASIC and (check := getattr(_launcher(master), "check", None)):
        check()


def check_launcher_ranks(master: DictConfig, ranks_per_cell: int) -> None:
    """Raise `ConfigError` unless the launcher starts so many processes for each cell."""
    choice = master.hydra.runtime.choices.get(GROUP)
    is_basic = str(master.hydra.launcher.get("_target_")) == BASIC  # Hydra's own: it makes that
    check = None if is_basic else getattr(_launcher(master), "check_ranks", None)
    if check is None and ranks_per_cell == 1:
        return
    if check is None:
        raise ConfigError(
            f"ranks_per_cell={ranks_per_cell}: {GROUP}={choice} starts one process for a cell. "
            f"Type {GROUP}=accelerate or {GROUP}=slurm."
        )
    check(ranks_per_cell)


def preview(master: DictConfig, num_workers: int) -> str | None:
    """Return what the launcher would submit for so many workers; None where it submits nothing."""
    if not num_workers or str(master.hydra.launcher.get("_target_")) == BASIC:
        return None  # Hydra's own, which it makes itself
    make = getattr(_launcher(master), "preview", None)
    return make(num_workers) if make else None


def _launcher(master: DictConfig) -> Any:
    """Make the launcher that Hydra's configuration names."""
    try:
        return instantiate(master.hydra.launcher)
    except InstantiationException as error:
        choice, reason = master.hydra.runtime.choices.get(GROUP), _first_lines(error)
        raise ConfigError(f"{GROUP}={choice}: expected other settings: {reason}") from error


def launcher_problems(loader: ConfigLoader, overrides: Iterable[Override]) -> list[str]:
    """Every mistake in what was typed of the launcher."""
    typed = [o for o in overrides if o.key_or_group.startswith((GROUP, PREFIX))]
    if not typed:
        return []
    chosen = [o for o in typed if o.key_or_group == GROUP]
    known = [o for o in loader.get_group_options(GROUP) if not o.startswith("submitit_")]
    if wrong := [text for o in chosen if (text := _describe_choice(o, known + deeper(loader, o)))]:
        return wrong
    choices = [str(o.input_line) for o in chosen]
    try:
        master = loader.load_configuration("config", choices, run_mode=RunMode.MULTIRUN)
    except HydraException as error:
        return [_first_lines(error)]
    problems = Problems()
    for override in typed:
        try:
            if override.key_or_group != GROUP:
                ConfigLoaderImpl._apply_overrides_to_config([override], master)
        except (HydraException, OmegaConfBaseException) as error:
            problems.add(_describe(override, master, error))
    problems.of(check_launcher, master)
    return problems.texts


def _describe_choice(override: Override, known: Sequence[str]) -> str | None:
    if override.is_sweep_override():
        typed = override.input_line
        return f"{typed}: expected one launcher for all cells. Example: {GROUP}=accelerate."
    return describe_unknown(override, known)


def _describe(override: Override, master: DictConfig, error: Exception) -> str:
    typed, node = override.input_line, master.hydra.launcher
    key = override.key_or_group.removeprefix(PREFIX)
    if key not in node:
        known = ", ".join(str(known) for known in node if known != "_target_")
        choice = master.hydra.runtime.choices.get(GROUP)
        has = f"has: {known}." if known else f"has none. Name another, as in {GROUP}=accelerate."
        return f"{typed}: no such key. {GROUP}={choice} {has}"
    said = f"{error} {error.__cause__}"
    if "is not Optional" in said:
        return f"{typed}: expected a value. Type {override.key_or_group}=VALUE."
    if wanted := re.search(r"could not be converted to (\w+)|is not a valid (\w+)", said):
        kind = wanted[1] or wanted[2]
        example = f"{override.key_or_group}={EXAMPLES.get(kind, 'VALUE')}"
        return f"{typed}: expected {KINDS.get(kind, kind)}. Example: {example}."
    return f"{typed}: {_first_lines(error)}"


def _first_lines(error: Exception) -> str:
    """Return what Hydra says, without where it has looked."""
    text = str(error.__cause__ or error).partition("Config search path")[0]
    lines = [line.strip() for line in text.splitlines()]
    return " ".join(line for line in lines if not line.startswith(("full_key:", "object_type=")))
