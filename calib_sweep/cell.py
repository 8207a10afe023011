"""A cell: one point of the grid, one record. Its id hashes everything that can move a number."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, TypedDict, TypeVar, cast

from calib_sweep import valid_json
from calib_sweep.settings import (
    EXECUTION_KEYS,
    EXECUTION_PARTS,
    OF_DATA,
    PREPARATIONS,
    applying,
    stem_of,
    title_of,
)

# Raised whenever the same settings begin to give other numbers, so that old cells are not taken for
# new ones. A raise needs a "Numbers:" line in CHANGELOG.md.
NUMBERS_VERSION = 2
# The same of what asks a model in `evaluation.zero_shot.scorer=packed`: its cells alone.
PACKED_VERSION = 1

PACKAGE, TARGET = "calib_sweep", "_target_"
DENSE = {TARGET: "calib_sweep.method.dense.Dense"}

# File systems hold names of 255 bytes. A cell's has at most 60 characters of each of its parts.
MAX_PART, MAX_NAME = 60, 205  # without the id

Config = Mapping[str, Any]  # a part of the resolved configuration, or all: plain containers
_T = TypeVar("_T")


class Axes(TypedDict):
    """The columns that name a cell in every table; None where a method needs no data."""

    model: str
    method: str
    dataset: str | None
    seed: int | None
    replicate: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One point of the grid. `config` is the resolved configuration as plain containers."""

    config: Config = field(repr=False)
    choices: Mapping[str, str] = field(repr=False)  # chosen YAML of each group
    settings: Mapping[str, object]  # typed ones that can move its numbers
    needs_data: bool
    shown: tuple[str, ...] = ()  # settings in its title: they tell cells of this sweep apart

    @cached_property
    def id(self) -> str:
        return cell_id(self.config, needs_data=self.needs_data)

    @cached_property
    def compression_id(self) -> str:
        """Hash all that can move its weights: equal for cells that differ in evaluation alone."""
        return _hash_of(self.config, ["model", "method", "replicate"], self.needs_data)

    @property
    def is_dense(self) -> bool:
        return self.config["method"] == DENSE

    @property
    def model(self) -> str:
        return label(self.config["model"], self.choices["model"])

    @property
    def method(self) -> str:
        return "dense" if self.is_dense else self.choices["method"]

    @property
    def dataset(self) -> str | None:
        return label(self.config["dataset"], self.choices["dataset"]) if self.needs_data else None

    @property
    def seed(self) -> int | None:
        return self.config["seed"] if self.needs_data else None

    def axes(self) -> Axes:
        """Return what names this cell in every table."""
        return {
            "model": self.model,
            "method": self.method,
            "dataset": self.dataset,
            "seed": self.seed,
            "replicate": self.config["replicate"],
        }

    @cached_property
    def folder_name(self) -> str:
        return f"{self.folder_stem}-{self.id}"

    @property
    def folder_stem(self) -> str:
        """What the folders of all cells of these axes begin with."""
        parts = [self.model, self.method]
        if self.needs_data:
            parts += [str(self.dataset), f"seed{self.seed}"]
        safe = [_path_safe(part) for part in parts]
        if len("-".join(safe).encode()) > MAX_NAME:  # only letters of several bytes come so far
            safe = [_first_bytes(part, MAX_PART) for part in safe]
        return "-".join(safe)

    @property
    def title(self) -> str:
        """Its name in logs and messages: axes, and the settings that tell cells apart."""
        return title_of(self.axes(), self.settings, self.shown)

    def dense(self) -> "Cell":
        """Return the cell of the uncompressed model that this cell is compared with."""
        return self._dense

    @cached_property
    def _dense(self) -> "Cell":
        kept = applying(self.settings, is_dense=True, reads_data=False)
        config = {**self.config, "method": DENSE, "replicate": 0, "save_model": None}
        config |= {key: None for key in PREPARATIONS if key in config}
        return Cell(
            config=config, choices=self.choices, settings=kept, needs_data=False, shown=self.shown
        )


