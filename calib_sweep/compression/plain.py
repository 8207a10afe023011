"""Values of this program as plain files: a tree of JSON, and tensors beside it in safetensors.

    None, bool, int, str    as they are
    float                   {"float": hex}, to the last bit
    list, tuple, mapping    {"list": ...}, {"tuple": ...}, {"mapping": [[key, value], ...]}
    Tensor                  {"tensor": its name in the file, "device": "cpu", "cuda", ...}
    object                  {"class": "module:name", "fields": {...}}

Objects are those of dataclasses and of other classes that are all attributes. Nothing is pickled,
and no code of a class runs: a file only fills attributes of classes that this process knows.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from calib_sweep import atomic, valid_json

TREE = "tree"


class NotPlainError(Exception):
    """A value cannot be written as a plain file; the message names it."""


def write(path: Path, value: object) -> None:
    """Write `value` to the file `path`, whole or not at all; `OSError` where it finds no room."""
    tensors: dict[str, Tensor] = {}
    tree = valid_json.dumps(_tree(value, tensors))
    with atomic.replacing(path) as partial:
        try:
            save_file(tensors, partial, metadata={TREE: tree})
        except SafetensorError as error:  # what it makes of a full disk, too
            raise OSError(f"{path} cannot be written: {error}") from error


def read(path: Path, device: torch.device) -> Any:
    """Read what `write` wrote; what was on an accelerator goes to `device`."""
    with safe_open(path, framework="pt") as file:  # pyright: ignore[reportPrivateImportUsage]

        def tensor(name: str, kind: str) -> Tensor:
            return file.get_tensor(name).to("cpu" if kind == "cpu" else device)

        return _value(json.loads(file.metadata()[TREE]), tensor)


def _tree(value: Any, tensors: dict[str, Tensor]) -> object:
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if isinstance(value, float):
        return {"float": float(value).hex()}
    if isinstance(value, Tensor):
        name = f"{len(tensors)}"
        tensors[name] = _own(value.detach().cpu().contiguous(), tensors.values())
        return {"tensor": name, "device": value.device.type}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_tree(item, tensors) for item in value]}
    if isinstance(value, Mapping):
        items = [[_tree(key, tensors), _tree(item, tensors)] for key, item in value.items()]
        return {"mapping": items}
    names = _attributes(value)
    own = {name: _tree(getattr(value, name), tensors) for name in names}
    return {"class": _name_of(type(value)), "fields": own}


def _own(tensor: Tensor, others: Iterable[Tensor]) -> Tensor:
    """Return the tensor in memory that no other one uses, as the format wants it."""
    is_alone = all(
        tensor.untyped_storage().data_ptr() != t.untyped_storage().data_ptr() for t in others
    )
    is_whole = tensor.untyped_storage().nbytes() == tensor.nbytes
    return tensor if is_alone and is_whole else tensor.clone()


def _attributes(value: object) -> list[str]:
    """Names of all that an object is made of; `NotPlainError` where there may be more to it."""
    kind = type(value)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        more = getattr(value, "__dict__", {}).keys() - set(names)
        if all(isinstance(getattr(kind, name, None), cached_property) for name in more):
            return names
        raise NotPlainError(f"{kind.__module__}.{kind.__qualname__}")
    plain = kind.__new__ is object.__new__ and kind.__reduce_ex__ is object.__reduce_ex__
    if not plain or hasattr(kind, "__setstate__") or not hasattr(value, "__dict__"):
        raise NotPlainError(f"{kind.__module__}.{kind.__qualname__}")
    return list(vars(value))


def _name_of(kind: type) -> str:
    name = f"{kind.__module__}:{kind.__qualname__}"
    if _class_of(name) is not kind:
        raise NotPlainError(f"{kind.__module__}.{kind.__qualname__}")
    return name


def _class_of(name: str) -> object:
    module, _, own = name.partition(":")
    return getattr(sys.modules.get(module), own, None)


def _value(tree: Any, tensor: Callable[[str, str], Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "class" in tree:
        kind = _class_of(tree["class"])
        if not isinstance(kind, type):
            raise NotPlainError(str(tree["class"]))
        return _made(kind, {name: _value(own, tensor) for name, own in tree["fields"].items()})
    if "tensor" in tree:
        return tensor(tree["tensor"], tree["device"])
    ((form, own),) = tree.items()
    if form == "float":
        return float.fromhex(own)
    if form == "mapping":
        return {_value(key, tensor): _value(item, tensor) for key, item in own}
    return {"list": list, "tuple": tuple}[form](_value(item, tensor) for item in own)


def _made(kind: type, fields: Mapping[str, Any]) -> Any:
    """Return an instance with these fields, of which its class may take some only when made."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made
