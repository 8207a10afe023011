"""Text to windows: a corpus joined, tokenised and cut for perplexity.

BOS policies: `stream` tokenises the whole text as the tokenizer does by itself, so that a BOS,
where it sets one, stands at the head of window 0 alone, as in the pruning papers. `window` puts a
BOS at the head of every window, where it takes one place, so that every token of the text is
scored. `none` leaves special tokens out.

Stride: windows follow each other, or overlap where there is a stride: each begins so many tokens
after the one before it. Then each scores only what the one before it had not reached, its last
`stride` tokens, so that every token is scored once, and with much text before it.

Shapes: N windows, T seq_len, P scored tokens, in the order of windows.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.calibration.calibration_set import not_padding
from calib_sweep.dataset.calibration.overlap import CONTAMINATION_TOKENS, run_hashes
from calib_sweep.errors import ConfigError, require
from calib_sweep.evaluation.tokenised import Shelf, token_ids

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
    return not_padding(tokens_NT, lengths_N) & (np.arange(tokens_NT.shape[1]) > 0)


def is_new(tokens_NT: np.ndarray, stride: int) -> np.ndarray:
    """Mark the tokens with context that no earlier window holds: of the first one all."""
    scored_NT = has_context(tokens_NT)
    scored_NT[1:, :-stride] = False
    return scored_NT


@dataclass(frozen=True, eq=False)
class Windows:
    """The tokenised windows of one corpus, and which of their tokens are scored.

    The first token of a window has no context and cannot be scored.
    """

    label: str  # <corpus>@<seq_len>[+<stride>], the end of the score's name
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

    def targets(self) -> np.ndarray:
        """Return the scored tokens in order ([P])."""
        return self.tokens_NT[self.scored_NT]

    def by_window(self, value_P: np.ndarray) -> list[np.ndarray]:
        """Part the values of scored tokens, of all or of the first of them, by window (N parts)."""
        return np.split(value_P, np.cumsum(self.num_scored_N)[:-1])

    def by_stretch(self, value_P: np.ndarray) -> list[np.ndarray]:
        """Part the values of scored tokens, of all or of the first of them, by stretch of text.

        A stretch is a window; of windows that overlap it is as many as score a window's tokens
        together, for values of neighbours are alike.
        """
        ends, reached = [], 0
        for end in np.cumsum(self.num_scored_N).tolist():
            if end - reached >= self.seq_len - 1:
                ends.append(reached := end)
        return [part for part in np.split(value_P, ends) if len(part)]

    @cached_property
    def runs(self) -> np.ndarray:
        """Hashes of the runs of tokens by which scored text is known again in a calibration set."""
        return run_hashes(self.tokens_NT, None, CONTAMINATION_TOKENS)

    def hash(self) -> str:
        """SHA-256 of the token ids, of which of them are scored, and of their shape."""
        shape = ",".join(str(size) for size in self.tokens_NT.shape)
        content = self.tokens_NT.tobytes() + self.scored_NT.tobytes()
        return hashlib.sha256(f"{shape}:".encode() + content).hexdigest()

    def item_hashes(self) -> list[str]:
        """SHA-256 of the token ids of each window."""
        return [hashlib.sha256(window.tobytes()).hexdigest() for window in self.tokens_NT]


def windows_of(
    dataset: TextDataset,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    seq_len: int,
    stride: int | None,
    bos: str,
    max_windows: int | None,
    max_characters: int | None = None,
    shelf: Shelf | None = None,
) -> Windows:
    """Tokenise and cut one corpus; `ConfigError` if it does not fill a window.

    `stride`: tokens from the start of a window to that of the next; None: they do not overlap.
    `max_characters`: look at no more of its text than so much.
    `shelf`: where token ids are kept for other processes; None: nowhere.
    """
    require(
        bos != "window" or tokenizer.bos_token_id is not None,
        f"{KEY}.bos",
        bos,
        "stream or none, as the model's tokenizer has no BOS token",
        f"Type {KEY}.bos=none.",
    )
    step = stride or seq_len
    wanted = math.inf if max_windows is None else max_windows * step + 2 * seq_len
    tokenise = partial(token_ids, tokenizer, special=bos == "stream", shelf=shelf)
    ids = _token_ids(dataset, tokenise, wanted, max_characters)
    bos_id = tokenizer.bos_token_id if bos == "window" else None
    tokens_NT = cut(ids, seq_len, bos_id, stride)[:max_windows]
    if len(tokens_NT) == 0:
        raise ConfigError(
            f"{KEY}.seq_len={seq_len}: expected at most {len(ids)}, the tokens of corpus "
            f"{dataset.name!r}. Example: {KEY}.seq_len={len(ids)}. Or give a longer text."
        )
    label = f"{dataset.name}@{seq_len}"
    if stride is None:
        return Windows.whole(label, tokens_NT)
    return Windows(f"{label}+{stride}", tokens_NT, is_new(tokens_NT, stride))


def check_corpus(
    dataset: TextDataset, tokenizer: "PreTrainedTokenizerBase", *, seq_len: int, bos: str
) -> None:
    """Refuse a corpus that fills no window; of a long one only the beginning is tokenised."""
    beginning = MAX_CHARACTERS_OF_TOKEN * seq_len
    settings = {"seq_len": seq_len, "stride": None, "bos": bos, "max_windows": 1}
    windows_of(dataset, tokenizer, **settings, max_characters=beginning)


def _token_ids(
    dataset: TextDataset,
    tokenise: Callable[[list[str]], list[list[int]]],
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
        (ids,) = tokenise([text])
        at_end = len(texts) == len(documents) or len(text) == max_characters
        if at_end or len(ids) >= num_wanted:
            return ids
        num_read = 2 * len(texts)


def cut(ids: Sequence[int], seq_len: int, bos_id: Any, stride: int | None = None) -> np.ndarray:
    """Cut token ids into windows of `seq_len`, each headed by `bos_id` if given ([N, T]).

    Each begins `stride` ids after the one before it; None: where that one ended.
    """
    num_own = seq_len if bos_id is None else seq_len - 1
    if len(ids) < num_own:
        return np.empty((0, seq_len), dtype=np.int64)
    every = np.lib.stride_tricks.sliding_window_view(np.asarray(ids, dtype=np.int64), num_own)
    own_NT = every[:: stride or num_own]
    if bos_id is None:
        return own_NT.copy()
    heads = np.full((len(own_NT), 1), bos_id, dtype=np.int64)
    return np.concatenate([heads, own_NT], axis=1)
