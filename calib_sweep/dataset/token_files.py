"""Token ids of others, out of the files that calibration scripts leave. No pickle is ever run.

  .npy .safetensors   an array [samples, tokens]; of several tensors, input_ids or tokens
  .json .jsonl        rows of ids, or objects with input_ids
  .pt .pth            what torch.save wrote of plain tensors: an array [samples, tokens], a list of
                      rows [tokens] or [1, tokens], of objects with input_ids, or of the (input,
                      target) pairs of the GPTQ and SparseGPT loaders; a mapping with input_ids

An attention_mask beside input_ids says where padding begins.

Shapes: N samples, T tokens.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from calib_sweep.errors import ConfigError

TOKEN_FILES = (".safetensors", ".npy", ".json", ".jsonl", ".pt", ".pth")
IDS, MASK = ("input_ids", "tokens"), "attention_mask"


def read_token_ids(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return token ids [N, T] as int64, and lengths [N] where there is padding."""
    from safetensors import SafetensorError

    try:
        found = _load(file)
        tokens_NT, mask_NT = _array(_part(found, *IDS)), _mask(found)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"dataset.path={str(file)!r}: expected tensors, but the file holds other Python "
            "objects, which reading would have to run. Where you trust it, save its tensor alone: "
            "torch.save(ids, 'ids.pt'), or numpy.save."
        ) from error
    except (ValueError, TypeError, OSError, RuntimeError, SafetensorError, EOFError) as error:
        reason = next(iter(str(error).splitlines()), "it is empty")
        raise ConfigError(
            f"dataset.path={str(file)!r}: expected an array of token ids [samples, tokens], but "
            f"the file cannot be read as one ({reason}). Save it with numpy.save, or as lists of "
            "one length."
        ) from error
    if tokens_NT.ndim != 2 or tokens_NT.dtype.kind not in "iu" or not tokens_NT.size:
        raise ConfigError(
            f"dataset.path={str(file)!r}: expected integers [samples, tokens], but found "
            f"{tokens_NT.dtype} {list(tokens_NT.shape)}. Save one row of token ids per sample."
        )
    return tokens_NT.astype(np.int64), _lengths(file, tokens_NT, mask_NT)


def _load(file: Path) -> Any:
    if file.suffix == ".npy":
        return np.load(file, allow_pickle=False)
    if file.suffix == ".json":
        return json.loads(file.read_text(encoding="utf-8-sig"))
    if file.suffix == ".jsonl":
        lines = file.read_text(encoding="utf-8-sig").split("\n")
        return [json.loads(line) for line in lines if line.strip()]
    if file.suffix == ".safetensors":
        from safetensors.numpy import load_file

        tensors = load_file(file)
        return next(iter(tensors.values())) if len(tensors) == 1 else tensors
    import torch

    return torch.load(file, map_location="cpu", weights_only=True)


def _part(found: Any, *names: str) -> Any:
    """Return what stands under one of `names`, in an object or in each object of a list."""
    if isinstance(found, list) and found and all(isinstance(row, Mapping) for row in found):
        return [_part(row, *names) for row in found]
    if not isinstance(found, Mapping):
        return found
    if (name := next((name for name in names if name in found), None)) is None:
        wanted = " or ".join(f"'{name}'" for name in names)
        raise ValueError(f"it holds {sorted(map(str, found))}, and none is called {wanted}")
    return found[name]


def _mask(found: Any) -> np.ndarray | None:
    first = found[0] if isinstance(found, list) and found else found
    if not isinstance(first, Mapping) or MASK not in first:
        return None
    return _array(_part(found, MASK))


def _array(value: Any) -> np.ndarray:
    if isinstance(value, list | tuple):
        return np.array([_row(row) for row in value])
    return np.asarray(value)


def _row(value: Any) -> np.ndarray:
    """Return a sample [T]: of a pair (input, target) the input, of [1, T] its row."""
    is_pair = isinstance(value, list | tuple) and len(value) == 2 and np.ndim(value[0]) > 0
    row = np.asarray(value[0] if is_pair else value)
    return row[0] if row.ndim == 2 and len(row) == 1 else row


def _lengths(file: Path, tokens_NT: np.ndarray, mask_NT: np.ndarray | None) -> np.ndarray | None:
    if mask_NT is None or (mask_NT.shape == tokens_NT.shape and mask_NT.all()):
        return None
    length_N = mask_NT.astype(bool).sum(axis=-1).astype(np.int64)
    is_text_NT = np.arange(tokens_NT.shape[1]) < length_N[..., None]
    if (
        mask_NT.shape != tokens_NT.shape
        or not length_N.all()
        or (is_text_NT != mask_NT.astype(bool)).any()
    ):
        raise ConfigError(
            f"dataset.path={str(file)!r}: expected an attention_mask of the shape of input_ids "
            f"{list(tokens_NT.shape)} whose rows begin with ones and end with zeros. Pad on the "
            "right, or save rows without padding."
        )
    return length_N
