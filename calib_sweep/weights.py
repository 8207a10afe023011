"""The weights of a cell that finished cells made before (`results.kin`): read from a kept model.

They are held against the fingerprint of what was scored: the scores of one cell never come from two
models. What gives back other weights, a rounded scale say, is compressed again.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from calib_sweep.cell import Cell
from calib_sweep.cell_files import Made
from calib_sweep.errors import ConfigError
from calib_sweep.model.fingerprint import weights_fingerprint
from calib_sweep.model.loading import HubModel
from calib_sweep.parts.interfaces import Model
from calib_sweep.places import LAYERS
from calib_sweep.ranks import ALONE, Ranks
from calib_sweep.results.kin import Kin, require_one_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)


def made_before(
    model: "PreTrainedModel",
    cell: Cell,
    part: Model,
    kin: Sequence[Kin],
    ranks: Ranks = ALONE,
    *,
    is_asked: bool,
) -> Made | None:
    """Return the compression of a cell as a finished one tells it, or None: it has to be made.

    If anything `is_asked` of `model`, it then has the weights that this cell kept. None: its
    weights may be any. `ranks`: one that cannot read what the others can has all make it again.
    """
    made = _made_before(model, cell, part, kin, is_asked=is_asked)
    return made if all(ranks.gathered([made is not None])) else None


def _made_before(
    model: "PreTrainedModel", cell: Cell, part: Model, kin: Sequence[Kin], *, is_asked: bool
) -> Made | None:
    form = cell.config["save_model"]
    for one in kin:
        kept = None if form is None else one.model(form)
        if not one.has_layers() or (form is not None and kept is None):
            continue
        require_one_model(cell, kin, one.fingerprint, f"as cell {one.id} made them")
        if not is_asked or any(
            _read_weights(model, cell, part, path, one) for path in one.models()
        ):
            return Made(one.compression, one.folder / LAYERS, kept)
    return None


def _read_weights(
    model: "PreTrainedModel", cell: Cell, part: Model, folder: Path, kin: Kin
) -> bool:
    """Give `model` the weights of a kept one; tell whether they are the very ones.

    All of them: a tool of others may have changed more than the blocks.
    """
    if not isinstance(part, HubModel):
        return False  # a class of the user's reads in its own way
    if cell.config.get("rotation") is not None:
        return False  # its head may be a matrix of its own, which `model` has not
    try:
        where = {"path": str(folder), "revision": None, "device": "cpu", "offload": None}
        kept = dict(dataclasses.replace(part, **where).load().named_parameters())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(kept[name])
    except (ConfigError, KeyError, RuntimeError) as error:
        log.warning("%s cannot be read (%s), so it is compressed again", folder, error)
        return False
    if weights_fingerprint(model) == kin.fingerprint:
        return True
    log.info("%s rounds its weights, so they are compressed again", folder)
    return False
