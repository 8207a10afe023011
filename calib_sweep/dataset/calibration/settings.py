"""The cut of a calibration set out of a dataset: its size, its design, its windows.

design     which documents belong to which seed
  disjoint     one fixed shuffle of the pool; seed k takes the k-th run, so sets never overlap
  independent  every seed shuffles the pool for itself; the first n samples are the same for every
               larger n; no repetition inside a set, chance overlap between sets
  reference    sample for sample what the published Wanda / SparseGPT loaders draw for a seed
window     what a sample is
  slice        `seq_len` consecutive tokens from a random place of one long enough document
  pack         documents joined by one end-of-sequence token and cut; a sample may span documents
  document     the first `seq_len` tokens of one document, padded at the end when it is shorter
seq_len    tokens of a sample; a list: of several lengths, see `lengths.py`; a draw sees the longest
bos        special tokens of the text
  none         none at all (`pack` still separates documents)
  document     whatever the tokenizer adds to a document, mostly a beginning-of-sequence token at
               its head; a slice keeps it only when it starts there
  sample       every sample begins with that token, which takes one of its `seq_len` places
weighting  how much a token counts: tokens | sequences | answers_only, see `weighting.py`; no draw
           reads it, so that weightings are compared on the same sets
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calib_sweep.errors import collected, require

DESIGNS = ("disjoint", "independent", "reference")
WINDOWS = ("slice", "pack", "document")
TOKENS, SEQUENCES, ANSWERS_ONLY = WEIGHTINGS = ("tokens", "sequences", "answers_only")
BOS_PLACES = ("none", "document", "sample")


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Settings of a calibration set; with a dataset, a tokenizer and a seed they fix its tokens."""

    num_samples: int  # samples in a set
    seq_len: int  # tokens in a sample, in the longest one
    design: str  # disjoint | independent | reference
    window: str  # slice | pack | document
    bos: str  # none | document | sample
    weighting: str = TOKENS  # tokens | sequences | answers_only; of no account to a draw
    lengths: Sequence[int] = ()  # that samples are cut to, in turn; none: all stay as drawn

    def __post_init__(self) -> None:
        with collected() as problems:
            for key, accepts, expected, example in (
                ("num_samples", is_count, "an integer >= 1", 128),
                ("seq_len", is_count, "an integer >= 1, or a list of them", 2048),
                ("design", DESIGNS.__contains__, _one_of(DESIGNS), "disjoint"),
                ("window", WINDOWS.__contains__, _one_of(WINDOWS), "slice"),
                ("bos", BOS_PLACES.__contains__, _one_of(BOS_PLACES), "document"),
                ("weighting", WEIGHTINGS.__contains__, _one_of(WEIGHTINGS), "tokens"),
            ):
                key, value = f"calibration.{key}", getattr(self, key)
                remedy = f"Example: {key}={example}."
                problems.of(require, accepts(value), key, value, expected, remedy)
        require(
            not (self.design == "reference" and self.window == "document"),
            "calibration.window",
            self.window,
            "slice or pack with calibration.design=reference, as no published loader draws whole "
            "documents",
            "Type calibration.window=slice, or calibration.design=disjoint.",
        )
        require(
            not (self.bos == "sample" and min(self.seq_len, *self.lengths, 2) == 1),
            "calibration.seq_len",
            list(self.lengths) or self.seq_len,
            "at least 2 with calibration.bos=sample, which takes one token of every sample",
            "Type calibration.seq_len=2048, or calibration.bos=none.",
        )

    @property
    def text_len(self) -> int:
        """Tokens of text in a full sample: `seq_len`, less the token that `bos: sample` adds."""
        return self.seq_len - (self.bos == "sample")


def sized(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as `Calibration` takes them, where `seq_len` may be a list of lengths."""
    given = settings["seq_len"]
    if not isinstance(given, list | tuple) or not given or not all(map(is_count, given)):
        return dict(settings)
    several = sorted(given) if len(set(given)) > 1 else []
    return {**settings, "seq_len": max(given), "lengths": several}


def longest(seq_len: int | Sequence[int]) -> int:
    """Return the tokens of the longest sample, of `calibration.seq_len` as it is typed."""
    return seq_len if isinstance(seq_len, int) else max(seq_len)


def is_count(value: object) -> bool:
    """Tell whether `value` is a whole number from 1 (true and false are not numbers here)."""
    return type(value) is int and value >= 1


def check_seed(seed: object) -> None:
    """Refuse what is not a whole number from 0. Seed 0 is an ordinary seed."""
    require(
        type(seed) is int and seed >= 0,
        "seed",
        seed,
        "an integer >= 0",
        "Example: seed=0, or 'seed=range(10)' with -m.",
    )


def _one_of(words: tuple[str, ...]) -> str:
    return "one of " + ", ".join(words)
