"""The reference of every compressed model: the dense model's distributions and answers.

One file, `reference.safetensors`: per corpus float16 log-probabilities ([P, V]) and the likeliest
tokens ([P]), correctness per task and item, and in its header content hashes of the token ids and
documents they belong to.
"""

import hashlib
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep import atomic, valid_json
from calib_sweep.errors import StoreError
from calib_sweep.hashing import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

FILE = "reference.safetensors"
REMEDY = "Delete the dense cell's folder, in which it lies: the dense model is then scored again."


@dataclass(eq=False, kw_only=True)
class DenseReference:
    """Log-probabilities per corpus, correctness per task, and hashes of what they belong to."""

    log_probs: dict[str, "Tensor"]  # <corpus>@<seq_len> -> float16 [P, V]
    top: dict[str, "Tensor"]  # the same -> int32 [P]
    correct: dict[str, np.ndarray]  # task -> 0/1 per item
    hashes: dict[str, str]  # corpus or task -> content hash
    path: Path | None = None  # where it was loaded from
    _contents: dict[str, str | None] = field(default_factory=dict, repr=False)

    def save(self, folder: Path) -> None:
        """Write the reference into `folder`, whole or not at all."""
        import torch
        from safetensors.torch import save_file

        tensors = {f"log_probs/{name}": t.contiguous() for name, t in self.log_probs.items()}
        tensors |= {f"top/{name}": t.contiguous() for name, t in self.top.items()}
        tensors |= {f"correct/{name}": torch.from_numpy(a) for name, a in self.correct.items()}
        atomic.make_folder(Path(folder))
        with atomic.replacing(Path(folder) / FILE) as partial:
            save_file(tensors, partial, metadata={"hashes": valid_json.dumps(self.hashes)})

    @classmethod
    def load(cls, folder: Path, sha256: str | None = None) -> "DenseReference":
        """Read a reference back; `StoreError` where it is missing or damaged.

        `sha256`: of the file as it was written; None: nobody knows.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(folder) / FILE
        try:
            if sha256 is not None and file_sha256(path) != sha256:
                raise StoreError(
                    f"{path}: the dense model's reference is damaged: it is not the file that was "
                    f"written with its record. {REMEDY}"
                )
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                hashes = dict(json.loads((file.metadata() or {})["hashes"]))
        except PermissionError as error:
            raise StoreError(
                f"{path}: the dense model's reference cannot be read ({error.strerror}). It is "
                "not damaged: ask its owner to type chmod -R a+rX "
                f"{shlex.quote(str(path.parent.parent))}."
            ) from error
        except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path}: the dense model's reference cannot be read ({error}). {REMEDY}"
            ) from error
        of_kind: dict[str, dict[str, Tensor]] = {"log_probs": {}, "top": {}, "correct": {}}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            of_kind.setdefault(kind, {})[name] = tensor
        return cls(
            log_probs=of_kind["log_probs"],
            top=of_kind["top"],
            correct={name: tensor.numpy() for name, tensor in of_kind["correct"].items()},
            hashes=hashes,
            path=path,
        )

    def check(self, hashes: dict[str, str]) -> "DenseReference":
        """Return itself if it belongs to these windows and items, else raise `StoreError`."""
        others = [name for name, value in hashes.items() if self.hashes.get(name) != value]
        if others:
            raise self._error(f"made for other tokens or documents of {', '.join(others)}")
        return self

    def part(
        self, name: str, positions: slice, shape: tuple[int, int]
    ) -> tuple["Tensor", "Tensor"]:
        """Return log-probabilities and likeliest tokens at `positions` of a corpus.

        `shape`: of all log-probabilities that there should be of it, [P, V].
        """
        stored, top = self.log_probs.get(name), self.top.get(name)
        if stored is None or tuple(stored.shape) != shape:
            found = None if stored is None else tuple(stored.shape)
            raise self._error(f"log-probabilities of {name} have shape {found}, expected {shape}")
        if top is None or len(top) != len(stored):
            raise self._error(f"has no likeliest tokens of {name}")
        return stored[positions], top[positions]

    def content_of(self, name: str) -> str | None:
        """SHA-256 of what is kept of a corpus or task; None where nothing is."""
        if name not in self._contents:
            tensors = [of[name] for of in (self.log_probs, self.top) if name in of]
            found = [tensor.contiguous().numpy() for tensor in tensors]
            found += [self.correct[name]] if name in self.correct else []
            whole = hashlib.sha256()
            for array in found:
                whole.update(array.data)
            self._contents[name] = whole.hexdigest() if found else None
        return self._contents[name]

    def answers(self, task: str) -> np.ndarray:
        """Return the correctness of each item of `task`."""
        if task not in self.correct:
            raise self._error(f"has no answers of {task}")
        return self.correct[task]

    def _error(self, what: str) -> StoreError:
        return StoreError(
            f"{self.path or 'dense reference'}: {what}, so nothing is compared. {REMEDY}"
        )
