"""The choices among the words of a point: which keys are groups, and how Hydra takes a choice."""

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override, OverrideType

from calib_sweep.settings import PREFIX
from calib_sweep.sweep.mistakes import OPTIONAL
from calib_sweep.sweep.points import Point, parse


def options_of(loader: ConfigLoader, key: str) -> list[str]:
    """Return the choices that `key` has as a group; none where it is a plain key."""
    if key in ("seed", "replicate"):
        return []
    # The loader's own `get_group_options` copies every source first: 10 ms for each key.
    assert isinstance(loader, ConfigLoaderImpl)
    return loader.repository.get_group_options(key)


def deeper(loader: ConfigLoader, override: Override) -> list[str]:
    """Return the choice that `override` makes if it is a file deeper in its group's folder."""
    name = override.value()
    if not isinstance(name, str) or "/" not in name:
        return []
    assert isinstance(loader, ConfigLoaderImpl)
    return [name] if loader.repository.config_exists(f"{override.key_or_group}/{name}") else []


def as_hydra_takes_it(loader: ConfigLoader, point: Point) -> Point:
    """Return `point` in words that Hydra, which composes it for each job, takes as they are here.

    Mappings take new keys, and from Hydra only where the word begins with ++.
    """
    overrides = [parse(text) for text in point]
    return [
        f"++{text}"
        if override.type == OverrideType.CHANGE and not options_of(loader, override.key_or_group)
        else as_hydra_chooses(override)
        for text, override in zip(point, overrides, strict=True)
    ]


def as_hydra_chooses(override: Override) -> str:
    """Return the choice in a word that Hydra takes: it has another one for choosing nothing."""
    is_change = override.type == OverrideType.CHANGE
    if is_change and override.key_or_group in OPTIONAL and override.value() is None:
        return f"~{override.key_or_group}"
    return str(override.input_line)


def chosen_settings(choices: Sequence[Override]) -> dict[str, object]:
    """Return those that were typed and are settings: a dataset, say, has a column of its own."""
    settings: dict[tuple[str, str | None], str] = {("dataset", PREFIX): PREFIX}
    settings |= {(group, None): group.replace("/", ".") for group in OPTIONAL}
    typed = {(o.key_or_group, o.package): o.value() for o in choices}
    return {settings[key]: value for key, value in typed.items() if key in settings}
