"""Token perplexity on fixed, non-overlapping windows.

The documents of a corpus are joined into one text, tokenised once, cut into windows of `seq_len` tokens, and
the remainder is discarded. The first token of a window has no context and is not scored. Losses are float32
whatever the dtype of the model: the published scripts take the loss of float16 logits, which rounds each
window's mean to about 1e-3 nats. This is the convention of the pruning and quantization papers (Frantar and
Alistarh 2023, arXiv:2301.00774; Sun et al. 2023, arXiv:2306.11695); it is not lm-eval's word perplexity, and
the two must never share a table column.

    perplexity = exp(mean over windows of the window's mean NLL),   SE = perplexity * SE(mean NLL)

The SE is the delta method over windows: it is the error of a corpus sampled anew, not of a new calibration set.

Shapes: N windows, T seq_len, P = N * (T - 1) scored positions in order, B windows at once, V vocabulary.
Units: nats per token inside, perplexity at the boundary.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.errors import ConfigError, require

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEY = "evaluation.perplexity"
BOS_POLICIES = ("stream", "window", "none")
JOIN = "\n\n"

# With `max_windows`, so many documents are tokenised at first, and then twice as many until they suffice.
FIRST_DOCUMENTS = 64

# Log-probabilities in float32 at once, in numbers: 256 MiB. It bounds memory and moves no result.
MAX_ELEMENTS = 2**26


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Which corpora are scored, and how their text becomes windows."""

    corpora: list[Any]  # paths of local text files, or datasets with `documents()`
    seq_len: int  # tokens in a window; the first one is not scored
    bos: str  # stream | window | none
    max_windows: int | None  # the first so many windows of each corpus; None: all
    batch_tokens: int  # tokens forwarded at once

    def __post_init__(self) -> None:
        require(
            isinstance(self.corpora, list | tuple) and len(self.corpora) > 0,
            f"{KEY}.corpora",
            self.corpora,
            "a list of text files and datasets",
            f"Type '{KEY}.corpora=[path/to/file.txt]', or evaluation.perplexity=null for none.",
        )
        for name, least in (("seq_len", 2), ("batch_tokens", 1)):
            value = getattr(self, name)
            expected = f"an integer of at least {least}"
            require(
                _is_int(value, least), f"{KEY}.{name}", value, expected, "Lower it to save memory."
            )
        require(
            self.max_windows is None or _is_int(self.max_windows, 1),
            f"{KEY}.max_windows",
            self.max_windows,
            "null (all windows) or an integer of at least 1",
            f"Type {KEY}.max_windows=null to score the whole corpus.",
        )
        require(
            self.bos in BOS_POLICIES,
            f"{KEY}.bos",
            self.bos,
            "one of " + ", ".join(BOS_POLICIES),
            f"Type {KEY}.bos=stream for the convention of the pruning papers.",
        )

    def names(self) -> list[str]:
        """The names of the corpora as they stand in the scores."""
        return [Path(c).stem if isinstance(c, str) else str(c.name) for c in self.corpora]

    def fingerprints(self) -> list[str | None]:
        """Content hash of each corpus; None for text that is pinned by its settings."""
        return [_dataset(corpus).fingerprint() for corpus in self.corpora]

    def check(self, context_length: int | None) -> None:
        """Raise `ConfigError` with everything that can be seen to fail without reading the corpora."""
        problems = []
        if context_length is not None and self.seq_len > context_length:
            problems.append(
                f"{KEY}.seq_len={self.seq_len}: expected at most {context_length}, the context length of the "
                f"model. Type {KEY}.seq_len={context_length}."
            )
        for corpus in self.corpora:
            if isinstance(corpus, str) and not Path(corpus).is_file():
                problems.append(
                    f"{KEY}.corpora={corpus!r}: expected the path of a text file, and there is no such file "
                    f"(seen from {Path.cwd()}). Correct the path, or give it in full."
                )
        names = self.names()
        for name in sorted({name for name in names if names.count(name) > 1}):
            problems.append(
                f"{KEY}.corpora: expected different names, and {names.count(name)} corpora are called "
                f"{name!r}. Rename a file, or give a dataset another name."
            )
        if problems:
            raise ConfigError(*problems)


def _is_int(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True, eq=False)
class Windows:
    """The tokenised windows of one corpus."""

    label: str  # name@seq_len, the end of the score's name
    tokens_NT: np.ndarray  # int64

    @property
    def num_positions(self) -> int:
        """Scored positions: every token of a window but its first."""
        num_windows, seq_len = self.tokens_NT.shape
        return num_windows * (seq_len - 1)

    @property
    def hash(self) -> str:
        """SHA-256 of the token ids and their shape."""
        shape = ",".join(str(size) for size in self.tokens_NT.shape)
        return hashlib.sha256(f"{shape}:".encode() + self.tokens_NT.tobytes()).hexdigest()


def prepare_windows(settings: Perplexity, tokenizer: "PreTrainedTokenizerBase") -> list[Windows]:
    """Tokenise and cut every corpus. `ConfigError` lists the corpora that do not fill one window."""
    prepared, problems = [], []
    for name, corpus in zip(settings.names(), settings.corpora, strict=True):
        try:
            tokens_NT = _windows_of(name, _dataset(corpus), settings, tokenizer)
            prepared.append(Windows(f"{name}@{settings.seq_len}", tokens_NT))
        except ConfigError as error:
            problems.append(error)
    if problems:
        raise ConfigError.merge(problems)
    return prepared


