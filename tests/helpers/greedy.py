"""A dataset from outside the package that lets the model write its own calibration text."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.sampling import make_card
from calib_sweep.seeding import stream


@dataclass(frozen=True, kw_only=True)
class Greedy(Dataset):
    """Each sample goes on from a random token by what the model finds likeliest."""

    name: str
    notes: str  # a file that gets a line for each draw
    wait_s: float = 0.0

    needs_model = True

    def draw(self, tokenizer, calibration, seed, model=None):
        with Path(self.notes).open("a") as notes:
            notes.write(f"{seed}\n")
        time.sleep(self.wait_s)
        first = stream("tests/greedy", self.name, seed).integers(
            3, len(tokenizer), size=(calibration.num_samples, 1)
        )
        tokens_NT = torch.from_numpy(first)
        with torch.inference_mode():
            while tokens_NT.shape[1] < calibration.seq_len:
                following = model(input_ids=tokens_NT, use_cache=False).logits[:, -1].argmax(-1)
                tokens_NT = torch.cat([tokens_NT, following[:, None]], dim=1)
        rows = tokens_NT.numpy().astype(np.int64)
        samples = [
            {"document": f"{seed}:{i}", "offset": 0, "text": tokenizer.decode(row)}
            for i, row in enumerate(rows)
        ]
        card = make_card(self.name, {"source": "the model"}, None, calibration, seed, tokenizer)
        return CalibrationSet(tokens_NT=rows, lengths_N=None, samples=samples, card=card)

    def fingerprint(self):
        return None
