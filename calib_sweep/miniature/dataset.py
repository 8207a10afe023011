"""A miniature domain as a dataset: for calibration sets and for perplexity."""

from dataclasses import dataclass
from functools import lru_cache

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.documents.documents import Documents, generated
from calib_sweep.errors import collected, require
from calib_sweep.miniature import corpus
from calib_sweep.places import DOMAINS
from calib_sweep.values import is_int

# The pool of one domain: the seeds of a sweep walk over the same documents.
_document = lru_cache(maxsize=corpus.NUM_DOCUMENTS["calibration"])(corpus.document)


@dataclass(frozen=True, kw_only=True)
class MiniatureDataset(TextDataset):
    """The first `num_documents` generated documents of one domain and split."""

    name: str  # label in records and tables
    domain: str  # one of calib_sweep.places.DOMAINS
    split: str  # train, calibration or heldout; held-out text shares no sentence with the others
    num_documents: int  # the pool

    def __post_init__(self) -> None:
        most = corpus.NUM_DOCUMENTS.get(str(self.split), 1 << 30)
        with collected() as problems:
            problems.of(_check_word, "domain", self.domain, DOMAINS)
            problems.of(_check_word, "split", self.split, corpus.SPLITS)
            problems.of(
                require,
                is_int(self.num_documents, 1) and self.num_documents <= most,
                "dataset.num_documents",
                self.num_documents,
                f"a whole number from 1 to {most}, the documents of this split",
                "Example: dataset.num_documents=400.",
            )

    def documents(self) -> Documents:
        """Return the documents, each written when it is asked for."""
        return generated(
            self.num_documents,
            text=lambda i: _document(self.domain, self.split, i),
            id=lambda i: f"{self.domain}/{self.split}/{i}",
        )

    def provenance(self) -> dict[str, object]:
        """Describe the text, for the card of every set."""
        return {
            "source": "calib_sweep.miniature.corpus",
            "domain": self.domain,
            "split": self.split,
            "num_documents": self.num_documents,
            "version": corpus.VERSION,
            "license": "Apache-2.0",
        }

    def fingerprint(self) -> str:
        """Return the version of the generator."""
        return f"miniature-{corpus.VERSION}"

    def draw_name(self) -> str:
        """Return the domain: the same documents under any label."""
        return self.domain

    def sources(self) -> dict[str, str]:
        """The domain's split: however many documents of it, they begin with the same ones."""
        return {f"{self.domain}/{self.split}": f"miniature:{self.domain}/{self.split}"}


def _check_word(field: str, value: object, accepted: tuple[str, ...]) -> None:
    key, words = f"dataset.{field}", ", ".join(accepted)
    require(value in accepted, key, value, f"one of {words}", f"Example: {key}={accepted[0]}.")