def _dataset(corpus: Any) -> Any:
    """Turn the path of a text file into the dataset that reads it."""
    if not isinstance(corpus, str):
        return corpus
    from calib_sweep.dataset.text import TextFiles

    name = Path(corpus).stem
    return TextFiles(
        name=name, path=corpus, column="text", separator=None, join="\n\n", licence=None
    )


def _windows_of(
    name: str, dataset: Any, settings: Perplexity, tokenizer: "PreTrainedTokenizerBase"
) -> np.ndarray:
    bos_id = None
    if settings.bos == "window":
        require(
            tokenizer.bos_token_id is not None,
            f"{KEY}.bos",
            settings.bos,
            "stream or none (the tokenizer has no BOS token)",
            f"Type {KEY}.bos=none.",
        )
        bos_id = tokenizer.bos_token_id
    ids = _token_ids(dataset, settings, tokenizer)
    tokens_NT = cut_windows(ids, settings.seq_len, bos_id)
    require(
        len(tokens_NT) > 0,
        f"{KEY}.seq_len",
        settings.seq_len,
        f"at most the {len(ids)} tokens that the corpus {name!r} has",
        f"Lower {KEY}.seq_len, or give a longer text.",
    )
    return tokens_NT[: settings.max_windows]


def _token_ids(
    dataset: Any, settings: Perplexity, tokenizer: "PreTrainedTokenizerBase"
) -> list[int]:
    """Token ids of the joined documents: of all, or of the first ones that fill `max_windows` and one more."""
    documents, join = dataset.documents(), getattr(dataset, "join", JOIN)
    whole = len(documents) if settings.max_windows is None else FIRST_DOCUMENTS
    num_documents = min(whole, len(documents))
    while True:
        text = join.join(documents[:num_documents])
        # One text, so that a tokenizer that begins a text with BOS does it once.
        ids = tokenizer(text, add_special_tokens=settings.bos == "stream", verbose=False)[
            "input_ids"
        ]
        enough = (
            settings.max_windows is not None
            and len(ids) >= (settings.max_windows + 1) * settings.seq_len
        )
        if enough or num_documents == len(documents):
            return ids
        num_documents = min(2 * num_documents, len(documents))


def cut_windows(ids: Sequence[int], seq_len: int, bos_id: int | None) -> np.ndarray:
    """Cut token ids into windows of `seq_len`; the remainder is discarded.

    With `bos_id` it begins every window and takes one place of it, so that every token of the text is scored.
    """
    num_fresh = seq_len if bos_id is None else seq_len - 1
    num_windows = len(ids) // num_fresh
    fresh = np.asarray(ids[: num_windows * num_fresh], dtype=np.int64).reshape(
        num_windows, num_fresh
    )
    if bos_id is None:
        return fresh
    return np.concatenate([np.full((num_windows, 1), bos_id, dtype=np.int64), fresh], axis=1)


def log_probs(
    model: "PreTrainedModel", windows: Windows, batch_tokens: int
) -> Iterator[tuple[slice, "Tensor"]]:
    """Yield log-probabilities of the whole vocabulary (float32, [., V]) for runs of scored positions, in order.

    Windows go through the model as many at once as `batch_tokens` allow, and at least one. What the model
    returns is held once; its float32 copy is made in parts of at most `MAX_ELEMENTS` numbers.
    """
    import torch

    num_windows, seq_len = windows.tokens_NT.shape
    num_at_once = max(1, batch_tokens // seq_len)
    tokens_NT = torch.from_numpy(windows.tokens_NT)
    first = 0
    for batch_BT in tokens_NT.split(num_at_once):
        with torch.inference_mode():
            logits_BTV = model(input_ids=batch_BT.to(model.device), use_cache=False).logits
            logits_PV = logits_BTV[:, :-1].flatten(0, 1)
            del logits_BTV
            for part_PV in logits_PV.split(max(1, MAX_ELEMENTS // logits_PV.shape[-1])):
                yield slice(first, first + len(part_PV)), part_PV.float().log_softmax(-1)
                first += len(part_PV)
    assert first == windows.num_positions, (first, num_windows, seq_len)


def nll(log_probs_PV: "Tensor", targets_P: np.ndarray) -> np.ndarray:
    """Negative log-probability of each position's own token, in nats."""
    import torch

    targets_P1 = torch.from_numpy(targets_P).to(log_probs_PV.device)[:, None]
    return -log_probs_PV.gather(1, targets_P1)[:, 0].double().cpu().numpy()


def targets(windows: Windows) -> np.ndarray:
    """The scored tokens in order: every token of a window but its first ([P])."""
    return np.ascontiguousarray(windows.tokens_NT[:, 1:]).reshape(-1)


def perplexity(nll_N: np.ndarray) -> tuple[float, float | None]:
    """Perplexity and its standard error from the mean NLL of each window; no error for a single window."""
    mean = float(np.mean(nll_N))
    value = math.exp(mean) if mean < 700 else math.inf  # exp(710) is beyond float64
    if len(nll_N) < 2:
        return value, None
    return value, value * float(np.std(nll_N, ddof=1)) / math.sqrt(len(nll_N))
