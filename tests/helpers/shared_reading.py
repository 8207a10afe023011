"""Commands that run one after another in this process read and merge Hydra's YAML files once.

Composing from scratch is most of what a short command costs. What was read from a file is kept for
as long as the file has the same time, size and inode; what was made of several, the defaults list
and the configuration before values are typed, for as long as the same is read. Every command gets a
copy.
"""

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.defaults_list import DefaultsList, Overrides
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import InputDefault, ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig

_load, _load_single = ConfigRepository.load_config, ConfigLoaderImpl._load_single_config
_list_defaults = config_loader_impl.create_defaults_list
_map_choices = getattr(defaults_list, "_create_interpolation_map", None)  # not in Hydra 1.4
_merge = ConfigLoaderImpl._compose_config_from_defaults_list
_read: dict[tuple[object, ...], ConfigResult] = {}
_listed: dict[tuple[object, ...], tuple[DefaultsList, dict[str, int]]] = {}
_merged: dict[tuple[object, ...], DictConfig] = {}


@contextmanager
def shared_reading() -> Iterator[None]:
    """Meanwhile every Hydra of this process reads an unchanged file once."""
    with (
        patch.object(ConfigRepository, "load_config", _load_once),
        patch.object(ConfigLoaderImpl, "_load_single_config", _load_a_copy),
        patch.object(ConfigLoaderImpl, "_compose_config_from_defaults_list", _merge_once),
        patch.object(config_loader_impl, "create_defaults_list", _list_defaults_once),
        patch.object(defaults_list, "_create_interpolation_map", _map_if_asked, create=True),
        # Hydra copies its sources, and with them this store, each time that it composes.
        patch.object(ConfigStore, "__deepcopy__", lambda store, _: store, create=True),
        # Hydra composes all words to learn the mode. conf/config.yaml fixes it.
        patch.object(Hydra, "get_mode", lambda *_, **__: RunMode.MULTIRUN),
    ):
        yield


def _load_once(repository: ConfigRepository, config_path: str) -> ConfigResult | None:
    """Read a file once. The result is everybody's: `_load_a_copy` is what may be changed."""
    source = repository._find_object_source(config_path, ObjectType.CONFIG)
    if source is None:
        return None
    key = (source.provider, source.path, config_path)
    if source.scheme() == "file":
        told = Path(source.path, source._normalize_file_name(config_path)).stat()
        key += (told.st_mtime_ns, told.st_size, told.st_ino)
    if key not in _read:
        _read[key] = _load(repository, config_path)
    return _read[key]


class _Copies:
    """A repository that gives copies of what it reads."""

    def __init__(self, repo: CachingConfigRepository) -> None:
        self._repo = repo
        self.get_schema_source = repo.get_schema_source

    def load_config(self, config_path: str) -> ConfigResult | None:
        return copy.deepcopy(self._repo.load_config(config_path))


def _load_a_copy(
    loader: ConfigLoaderImpl, default: ResultDefault, repo: CachingConfigRepository
) -> ConfigResult:
    return _load_single(loader, default, _Copies(repo))


def _merge_once(
    loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: CachingConfigRepository
) -> DictConfig:
    """Merge the same files, in the same order and places, once."""
    key = tuple(
        (*dataclasses.astuple(default), id(repo.load_config(default.config_path)))
        for default in defaults
    )
    if key not in _merged:
        _merged[key] = _merge(loader, defaults, repo)
    return copy.deepcopy(_merged[key])


def _list_defaults_once(
    repo: CachingConfigRepository,
    config_name: str,
    overrides_list: list[Override],
    **how: Any,
) -> DefaultsList:
    """List what the same choices lead to once: typed values change no choice."""
    values = Overrides(repo, overrides_list).config_overrides
    typed = {id(override) for override in values}
    choices = [
        override
        for override in overrides_list
        if id(override) not in typed and not override.is_sweep_override()
    ]
    key = (config_name, *how.items(), *(override.input_line for override in choices))
    listed, read = _listed.get(key, (None, {}))
    if listed is None or any(id(repo.load_config(path)) != seen for path, seen in read.items()):
        listed = _list_defaults(repo, config_name, choices, **how)
        paths = [key.removeprefix("config_path=") for key in repo.cache]
        read = {path: id(repo.load_config(path)) for path in paths}
        _listed[key] = listed, read
    listed = copy.deepcopy(listed)
    listed.config_overrides = values
    return listed


def _map_if_asked(
    overrides: Overrides, defaults: list[InputDefault], self_added: bool
) -> DictConfig | None:
    """Map choices for a file that refers to one. Hydra 1.3 does so for each, and few do."""
    if any(not default.is_self() and default.is_interpolation() for default in defaults):
        return _map_choices(overrides, defaults, self_added)
    return None
