"""Commands that run one after another in this process read Hydra's YAML files once.

Composing from scratch is most of what a short command costs. What was read from a file is kept for
as long as the file has the same time, size and inode; every command gets a copy.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode

_load = ConfigRepository.load_config
_read: dict[tuple[object, ...], ConfigResult] = {}


@contextmanager
def shared_reading() -> Iterator[None]:
    """Meanwhile every Hydra of this process reads an unchanged file once."""
    with (
        patch.object(ConfigRepository, "load_config", _load_once),
        # Hydra copies its sources, and with them this store, each time that it composes.
        patch.object(ConfigStore, "__deepcopy__", lambda store, _: store, create=True),
        # Hydra composes all words to learn the mode. conf/config.yaml fixes it.
        patch.object(Hydra, "get_mode", lambda *_, **__: RunMode.MULTIRUN),
    ):
        yield


def _load_once(repository: ConfigRepository, config_path: str) -> ConfigResult | None:
    source = repository._find_object_source(config_path, ObjectType.CONFIG)
    if source is None or source.scheme() not in ("file", "pkg"):
        return _load(repository, config_path)
    key = (source.provider, source.path, config_path)
    if source.scheme() == "file":
        told = Path(source.path, source._normalize_file_name(config_path)).stat()
        key += (told.st_mtime_ns, told.st_size, told.st_ino)
    if key not in _read:
        _read[key] = _load(repository, config_path)
    return copy.deepcopy(_read[key])
