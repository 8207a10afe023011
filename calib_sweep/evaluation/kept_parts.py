"""Parts that a cell has scored before it is done, kept beside it: whoever runs it again has them.

    results_dir/SWEEP/CELL/.scored/HASH.safetensors    one part: tensors, the rest as JSON in the
                                                       header; HASH of its name and identity

A part is taken up where the model has the same weights, on the same machine with the same versions,
so that the cell's scores are those of one run to the last bit. Whatever else lies there, damaged or
of another model, is told and left alone. What is scored within `EVERY_S` is kept together, so a
cell that is scored faster writes nothing.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calib_sweep import atomic, valid_json
from calib_sweep.evaluation.items import COLUMNS
from calib_sweep.evaluation.parts import Part, identity

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

EVERY_S = 30.0  # at least
PAUSE = 19  # times what the last writing took: at most a twentieth of the time is spent on it
TENSORS = ("log_probs", "top", "correct")  # fields of a part


class KeptParts:
    """The parts of one cell on disk."""

    def __init__(self, folder: Path, wanted: Mapping[str, str], made_from: str) -> None:
        """`wanted`: identity of each part. `made_from`: hash of all else that moves its scores."""
        self.folder, self.wanted, self.made_from = folder, wanted, made_from
        self.seconds_before = 0.0  # that scoring took of what is read
        self._waiting: list[tuple[Part, float]] = []
        self._last = self._begun = time.monotonic()
        self._pause = EVERY_S

    def keep(self, part: Part) -> None:
        """Keep a part that has been scored, with those before it that are not kept yet."""
        now = time.monotonic()
        self._waiting.append((part, now - self._begun))
        self._begun = now
        if now - self._last < self._pause:
            return
        from safetensors import SafetensorError

        try:
            atomic.make_folder(self.folder)
            for one, seconds in self._waiting:
                self._write(one, seconds)
        except (OSError, SafetensorError) as error:  # a full disk: the cell goes on
            log.warning("what was scored so far cannot be kept in %s: %s", self.folder, error)
        self._waiting = []
        self._last = self._begun = time.monotonic()
        self._pause = max(EVERY_S, PAUSE * (self._last - now))

    def read(self) -> dict[str, Part]:
        """Return the parts that were kept by an earlier run of the cell."""
        found: dict[str, Part] = {}
        for name in self.wanted if self.folder.is_dir() else ():
            path = self._path(name)
            try:
                part = self._read(path, name)
            except FileNotFoundError:
                continue
            except Exception as error:  # whatever a damaged file makes its readers raise
                log.warning("%s: %s; %s is scored again", path, error, name)
                continue
            found[name] = part
        if found:
            log.info("%s: scored by an earlier run of this cell", ", ".join(found))
        return found

    def _path(self, name: str) -> Path:
        return self.folder / f"{identity(name=name, own=self.wanted[name])}.safetensors"

    def _write(self, part: Part, seconds: float) -> None:
        from safetensors.torch import save_file

        tensors = _tensors_of(part)
        text = valid_json.dumps(_plain({f.name: getattr(part, f.name) for f in fields(Part)}))
        header = {"part": text, "made_from": self.made_from, "seconds": str(seconds)}
        header["sha256"] = _digest(text, tensors)
        with atomic.replacing(self._path(part.name)) as partial:
            save_file(tensors, partial, metadata=header)

    def _read(self, path: Path, name: str) -> Part:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            if header.get("made_from") != self.made_from:
                raise ValueError("made from other weights, or on another machine")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if header["sha256"] != _digest(header["part"], tensors):
            raise ValueError("it is damaged")
        part = Part(**_with_numbers(json.loads(header["part"])), **_fields_of(tensors))
        assert part.name == name
        self.seconds_before += float(header["seconds"])
        return part


def _tensors_of(part: Part) -> dict[str, "Tensor"]:
    import torch

    found = {name: getattr(part, name) for name in TENSORS}
    return {
        name: torch.as_tensor(value).contiguous()
        for name, value in found.items()
        if value is not None
    }


def _fields_of(tensors: Mapping[str, "Tensor"]) -> dict[str, Any]:
    return {name: of.numpy() if name == "correct" else of for name, of in tensors.items()}


def _digest(text: str, tensors: Mapping[str, "Tensor"]) -> str:
    whole = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        whole.update(name.encode())
        whole.update(tensors[name].numpy().data)
    return whole.hexdigest()


def _plain(fields_: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are no tensors, with Python's own numbers."""
    kept = {name: value for name, value in fields_.items() if name not in TENSORS}
    rows = {
        column: [value.item() if hasattr(value, "item") else value for value in values]
        for column, values in kept["rows"].items()
    }
    return kept | {"rows": rows}


def _with_numbers(read: dict[str, Any]) -> dict[str, Any]:
    """Turn texts back that stand for numbers which are not finite."""
    rows = {
        column: values if COLUMNS[column] == "string" else [*map(valid_json.numbers, values)]
        for column, values in read["rows"].items()
    }
    numbers = {key: valid_json.numbers(read[key]) for key in ("scores", "stderr")}
    return read | {"rows": rows} | numbers
