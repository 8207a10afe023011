"""YAML of the user's own, before ours: in --config-dir, $CALIB_SWEEP_CONF and ./conf.local.

A folder that is asked for may replace what is shipped. ./conf.local is merely there, whoever made
it, so it may add names and nothing else.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from calib_sweep.errors import ConfigError
from calib_sweep.sweep.points import read_options

log = logging.getLogger(__name__)

VARIABLE = "CALIB_SWEEP_CONF"  # a:b, the first one counts most
LOCAL = Path("conf.local")


def own_folders(config_dir: str | None = None) -> list[Path]:
    """Return the folders that are searched before ours, in this order."""
    asked = _asked_for(config_dir)
    return [*asked, LOCAL] if _is_merely_there(asked) else asked


def check_own_folders(conf: Path, config_dir: str | None) -> None:
    """Raise `ConfigError` where one is not there, or ./conf.local takes names of ours in `conf`."""
    asked = _asked_for(config_dir)
    for folder in asked:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: expected a folder. Correct --config-dir or {VARIABLE}.")
    if not _is_merely_there(asked):
        return
    if taken := [name for name in names_in(LOCAL) if is_shipped(name, conf)]:
        raise ConfigError(
            f"./{LOCAL}: expected names that the package does not have, but it holds "
            f"{', '.join(taken)}. Rename what is meant as another choice. To replace the "
            f"package's, type --config-dir {LOCAL}."
        )


def _asked_for(config_dir: str | None) -> list[Path]:
    return [Path(text) for text in (config_dir, *os.environ.get(VARIABLE, "").split(":")) if text]


def _is_merely_there(asked: Sequence[Path]) -> bool:
    """Tell whether there is a ./conf.local that is none of the folders asked for."""
    return LOCAL.is_dir() and LOCAL.resolve() not in [folder.resolve() for folder in asked]


def names_in(folder: Path) -> list[str]:
    """Return the choices in a folder: method/wanda for method/wanda.yaml, and its `config`."""
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


def is_shipped(name: str, conf: Path) -> bool:
    """Tell whether `name` stands for something already: of ours in `conf`, or of Hydra's."""
    group, _, choice = name.rpartition("/")
    if group.startswith("hydra"):
        is_launcher = group == "hydra/launcher"
        taken = is_launcher and f"{choice}.yaml" in _launchers_of_plugins()
        return not is_launcher or taken or (conf / f"{name}.yaml").is_file()
    return (conf / f"{name}.yaml").is_file()


def _launchers_of_plugins() -> list[str]:
    """List the files of the launchers that plugins bring; they register when they are imported."""
    Plugins.instance()
    return ConfigStore.instance().list("hydra/launcher")


def log_own_folders(conf: Path, typed: Sequence[str]) -> None:
    """Log which folders of the user's own are searched; `typed`: all words of the command."""
    for line in describe(own_folders(read_options(typed).config_dir), conf):
        log.info("%s", line)


def describe(folders: Sequence[Path], conf: Path) -> list[str]:
    """One line for each folder: what it adds, and what it has instead of ours."""
    lines = []
    for folder in folders:
        names = names_in(folder)
        instead = [name for name in names if is_shipped(name, conf)]
        new = [name for name in names if name not in instead]
        parts = [f"adds {', '.join(new)}"] if new else []
        parts += [f"replaces {', '.join(instead)}"] if instead else []
        lines.append(f"choices of your own: {folder} {'; '.join(parts) or 'has none'}")
    return lines