def cell_id(config: Config, *, needs_data: bool) -> str:
    """Hash all of `config` that can move a number: 12 hex digits.

    Calibration, walk, dataset and seed cannot move the numbers of a method that needs no data.
    """
    return _hash_of(config, ["model", "method", "evaluation", "replicate"], needs_data)


def _hash_of(config: Config, keys: list[str], needs_data: bool) -> str:
    """Hash parts of `config`, and those that draw and use calibration data if it is needed."""
    if config["method"] != DENSE:  # which is as it was loaded
        keys = [*keys, *(key for key in PREPARATIONS if config.get(key) is not None)]
    if needs_data:
        keys = [*keys, "seed", *sorted(OF_DATA)]
    texts = {key: _text_of_part(key, config[key]) for key in keys}
    texts["numbers"] = str(NUMBERS_VERSION)
    if "evaluation" in keys and (asks := engine_of(config["evaluation"])) is not None:
        texts["engine"] = _text(asks)
    whole = ",".join(f'"{key}":{texts[key]}' for key in sorted(texts))
    return _digest_of_text(f"{{{whole}}}")


# Cells of a grid share most parts of their configuration, and nobody changes one in its place. So
# each is written once; it is kept beside its text, so that no other can get its identity.
_written: dict[int, tuple[object, str]] = {}
MAX_WRITTEN = 10_000


def _text_of_part(key: str, part: object) -> str:
    """Write all of a part that can move a number, as `digest` does."""
    found = _written.get(id(part))
    if found is None:
        if len(_written) >= MAX_WRITTEN:
            _written.clear()
        moving = without_execution(part) if key in EXECUTION_PARTS else part
        found = _written[id(part)] = part, _text(by_kind(moving))
    return found[1]


def engine_of(evaluation: Config) -> str | None:
    """Name what answers the requests of tasks, with its version; None where that is not said.

    Another engine gives other last digits.
    """
    tasks = evaluation.get("zero_shot")
    name = tasks.get("scorer") if isinstance(tasks, Mapping) else None
    if name == "hflm":
        return f"hflm {version('lm_eval')}"
    return f"packed {PACKED_VERSION}" if name == "packed" else None


def by_kind(value: Any) -> Any:
    """Name the classes of a configuration as `kind_of` does."""
    if isinstance(value, Mapping):
        return {
            key: kind_of(item) if key == TARGET else by_kind(item) for key, item in value.items()
        }
    if isinstance(value, list):
        return [by_kind(item) for item in value]
    return value


def kind_of(target: _T) -> _T | str:
    """Name a class of this package without its module, so that a file may move and a cell stays.

    A class from elsewhere keeps its whole name: another package may have one that is called alike.
    """
    if isinstance(target, str) and target.startswith(f"{PACKAGE}."):
        return target.rpartition(".")[2]
    return target


def digest(value: object) -> str:
    """Hash plain containers to 12 digits, whatever the order of their keys."""
    return _digest_of_text(_text(value))


def _text(value: object) -> str:
    return valid_json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def without_execution(value: _T) -> _T:
    """Return a part of the configuration without what says how it is run."""
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if key not in EXECUTION_KEYS}
        return cast(_T, {key: without_execution(item) for key, item in kept.items()})
    if isinstance(value, list):
        return cast(_T, [without_execution(item) for item in value])
    return value


def label(node: Config, choice: str) -> str:
    """Name a model or dataset in tables: its `name`, else the stem of its `path`, else its YAML."""
    if name := node.get("name"):
        return str(name)
    return stem_of(str(node.get("path") or "")) or choice


def _path_safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "_" for c in text)[:MAX_PART]


def _first_bytes(text: str, num_bytes: int) -> str:
    """Return the first letters of `text`, as many as fit into so many bytes."""
    return text.encode()[:num_bytes].decode(errors="ignore")
