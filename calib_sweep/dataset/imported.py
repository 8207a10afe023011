"""Calibration sets that were drawn elsewhere: folders of this package, or anybody's token ids.

  a calibration folder   tokens, samples and card as written; drawn with the model's tokenizer
  token ids [N, T]       .safetensors .npy .json .jsonl .pt (`token_files`); whose tokenizer it was
                         must be stated
  a folder of several    seed k takes the k-th: ours by the dataset and seed of their cards, token
                         files by name
  a hub repository       what the verb `export` pushed: a folder of several

The design, window and bos of the configuration say nothing about such a set; the card keeps what
the set itself says. `num_samples` takes the first ones, `seq_len` must be the width of the set.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration.artifact import is_set, load_set
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, ends_of
from calib_sweep.dataset.calibration.sampling import make_card
from calib_sweep.dataset.calibration.settings import Calibration, check_seed
from calib_sweep.dataset.documents.files import fingerprint_files
from calib_sweep.dataset.documents.repository import Repository
from calib_sweep.dataset.documents.tokenizing import tokenizer_hash
from calib_sweep.dataset.token_files import TOKEN_FILES, read_token_ids
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.places import CARD, SAMPLES, TOKENS, expanded
from calib_sweep.wording import counted, typed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Imported(Dataset):
    """Finished calibration sets, taken as they are."""

    name: str  # label in records and tables
    path: str | None  # calibration folder, token file, or a folder of several; null: the hub
    hub_id: str | None  # owner/name of a dataset repository that holds released sets
    revision: str | None  # its commit; null: whatever the hub serves today
    tokenizer: str | None  # whose tokenizer made the ids of a token file; null: folders of ours
    license: str | None

    def __post_init__(self) -> None:
        with collected() as problems:
            for field, example, needed in (
                ("name", "my_sets", True),
                ("path", "results/calibration/FOLDER", self.hub_id is None),
                ("hub_id", "me/c4-calibration-sets", False),
            ):
                value = getattr(self, field)
                is_fine = (value is None and not needed) or (isinstance(value, str) and value != "")
                key, expected = f"dataset.{field}", "a non-empty string"
                remedy = f"Example: dataset.{field}={example}."
                problems.of(require, is_fine, key, value, expected, remedy)

    def draw(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel | None" = None,
    ) -> CalibrationSet:
        """The set that stands at position `seed`."""
        check_seed(seed)
        places = self._places()
        require(
            seed < len(places),
            "seed",
            seed,
            f"at most {len(places) - 1}, as {self.path or self.hub_id} holds "
            f"{counted(len(places), 'calibration set')}",
            f"Example: {typed('seed', len(places) - 1)}.",
        )
        place = places[seed]
        found = load_set(place) if place.is_dir() else self._from_tokens(place, tokenizer, seed)
        self._check_tokenizer(found, place, tokenizer)
        return _take_first(found, place, calibration)

    def provenance(self) -> dict[str, Any]:
        """Return where the sets are from."""
        return {
            "source": self.path or self.hub_id,
            "tokenizer": self.tokenizer,
            "license": self.license,
        }

    def fingerprint(self) -> str:
        """Content hash of all sets behind `path`."""
        places = self._places()
        place = self._place()
        root = place if place.is_dir() else place.parent
        parts = (TOKENS, SAMPLES, CARD)
        files = [f for p in places for f in ([p / part for part in parts] if p.is_dir() else [p])]
        return fingerprint_files(root, files)

    def _place(self) -> Path:
        """Return where the sets are; from the hub, where its files have been fetched to."""
        if self.path is not None:
            return expanded(self.path)
        assert self.hub_id is not None, self
        files = [f"*/{part}" for part in (CARD, SAMPLES, TOKENS)]
        return Repository(
            label=self.name, hub_id=self.hub_id, revision=self.revision, data_files=files
        ).root()

    def _places(self) -> Sequence[Path]:
        """The sets behind `path`, in the order in which seeds take them."""
        place = self._place()
        if is_set(place) or (place.is_file() and place.suffix in TOKEN_FILES):
            return [place]
        if not place.is_dir():
            kinds = ", ".join(TOKEN_FILES)
            raise ConfigError(
                f"dataset.path={self.path!r}: expected a calibration folder, a token file "
                f"({kinds}) or a folder of several, but there is none. Correct the path."
            )
        ours = sorted((p for p in place.iterdir() if is_set(p)), key=_card_order)
        files = sorted(p for p in place.iterdir() if p.suffix in TOKEN_FILES)
        if bool(ours) == bool(files):
            what = "both" if ours else "neither"
            raise ConfigError(
                f"dataset.path={str(place)!r}: expected calibration folders or token files, but "
                f"found {what}. Put one kind into a folder of its own."
            )
        return ours or files

    def _from_tokens(
        self, file: Path, tokenizer: "PreTrainedTokenizerBase", seed: int
    ) -> CalibrationSet:
        require(
            isinstance(self.tokenizer, str) and self.tokenizer != "",
            "dataset.tokenizer",
            self.tokenizer,
            "the name of the tokenizer that made these token ids",
            "Example: dataset.tokenizer=huggyllama/llama-7b.",
        )
        tokens_NT, lengths_N = read_token_ids(file)
        _check_vocabulary(tokens_NT, file, tokenizer)
        num_samples, seq_len = tokens_NT.shape
        rows = zip(tokens_NT, ends_of(tokens_NT, lengths_N), strict=True)
        texts = [str(tokenizer.decode(row[:end])) for row, end in rows]
        settings = Calibration(
            num_samples=num_samples, seq_len=seq_len, design="disjoint", window="slice", bos="none"
        )
        card = make_card(self.name, self.provenance(), None, settings, seed, tokenizer)
        return CalibrationSet(
            tokens_NT=tokens_NT,
            lengths_N=lengths_N,
            samples=[
                {"document": f"{file.name}:{i}", "offset": 0, "text": text}
                for i, text in enumerate(texts)
            ],
            card={**card, "design": None, "window": None, "bos": None},  # nobody told us
        )

    def _check_tokenizer(
        self, found: CalibrationSet, place: Path, tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        """Ids drawn with another tokenizer would be other text, silently."""
        drawn_with = found.card["tokenizer"]
        if drawn_with["hash"] != tokenizer_hash(tokenizer):
            raise ConfigError(
                f"dataset.path={str(place)!r}: expected a set drawn with the model's tokenizer, "
                f"but this one was drawn with {drawn_with['name']} ({drawn_with['class']}, "
                f"{drawn_with['vocabulary']} tokens). Draw it again from its text (samples.jsonl), "
                "or use a model with that tokenizer."
            )


def _check_vocabulary(
    tokens_NT: np.ndarray, file: Path, tokenizer: "PreTrainedTokenizerBase"
) -> None:
    low, high = int(tokens_NT.min()), int(tokens_NT.max())
    if low < 0 or high >= len(tokenizer):
        raise ConfigError(
            f"dataset.path={str(file)!r}: expected token ids from 0 to {len(tokenizer) - 1}, the "
            f"vocabulary of the model's tokenizer, but it holds {low} to {high}. Make the ids with "
            "this model's tokenizer, or choose the model that they are for."
        )


def _take_first(found: CalibrationSet, place: Path, calibration: Calibration) -> CalibrationSet:
    """The first `num_samples` of a set whose samples have the configured length."""
    num_samples, seq_len = found.tokens_NT.shape
    remedy = f"Example: calibration.num_samples={num_samples} calibration.seq_len={seq_len}."
    what = f"{place} holds {counted(num_samples, 'sample')} of {counted(seq_len, 'token')}"
    samples, length = calibration.num_samples, calibration.seq_len
    with collected() as problems:
        key, expected = "calibration.num_samples", f"at most {num_samples}, as {what}"
        problems.of(require, samples <= num_samples, key, samples, expected, remedy)
        key, expected = "calibration.seq_len", f"{seq_len}, as {what}"
        problems.of(require, length == seq_len, key, length, expected, remedy)
    count = calibration.num_samples
    return found.take(np.arange(count), {**found.card, "num_samples": count})


def _card_order(folder: Path) -> tuple[str, int, str]:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return str(card["dataset"]), int(card["seed"]), folder.name
    except (ValueError, KeyError):
        return "", 0, folder.name  # damaged: loading it says so
