"""A miniature domain in another language: the same texts with every letter exchanged.

Letters move by thirteen places (a and n change places), case and all other signs stay. So lengths,
repetition and punctuation are those of the domain, and the model has read none of its words.
"""

import codecs
from dataclasses import dataclass, replace

from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.miniature.dataset import MiniatureDataset


@dataclass(frozen=True, kw_only=True)
class ForeignMiniature(MiniatureDataset):
    """The documents of a `MiniatureDataset`, letter by letter in another alphabet."""

    def documents(self) -> Documents:
        """Return the documents, each written when it is asked for."""
        own = super().documents()
        return replace(
            own,
            read=lambda positions: [codecs.encode(text, "rot13") for text in own.read(positions)],
            id=lambda i: f"foreign/{own.id(i)}",
        )

    def sources(self) -> dict[str, str]:
        """Return the domain's split, by another name: none of its text is the domain's."""
        return {f"foreign/{name}": f"foreign/{text}" for name, text in super().sources().items()}
