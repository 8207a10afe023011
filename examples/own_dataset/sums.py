"""Sums: calibration text of one's own that is no file: additions, written out.

In the folder of this file:

    python -m calib_sweep inspect --config-dir conf dataset=sums seed=0
    python -m calib_sweep -m --config-dir conf dataset=sums,mini_web method=wanda seed=0,1

A dataset with documents derives from `TextDataset` and can be scored as well; one without derives
from `Dataset` and draws its sets by itself, as calib_sweep/dataset/vocabulary.py does. For text
in files no class is needed: dataset=text dataset.path=PATH.
"""

from dataclasses import dataclass
from typing import Any

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.documents.documents import Documents, generated
from calib_sweep.seeding import stream


@dataclass(frozen=True, kw_only=True)
class Sums(TextDataset):
    """Documents of additions."""

    name: str  # label in records and tables; also names the random streams of the draw
    num_documents: int  # the pool
    largest: int  # number that is added

    def documents(self) -> Documents:
        """Return all documents, in an order that never changes; each is written when asked for."""
        return generated(self.num_documents, text=self._document, id=lambda i: f"sums/{i}")

    def provenance(self) -> dict[str, Any]:
        """Return what the card of every set says of the text."""
        return {"source": "additions", "largest": self.largest, "license": "CC0-1.0"}

    def fingerprint(self) -> None:
        """Return no hash of files: there are none, and the settings say all."""

    def _document(self, index: int) -> str:
        pairs = stream("sums", index).integers(self.largest + 1, size=(100, 2))
        return " ".join(f"{a} and {b} are {a + b}." for a, b in pairs)
