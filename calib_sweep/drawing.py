"""Draw the calibration sets that need the model: one process asks it, the others wait.

    results_dir/calibration/<address>            the set, as any other; the address hashes the model
    results_dir/calibration/<address>.drawing    who draws it now

The claim is that of cells: when its holder dies, another process takes over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.cell import Cell, by_kind, without_execution
from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration.artifact import folder_of, keep, load_or_set_aside
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.lengths import draw_set
from calib_sweep.dataset.calibration.own_tokenizer import own_tokenizer
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.documents.keeping import kept_in
from calib_sweep.errors import StoreError
from calib_sweep.model.hub import commit_of
from calib_sweep.places import DRAWING
from calib_sweep.results.once import once
from calib_sweep.seeding import global_seeds_of, stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseModel:
    """A loaded model that is not compressed, and what its weights depend on."""

    model: "PreTrainedModel"
    weights: Mapping[str, object]  # settings, hashes of local files and own code, commit on the hub

    @classmethod
    def of(
        cls, cell: Cell, content: str | None, code: str | None, model: "PreTrainedModel"
    ) -> "DenseModel":
        """Describe the model of `cell`.

        `content`: hash of the files it was read from, if local. `code`: of classes not ours.
        """
        settings = by_kind(without_execution(cell.config["model"]))
        weights = {"model": settings, "content": content, "commit": commit_of(model)}
        return cls(model=model, weights=weights | ({} if code is None else {"code": code}))


def draw(
    dataset: Dataset,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
) -> CalibrationSet:
    """Have the model draw a set: by global random states that are this dataset's and seed's.

    `model.generate` samples by them and takes no generator. The tokenizer is a copy, as others use
    it afterwards.
    """
    own = stream("calibration/model", dataset.draw_name(), seed)
    with global_seeds_of(own, model.device), own_tokenizer(tokenizer) as copied:
        return draw_set(dataset, copied, calibration, seed, model)


def draw_once(
    results_dir: Path,
    dataset: Dataset,
    dense: DenseModel,
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
    code: str | None = None,
) -> CalibrationSet:
    """Return the set of this model, dataset and seed; draw it unless some process has, or does.

    `code`: hash of the code of the dataset's classes, where some are not ours.
    """
    folder = folder_of(results_dir, dataset, tokenizer, calibration, seed, code, dense.weights)

    def make() -> CalibrationSet:
        with kept_in(results_dir):
            drawn = draw(dataset, dense.model, tokenizer, calibration, seed)
        drawn = replace(drawn, card=drawn.card | {"model": dense.weights})
        drawn = keep(drawn, folder, dataset.name, seed)
        return _load(folder) or drawn  # who took over from us may have kept theirs first

    return once(folder.with_name(f"{folder.name}{DRAWING}"), lambda: _load(folder), make)


def _load(folder: Path) -> CalibrationSet | None:
    """Return the set that was drawn before, or None; `StoreError` where it cannot be read."""
    try:
        return load_or_set_aside(folder)
    except StoreError as error:
        raise StoreError(
            f"{error} It is not drawn for each cell meanwhile: the model drew it, and on another "
            "machine may draw other tokens."
        ) from error
