"""Values of this program as plain files: a tree of JSON, and tensors beside it in safetensors.

    None, bool, int, str    as they are
    float                   {"float": hex}, to the last bit
    list, tuple, mapping    {"list": ...}, {"tuple": ...}, {"mapping": [[key, value], ...]}
    Tensor                  {"tensor": its name in the file}
    dataclass               {"class": "module:name", "fields": {...}}

Nothing is pickled: a file makes dataclasses whose modules this process has imported already, and
nothing else.
"""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from calib_sweep import atomic, valid_json

TREE = "tree"


class NotPlainError(Exception):
    """A value cannot be written as a plain file; the message names it."""


def write(path: Path, value: object) -> None:
    """Write `value` to the file `path`, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    tree = valid_json.dumps(_tree(value, tensors))
    with atomic.replacing(path) as partial:
        save_file(tensors, partial, metadata={TREE: tree})


def read(path: Path) -> Any:
    """Read what `write` wrote, tensors on the CPU."""
    with safe_open(path, framework="pt") as file:  # pyright: ignore[reportPrivateImportUsage]
        return _value(json.loads(file.metadata()[TREE]), file)


def to_device(value: Any, device: torch.device) -> Any:
    """Return a copy whose tensors are on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, list | tuple):
        return type(value)([to_device(item, device) for item in value])  # pyright: ignore
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if _is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _made(type(value), to_device(own, device))
    return value


def _tree(value: Any, tensors: dict[str, Tensor]) -> object:
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if isinstance(value, float):
        return {"float": float(value).hex()}
    if isinstance(value, Tensor):
        name = f"{len(tensors)}"
        tensors[name] = _own(value.detach().cpu().contiguous(), tensors.values())
        return {"tensor": name}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_tree(item, tensors) for item in value]}
    if isinstance(value, Mapping):
        items = [[_tree(key, tensors), _tree(item, tensors)] for key, item in value.items()]
        return {"mapping": items}
    if _is_dataclass(value):
        own = {f.name: _tree(getattr(value, f.name), tensors) for f in dataclasses.fields(value)}
        return {"class": _name_of(type(value)), "fields": own}
    raise NotPlainError(f"{type(value).__module__}.{type(value).__qualname__}")


def _own(tensor: Tensor, others: Iterable[Tensor]) -> Tensor:
    """Return the tensor in memory that no other one uses, as the format wants it."""
    is_alone = all(
        tensor.untyped_storage().data_ptr() != t.untyped_storage().data_ptr() for t in others
    )
    is_whole = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if is_alone and is_whole else tensor.clone()


def _is_dataclass(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _name_of(kind: type) -> str:
    name = f"{kind.__module__}:{kind.__qualname__}"
    if _class_of(name) is not kind:
        raise NotPlainError(f"{kind.__module__}.{kind.__qualname__}")
    return name


def _class_of(name: str) -> object:
    module, _, own = name.partition(":")
    return getattr(sys.modules.get(module), own, None)


def _value(tree: Any, file: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "class" in tree:
        kind, fields = _class_of(tree["class"]), tree["fields"]
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            raise NotPlainError(str(tree["class"]))
        return _made(kind, {name: _value(own, file) for name, own in fields.items()})
    ((form, own),) = tree.items()
    if form == "float":
        return float.fromhex(own)
    if form == "tensor":
        return file.get_tensor(own)
    if form == "mapping":
        return {_value(key, file): _value(item, file) for key, item in own}
    return {"list": list, "tuple": tuple}[form](_value(item, file) for item in own)


def _made(kind: type, fields: Mapping[str, Any]) -> Any:
    """Return an instance with these fields, of which its class may take some only when made."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made
