"""What the samples of a set share with each other and with those of other sets.

Shapes: N samples, T tokens of a sample.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from calib_sweep.cell import digest
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.overlap import run_hashes

WINDOW_TOKENS = 50
# Of a provenance: what says which documents of a source are taken, and under which terms.
OF_THE_EXTENT = ("files", "where", "num_documents", "license")


class Pair(NamedTuple):
    """Two samples of a set that are nearly the same."""

    one: int
    other: int
    likeness: float  # as `near_duplicates` estimates it


def find_duplicates(calibration_set: CalibrationSet) -> list[list[int]]:
    """Groups of samples with exactly the same tokens."""
    places: dict[bytes, list[int]] = {}
    for sample, row in enumerate(calibration_set.tokens_NT):
        places.setdefault(row.tobytes(), []).append(sample)
    return [group for group in places.values() if len(group) > 1]


def shared_documents(one: CalibrationSet, other: CalibrationSet) -> int:
    """Count the documents that both sets drew from.

    Names of documents are compared within one source: others number theirs alike.
    """
    return len(_documents(one) & _documents(other))


def window_hashes(one: CalibrationSet) -> np.ndarray:
    """Return hashes of the different 50-token windows of a set, sorted."""
    return run_hashes(one.tokens_NT, one.lengths_N, WINDOW_TOKENS)


def share_of(mine_W: np.ndarray, theirs_W: np.ndarray) -> float:
    """Return the share of `mine_W` that is in `theirs_W`; 0 of nothing."""
    return float(np.isin(mine_W, theirs_W).mean()) if len(mine_W) else 0.0


def _documents(calibration_set: CalibrationSet) -> set[tuple[str, ...]]:
    """Return source and name of each document that samples are from.

    A sample that was made, not cut out of a document, is told apart by its text too: what a model
    writes has the same names for every model.
    """
    cards = _cards_of(calibration_set.card)
    sources = {part: _source_of(card) for part, card in cards.items()}
    found = set()
    for sample in calibration_set.samples:
        part = sample.get("part")
        is_made = cards[part].get("pool", {}) is None
        own = (sources[part], sample["text"] if is_made else "")
        found |= {(*own, name) for name in sample.get("documents", [sample["document"]])}
    return found


def _cards_of(card: Mapping[str, Any]) -> dict[str | None, Mapping[str, Any]]:
    """Return the cards of a mixture's parts by name; of any other set its own, under None."""
    parts = card.get("provenance", {}).get("parts")
    if not parts:
        return {None: card}
    inner = {key: _cards_of(part["card"]) for key, part in parts.items()}
    return {own or key: leaf for key, cards in inner.items() for own, leaf in cards.items()}


def _source_of(card: Mapping[str, Any]) -> str:
    """Name what documents are from: by content, else by all that is told of it but its extent."""
    told = card.get("provenance", {})
    if told.get("fingerprint") is not None:
        return digest([told["fingerprint"], told.get("column")])
    return digest({key: value for key, value in told.items() if key not in OF_THE_EXTENT})
