"""Token perplexity on windows of fixed length.

The documents of a corpus are joined into one text, tokenised once, cut into windows of `seq_len`
tokens, and the remainder is discarded. The first token of a window has no context and is not
scored. Losses are float32 whatever the dtype of the model: the published scripts take the loss of
float16 logits, which rounds each window's mean to about 1e-3 nats. This is the convention of the
pruning and quantization papers (Frantar and Alistarh 2023, arXiv:2301.00774; Sun et al. 2023,
arXiv:2306.11695); it is not lm-eval's word perplexity: they must never share a table column.

With a `stride` windows overlap, and each scores what no other did (`windows`): no token is scored
with little text before it, at seq_len / stride times the cost. That is another number, and its name
says so: ppl/<corpus>@<seq_len>+<stride>.

    perplexity = exp(mean NLL of the scored tokens)
    SE         = perplexity * SE of the mean, over windows (`positions`)        (delta method)

The SE is the error of a corpus sampled anew, not of another calibration set. Of windows that do
not overlap it is perplexity * SD(the windows' mean NLL) / sqrt(N).

Shapes: N windows, T seq_len, P scored tokens in order, V vocabulary.
Units: nats per token inside, perplexity at the boundary.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.base import TextDataset
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.evaluation.corpora.positions import mean_of
from calib_sweep.evaluation.scorers.scorer import Scorer, ranks_of, scored_parts
from calib_sweep.evaluation.scorers.sharing import fill
from calib_sweep.evaluation.windows import BOS_POLICIES, KEY, Windows
from calib_sweep.places import expanded
from calib_sweep.settings import stems_of
from calib_sweep.values import is_int

if TYPE_CHECKING:
    from torch import Tensor

BY_DEVICE = ", or null to decide by device"


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """Settings: the corpora to score, and how their text becomes windows."""

    corpora: list[str | TextDataset]  # paths of local text files, or datasets
    seq_len: int  # tokens in a window; the first one is not scored
    stride: int | None  # tokens from one window to the next; None: seq_len, they do not overlap
    bos: str  # stream | window | none
    # The first so many windows of each corpus, or by the name of some corpora; None: all.
    max_windows: int | Mapping[str, int | None] | None
    batch_tokens: int | None = None  # forwarded at once: memory, not results; None: by device

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(
                require,
                isinstance(self.corpora, list | tuple) and len(self.corpora) > 0,
                f"{KEY}.corpora",
                self.corpora,
                "a list of text files and datasets",
                f"Example: '{KEY}.corpora=[path/to/file.txt]'; {KEY}=null is none.",
            )
            problems.of(_require_text, self.corpora)
            for name, least in (("seq_len", 2), ("batch_tokens", 1)):
                value = getattr(self, name)
                problems.of(
                    require,
                    is_int(value, least) or (name == "batch_tokens" and value is None),
                    f"{KEY}.{name}",
                    value,
                    f"an integer >= {least}" + (BY_DEVICE if name == "batch_tokens" else ""),
                    f"Example: {KEY}.{name}=256.",
                )
            problems.of(self._require_stride)
            problems.of(self._require_max_windows)
            problems.of(
                require,
                self.bos in BOS_POLICIES,
                f"{KEY}.bos",
                self.bos,
                "one of " + ", ".join(BOS_POLICIES),
                f"Example: {KEY}.bos=stream, as in the pruning papers.",
            )

    def _require_stride(self) -> None:
        """A stride of a whole window would be null under another name."""
        if not is_int(self.seq_len, 2):
            return
        most = self.seq_len - 1 - (self.bos == "window")  # a BOS takes a place of every window
        require(
            self.stride is None or (is_int(self.stride, 1) and self.stride <= most),
            f"{KEY}.stride",
            self.stride,
            f"an integer from 1 to {most}, or null for windows that do not overlap",
            f"Example: {KEY}.stride={max(1, self.seq_len // 4)}.",
        )

    def datasets(self) -> list[TextDataset]:
        """The corpora as datasets: what is a path becomes the dataset that reads it."""
        read = zip(self.names(), self.corpora, strict=True)
        return [text_file(c, name) if isinstance(c, str) else c for name, c in read]

    def _require_max_windows(self) -> None:
        most = self.max_windows
        is_by_name = isinstance(most, Mapping)
        numbers = list(most.values()) if is_by_name else [most]
        require(
            all(number is None or is_int(number, 1) for number in numbers),
            f"{KEY}.max_windows",
            dict(most) if is_by_name else most,
            "an integer >= 1, or null for all, or one of these by the name of a corpus",
            f"Example: {KEY}.max_windows=256, or '{KEY}.max_windows={{c4: 256}}'.",
        )

    def cutting(self, name: str) -> dict[str, Any]:
        """How the text of a corpus is cut into windows: arguments of `windows_of`."""
        most = self.max_windows
        own = {key: getattr(self, key) for key in ("seq_len", "stride", "bos")}
        return own | {"max_windows": most.get(name) if isinstance(most, Mapping) else most}

    def names(self) -> list[str]:
        """The names of the corpora in the scores: of a path its stem, more where stems clash."""
        stems = stems_of([corpus for corpus in self.corpora if isinstance(corpus, str)])
        return [stems[c] if isinstance(c, str) else c.name for c in self.corpora]

    def check(self, context_length: int | None) -> None:
        """Raise `ConfigError` with all that can be seen to fail without reading the corpora."""
        names = self.names()
        with collected() as problems:
            if context_length is not None and self.seq_len > context_length:
                problems.add(
                    f"{KEY}.seq_len={self.seq_len}: expected at most {context_length}, the context "
                    f"length of the model. Example: {KEY}.seq_len={context_length}."
                )
            for corpus in (corpus for corpus in self.corpora if isinstance(corpus, str)):
                problems.of(_check_file, corpus)
            most = self.max_windows
            for name in sorted(set(most) - set(names) if isinstance(most, Mapping) else ()):
                problems.add(
                    f"{KEY}.max_windows.{name}: expected one of {', '.join(names)}, the names of "
                    f"{KEY}.corpora. Example: {KEY}.max_windows=null."
                )
            for name in sorted({name for name in names if names.count(name) > 1}):
                problems.add(
                    f"{KEY}.corpora: expected different names, but {names.count(name)} corpora are "
                    f"called {name!r}. Name each file once, or give a dataset another name."
                )


def _require_text(corpora: object) -> None:
    """Only a dataset of ours has documents, a fingerprint, and nothing else that is run."""
    for corpus in corpora if isinstance(corpora, list | tuple) else []:
        require(
            isinstance(corpus, str | TextDataset),
            f"{KEY}.corpora",
            corpus,
            "paths of text files, or datasets of a class derived from "
            "calib_sweep.dataset.base.TextDataset",
            f"Example: '{KEY}.corpora=[path/to/file.txt]'. For a dataset, copy "
            "conf/evaluation/wikitext2.yaml and edit the copy.",
        )


def _check_file(path: str) -> None:
    """Raise `ConfigError` unless there is a file at `path` that holds text."""
    if not expanded(path).is_file():
        raise ConfigError(
            f"{KEY}.corpora={path!r}: expected the path of a text file, but there is none (seen "
            f"from {Path.cwd()}). Correct the path, or give it in full."
        )
    try:
        text_file(path, path).documents()
    except ConfigError as error:
        reason = " ".join(error.problems).replace("dataset.path=", "").replace("dataset.", "")
        raise ConfigError(
            f"{KEY}.corpora={path!r}: expected a file of text that can be read. {reason}"
        ) from None


def text_file(path: str, name: str) -> TextDataset:
    """The dataset that reads a local text file; of records, the column `text`."""
    from calib_sweep.dataset.text import TextFiles

    return TextFiles(name=name, path=path, column="text", separator=None, join="\n\n", license=None)


def nll(log_probs_PV: "Tensor", targets_P: np.ndarray) -> np.ndarray:
    """Negative log-probability of each position's own token, in nats."""
    import torch

    targets_P1 = torch.from_numpy(targets_P).to(log_probs_PV.device)[:, None]
    return -log_probs_PV.gather(1, targets_P1)[:, 0].double().cpu().numpy()


def token_perplexity(scorer: Scorer, windows: Windows) -> float | None:
    """Return the perplexity over all scored tokens; each counts the same, whatever its window.

    None where there is nothing to score. Padding on the right needs no attention mask: a causal
    model does not look to the right.
    """
    if not windows.num_positions:
        return None
    nll_P, targets_P = np.empty(windows.num_positions), windows.targets()
    own: list[slice] = []
    for part, log_probs_PV in scored_parts(scorer, windows):
        nll_P[part] = nll(log_probs_PV, targets_P[part])
        own.append(part)
    fill(ranks_of(scorer), own, nll_P)
    return perplexity([nll_P])[0]


def perplexity(nll_by_stretch: Sequence[np.ndarray]) -> tuple[float, float | None]:
    """Perplexity and its SE from the NLL of the scored tokens; no SE for a single stretch."""
    mean, error = mean_of(nll_by_stretch)
    value = math.exp(mean) if not mean > 700 else math.inf  # exp(710) is beyond float64
    return value, None if error is None else value * error
