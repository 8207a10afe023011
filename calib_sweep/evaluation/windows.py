"""Text to windows: a corpus joined, tokenised and cut for perplexity.

BOS policies: `stream` tokenises the whole text as the tokenizer does by itself, so that a BOS,
where it sets one, stands at the head of window 0 alone, as in the pruning papers. `window` puts a
BOS at the head of every window, where it takes one place, so that every token of the text is
scored. `none` leaves special tokens out.

Shapes: N windows, T seq_len, P scored tokens, in the order of windows.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.calibration.overlap import CONTAMINATION_TOKENS, run_hashes
from calib_sweep.errors import ConfigError, require

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEY = "evaluation.perplexity"
BOS_POLICIES = ("stream", "window", "none")
JOIN = "\n\n"  # between documents, where a dataset does not say otherwise

# Where `max_windows` is set, so many documents are read and tokenised at first, then twice as many,
# until they suffice: a large corpus is not read whole for its first windows.
FIRST_DOCUMENTS = 8
MAX_CHARACTERS_OF_TOKEN = 100  # on average, in any text


def has_context(tokens_NT: np.ndarray, lengths_N: np.ndarray | None = None) -> np.ndarray:
    """Mark every token but the first of its window, and no padding from `lengths_N` on."""
    seq_len = tokens_NT.shape[1]
    ends_N = np.full(len(tokens_NT), seq_len) if lengths_N is None else lengths_N
    place_T = np.arange(seq_len)
    return (place_T > 0) & (place_T < ends_N[:, None])


@dataclass(frozen=True, eq=False)
class Windows:
    """The tokenised windows of one corpus, and which of their tokens are scored.

    The first token of a window has no context and cannot be scored.
    """

    label: str  # <corpus>@<seq_len>, the end of the score's name
    tokens_NT: np.ndarray  # int64
    scored_NT: np.ndarray  # bool

    def __post_init__(self) -> None:
        assert self.scored_NT.shape == self.tokens_NT.shape, self.scored_NT.shape
        assert not self.scored_NT[:, :1].any(), "the first token of a window has no context"

    @classmethod
    def whole(cls, label: str, tokens_NT: np.ndarray) -> "Windows":
        """Return windows of which every token is scored that has context."""
        return cls(label, tokens_NT, has_context(tokens_NT))

    @property
    def seq_len(self) -> int:
        return self.tokens_NT.shape[1]

    @property
    def num_positions(self) -> int:
        """Scored tokens, P."""
        return int(self.scored_NT.sum())

    @cached_property
    def num_scored_N(self) -> np.ndarray:
        """Scored tokens of each window."""
        return self.scored_NT.sum(1)

    def num_scored_among(self, num_tokens: int) -> int:
        """Count the scored tokens among the first `num_tokens` tokens."""
        return int(self.scored_NT.reshape(-1)[:num_tokens].sum())

    def targets(self) -> np.ndarray:
        """Return the scored tokens in order ([P])."""
        return self.tokens_NT[self.scored_NT]

    def by_window(self, value_P: np.ndarray) -> list[np.ndarray]:
        """Part the values of scored tokens, of all or of the first of them, by window (N parts)."""
        return np.split(value_P, np.cumsum(self.num_scored_N)[:-1])

    @cached_property
    def runs(self) -> np.ndarray:
        """Hashes of the runs of tokens by which scored text is known again in a calibration set."""
        return run_hashes(self.tokens_NT, None, CONTAMINATION_TOKENS)

    def hash(self) -> str:
        """SHA-256 of the token ids and their shape."""
        shape = ",".join(str(size) for size in self.tokens_NT.shape)
        return hashlib.sha256(f"{shape}:".encode() + self.tokens_NT.tobytes()).hexdigest()

    def item_hashes(self) -> list[str]:
        """SHA-256 of the token ids of each window."""
        return [hashlib.sha256(window.tobytes()).hexdigest() for window in self.tokens_NT]


def windows_of(
    dataset: TextDataset,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    seq_len: int,
    bos: str,
    max_windows: int | None,
    max_characters: int | None = None,
) -> Windows:
    """Tokenise and cut one corpus; `ConfigError` if it does not fill a window.

    `max_characters`: look at no more of its text than so much.
    """
    require(
        bos != "window" or tokenizer.bos_token_id is not None,
        f"{KEY}.bos",
        bos,
        "stream or none, as the model's tokenizer has no BOS token",
        f"Type {KEY}.bos=none.",
    )
    wanted = math.inf if max_windows is None else (max_windows + 1) * seq_len
    ids = _token_ids(dataset, tokenizer, bos == "stream", wanted, max_characters)
    tokens_NT = cut(ids, seq_len, tokenizer.bos_token_id if bos == "window" else None)
    if len(tokens_NT) == 0:
        raise ConfigError(
            f"{KEY}.seq_len={seq_len}: expected at most {len(ids)}, the tokens of corpus "
            f"{dataset.name!r}. Example: {KEY}.seq_len={len(ids)}. Or give a longer text."
        )
    return Windows.whole(f"{dataset.name}@{seq_len}", tokens_NT[:max_windows])


def check_corpus(
    dataset: TextDataset, tokenizer: "PreTrainedTokenizerBase", *, seq_len: int, bos: str
) -> None:
    """Refuse a corpus that fills no window; of a long one only the beginning is tokenised."""
    beginning = MAX_CHARACTERS_OF_TOKEN * seq_len
    windows_of(
        dataset, tokenizer, seq_len=seq_len, bos=bos, max_windows=1, max_characters=beginning
    )


def _token_ids(
    dataset: TextDataset,
    tokenizer: "PreTrainedTokenizerBase",
    special: bool,
    num_wanted: float,
    max_characters: int | None,
) -> list[int]:
    """Token ids of the joined documents, or of the first of them that make `num_wanted`."""
    documents, join = dataset.documents(), getattr(dataset, "join", JOIN)
    num_read = FIRST_DOCUMENTS if math.isfinite(num_wanted) else len(documents)
    texts: list[str] = []
    while True:
        texts += documents[len(texts) : num_read]
        text = join.join(texts)[:max_characters]
        # verbose: the text is longer than the context of the model, and is cut afterwards.
        encoded = tokenizer(text, add_special_tokens=special, verbose=False)
        ids: Any = encoded["input_ids"]
        at_end = len(texts) == len(documents) or len(text) == max_characters
        if at_end or len(ids) >= num_wanted:
            return ids
        num_read = 2 * len(texts)


def cut(ids: Sequence[int], seq_len: int, bos_id: Any) -> np.ndarray:
    """Cut token ids into windows of `seq_len`, each headed by `bos_id` if given ([N, T])."""
    num_fresh = seq_len if bos_id is None else seq_len - 1
    num_windows = len(ids) // num_fresh
    fresh = np.asarray(ids[: num_windows * num_fresh], dtype=np.int64)
    fresh = fresh.reshape(num_windows, num_fresh)
    if bos_id is None:
        return fresh
    heads = np.full((num_windows, 1), bos_id, dtype=np.int64)
    return np.concatenate([heads, fresh], axis=1)
