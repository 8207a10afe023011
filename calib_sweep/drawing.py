"""Draw the calibration sets of a `ModelDataset`: one process asks the model, the others wait.

    results_dir/calibration/<address>            the set, as any other; the address hashes the model
    results_dir/calibration/<address>.drawing    who draws it now

The claim is that of cells: when its holder dies, another process takes over.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.cell import Cell, without_execution
from calib_sweep.dataset.base import ModelDataset
from calib_sweep.dataset.calibration.artifact import folder_of, keep, load_kept
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.interruption import raise_if_told
from calib_sweep.model.hub import commit_of
from calib_sweep.results.claim import Watch, try_claim

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POLL_S = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseModel:
    """A loaded model that is not compressed, and what its weights depend on."""

    model: "PreTrainedModel"
    weights: Mapping[str, object]  # settings, hash of local files, commit on the hub

    @classmethod
    def of(cls, cell: Cell, content: str | None, model: "PreTrainedModel") -> "DenseModel":
        """Describe the model of `cell`; `content`: hash of the files it was read from, if local."""
        settings = without_execution(cell.config["model"])
        weights = {"model": settings, "content": content, "commit": commit_of(model)}
        return cls(model=model, weights=weights)


def draw_once(
    results_dir: Path,
    dataset: ModelDataset,
    dense: DenseModel,
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
) -> CalibrationSet:
    """Return the set of this model, dataset and seed; draw it unless some process has, or does."""
    folder = folder_of(results_dir, dataset, tokenizer, calibration, seed, dense.weights)
    watch = Watch()
    claims = folder.with_name(f"{folder.name}.drawing")
    while (kept := load_kept(folder)) is None:
        claim = try_claim(claims, watch)
        if claim is None:
            raise_if_told()
            time.sleep(POLL_S)
            continue
        with claim:
            kept = load_kept(folder)  # drawn between our look and our claim
            if kept is None:
                drawn = dataset.draw(dense.model, tokenizer, calibration, seed)
                kept = keep(drawn, folder, dataset.name, seed)
        break
    with contextlib.suppress(OSError):  # another process has it
        claims.rmdir()
    return kept
