"""What a cell leaves beside its record: tables of items and layers, the reference, the model."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pandas as pd

from calib_sweep import atomic
from calib_sweep.compression.layer import LayerReport
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, without_candidates
from calib_sweep.evaluation.scoring import Scores
from calib_sweep.method.base import Method
from calib_sweep.model.card import model_card
from calib_sweep.model.packing import save_packed
from calib_sweep.model.saving import save_dense
from calib_sweep.parts.interfaces import PreparedEvaluation
from calib_sweep.places import ITEMS, LAYERS, REFERENCE
from calib_sweep.results.record import CalibrationNote, CompressionNote, Record, utc_now

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CARD = "README.md"  # of a model


@dataclass(frozen=True)
class Made:
    """The compression of a cell: its account, and where this comes from another cell, its files."""

    note: CompressionNote
    layers: list[LayerReport] | Path  # or the file of another cell that holds them
    kept: Path | None = None  # the model of another cell, in the form that is asked for


def write_tables(folder: Path, made: Made, scores: Scores) -> None:
    """Write the tables of items and layers, and the reference of the dense model."""
    if scores.reference is not None:
        scores.reference.save((folder / REFERENCE).parent)
    with atomic.replacing(folder / ITEMS) as partial:
        scores.items.to_parquet(partial, index=False)
    with atomic.replacing(folder / LAYERS) as partial:
        if isinstance(made.layers, Path):
            shutil.copyfile(made.layers, partial)
        else:
            table = pd.DataFrame([layer.row() for layer in made.layers])
            table.to_parquet(partial, index=False)


def write_model(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    method: Method,
    made: Made,
    record: Record,
) -> None:
    """Write the compressed model with its card, in the form asked for."""
    form = record.get("config", {})["save_model"]
    if made.kept is not None:
        _link_model(made.kept, folder)
    elif form == "dense":
        save_dense(model, tokenizer, folder)
    else:
        assert not isinstance(made.layers, Path)
        grids = {(r.block, r.layer): r.grid for r in made.layers if r.grid is not None}
        save_packed(model, tokenizer, folder, grids, method.grid_format())
    card = model_card({**record, "finished_at": utc_now()}, form)
    (folder / CARD).write_text(card, encoding="utf-8")


def _link_model(kept: Path, folder: Path) -> None:
    """Take over the files of a kept model, by hard links where they can be, but for its card."""
    without = shutil.ignore_patterns(CARD)
    shutil.copytree(kept, folder, ignore=without, copy_function=_link_or_copy, dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def describe_set(
    drawn: CalibrationSet | None,
    descriptors: Mapping[str, float | None],
    suite: PreparedEvaluation,
) -> CalibrationNote | None:
    """Return what a record says of its calibration set; None for a method that needs no data."""
    if drawn is None:
        return None
    folder = None if drawn.folder is None else drawn.folder.name
    kept: dict[str, object] = {"descriptors": {**drawn.card.get("descriptors", {}), **descriptors}}
    kept |= {"folder": folder, "overlap": suite.overlap(drawn.tokens_NT, drawn.lengths_N)}
    card = without_candidates(drawn.card)
    return cast(CalibrationNote, {"hash": drawn.hash, **card, **kept})
