"""What every compressed model is compared with: the dense model's distributions and answers.

One file, `reference.safetensors`: float16 log-probabilities per corpus ([P, V]), correctness per item and task, and
in its header the content hashes of the token ids and documents that they belong to.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.errors import StoreError

if TYPE_CHECKING:
    from torch import Tensor

FILE = "reference.safetensors"
REMEDY = "Delete that folder to have the dense model scored again."


@dataclass(eq=False)
class DenseReference:
    """Log-probabilities per corpus, correctness per task, and the hashes of what they belong to."""

    log_probs: dict[str, "Tensor"]  # <corpus>@<seq_len> -> float16 [P, V]
    correct: dict[str, np.ndarray]  # task -> 0/1 per item
    hashes: dict[str, str]
    folder: Path | None = None  # where it was loaded from

    def save(self, folder: Path) -> None:
        """Write the reference into `folder`, whole or not at all."""
        import torch
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"log_probs/{name}": t.contiguous() for name, t in self.log_probs.items()}
        tensors |= {f"correct/{name}": torch.from_numpy(a) for name, a in self.correct.items()}
        partial = folder / f"{FILE}.{os.getpid()}.partial"
        save_file(tensors, partial, metadata={"hashes": json.dumps(self.hashes)})
        partial.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> "DenseReference":
        """Read a reference back; `StoreError` where it is missing or damaged."""
        from safetensors import SafetensorError, safe_open

        path = Path(folder) / FILE
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                hashes = json.loads((file.metadata() or {})["hashes"])
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise StoreError(
                f"{path}: the dense model's reference cannot be read ({error}). {REMEDY}"
            ) from error
        parts: dict[str, dict] = {"log_probs": {}, "correct": {}}
        for key, tensor in tensors.items():
            kind, name = key.split("/", 1)
            parts[kind][name] = tensor.numpy() if kind == "correct" else tensor
        return cls(parts["log_probs"], parts["correct"], hashes, Path(folder))

    def check(self, hashes: dict[str, str]) -> "DenseReference":
        """Return itself if it belongs to exactly these windows and items, else raise `StoreError`."""
        differing = [name for name, value in hashes.items() if self.hashes.get(name) != value]
        if differing:
            raise StoreError(
                f"{self.folder or 'dense reference'}: made for other token ids or documents of "
                f"{', '.join(differing)}, so nothing can be compared with it. {REMEDY}"
            )
        return self

    def part(self, name: str, positions: slice, num_positions: int, vocabulary: int) -> "Tensor":
        """The log-probabilities at `positions`; `StoreError` unless there are just as many as expected."""
        stored = self.log_probs.get(name)
        shape = None if stored is None else tuple(stored.shape)
        if stored is None or shape != (num_positions, vocabulary):
            raise StoreError(
                f"{self.folder or 'dense reference'}: log-probabilities of {name} have shape {shape}, expected "
                f"{(num_positions, vocabulary)}. {REMEDY}"
            )
        return stored[positions]
