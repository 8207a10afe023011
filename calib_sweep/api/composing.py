"""Parts by their names and settings, composed as the command line composes them."""

from collections.abc import Mapping, Sequence
from typing import Any

from calib_sweep.api.given import seeing_current_folder
from calib_sweep.cell import Config
from calib_sweep.errors import require
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.sweep.explain import told
from calib_sweep.sweep.own_folders import check_own_folders
from calib_sweep.sweep.plan import compose_command_line
from calib_sweep.sweep.words import words
from calib_sweep.targets import Kind


@seeing_current_folder()
def compose(typed: Sequence[str]) -> Config:
    """Compose the configuration of one cell from the words that one would type."""
    check_own_folders(CONF, None)
    try:
        (composed,) = compose_command_line(CONF, typed)
    except Exception as error:
        raise told(error) or error from None
    return composed.config


@seeing_current_folder()
def built(group: str, config: Config) -> Any:
    """Build the part of a composed configuration."""
    return Builder().build(group, config[group])


def build(group: str, name: str, settings: Mapping[str, object]) -> Any:
    """Build the part that `group=name` stands for."""
    return built(group, compose(words(group, name, settings)))


def part_of(group: str, kind: Kind, given: object, config: Config) -> Any:
    """Return the part that was given, or build the one that was named."""
    if isinstance(given, str):
        return built(group, config)
    expected = f"a name, or {kind.expected}"
    require(kind.accepts(type(given)), group, given, expected, f"See {kind.example}.")
    return given


def part_or_none(group: str, kind: Kind, given: object, config: Config) -> Any:
    """Return the part of a group that nothing may be chosen from."""
    return None if given is None else part_of(group, kind, given, config)
