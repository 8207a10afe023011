"""Let a model write samples of a given length: text after text, each from its beginning.

A text begins with the token that stands before text, goes on with given tokens where there are any
(its prefix), and then with tokens that are drawn, until one of these ends a text. The next text
begins behind it and does not see it: in the row its tokens are masked, and places count anew. So
every row takes as many steps as it has tokens, however often a text ends, and all rows are busy to
the end. The first token after the beginning never ends a text: none is empty, and every sample gets
full. A text that does not end is cut where the sample is full. The token that stands before text is
never drawn, unless it ends texts too.

Token i of a text, counted from 0 behind its prefix, is drawn at the temperature

    t_i = t_init + i / n (t_final - t_init)  for i <= n,   t_final  after

(Williams et al. 2025, arXiv:2410.17170), where t = 0 is the likeliest token. The repetition penalty
comes before it, top-k and then top-p after, as in transformers. What is drawn is what one uniform
number points at, which belongs to the sample and the token alone (`generation`).

Shapes: B rows at once, T tokens of a sample, S steps so far, J prefixes of a row, P tokens of one,
V vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from calib_sweep.model.generation import token_at
from calib_sweep.model.steps import Step, steps_of
from calib_sweep.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROWS_ON_CPU = 32  # written at once, where nobody says
MOST_ROWS = 128
SHARE = 0.6  # of a GPU's memory beside the weights, for keys and values
LOOK = 16  # steps from one look at whether all rows are full to the next: looking waits for a GPU


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen."""

    t_init: float  # temperature of the first token of a text; 0: the likeliest
    t_final: float
    t_tokens: int  # n, tokens from the first temperature to the last; 0: t_final from the start
    top_k: int | None
    top_p: float | None
    repetition_penalty: float  # divides positive logits of tokens that the text has; 1: none

    def temperature(self, written_B: Tensor) -> Tensor:
        """Return the temperature of the tokens that so many of their text stand before [B]."""
        if not self.t_tokens:
            return torch.full_like(written_B, self.t_final, dtype=torch.float32)
        share_B = (written_B / self.t_tokens).clamp(max=1.0)
        return self.t_init + share_B * (self.t_final - self.t_init)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a sample looks like."""

    num_tokens: int  # T
    start: int  # the token that stands before text
    keeps_start: str  # where it is part of the sample: text: before each | sample: the first | none
    ends: Iterable[int]  # tokens that end a text
    is_joined: bool  # further texts fill the sample; else it has one, and may be shorter
    vocabulary: int  # V, tokens that may be drawn: a model may have more than its tokenizer
    first: Sequence[int] | None = None  # tokens that a text without a prefix may begin with


def write(
    model: "PreTrainedModel",
    page: Page,
    sampling: Sampling,
    uniform_BT: np.ndarray,
    prefixes: Sequence[Sequence[Sequence[int]]] | None = None,
    steps: Callable[["PreTrainedModel", int], Step] = steps_of,
) -> list[list[int]]:
    """Return the tokens of B samples that the model writes side by side.

    `uniform_BT`: numbers in [0, 1) that choose the tokens of each. `prefixes`: of each row those
    that its texts go on from in turn; none of them is empty. `steps`: how the model is asked.
    """
    rows = _Rows(page, sampling, uniform_BT, prefixes, model.device)
    logits_BV: Tensor | None = None
    with torch.inference_mode(), quiet_transformers():
        ask = steps(model, page.num_tokens)
        while not rows.are_full():
            logits_BV = ask(*rows.step(logits_BV))
    return rows.samples()


class _Rows:
    """Rows that are written side by side, a token of each in a step."""

    def __init__(
        self,
        page: Page,
        sampling: Sampling,
        uniform_BT: np.ndarray,
        prefixes: Sequence[Sequence[Sequence[int]]] | None,
        device: torch.device,
    ) -> None:
        self.page, self.sampling = page, sampling
        self.uniform_BT = torch.from_numpy(uniform_BT).to(device)
        self.prefix_BJP, self.num_prefixes_B = _padded(prefixes, len(uniform_BT), device)
        self.end_E = torch.tensor(sorted(page.ends), dtype=torch.long, device=device)
        token_V = torch.arange(page.vocabulary, device=device)
        # A second token that stands before text would be in samples that are to have none.
        self.is_never_V = (token_V == page.start) & ~torch.isin(token_V, self.end_E)
        self.is_no_first_V = torch.isin(token_V, self.end_E)  # may not begin a text
        if page.first is not None:
            self.is_no_first_V |= ~torch.isin(token_V, token_V.new_tensor(list(page.first)))
        zero_B = torch.zeros(len(uniform_BT), dtype=torch.long, device=device)
        self.place_B = zero_B  # tokens of the current text so far
        self.written_B = zero_B  # of these, drawn ones
        self.text_B = zero_B  # texts that have ended
        self.drawn_B = zero_B  # drawn tokens of all texts
        self.kept_B = zero_B  # tokens of the sample
        self.is_open_BS = torch.zeros(len(zero_B), 0, dtype=torch.long, device=device)
        self.seen_BV: Tensor | None = None  # tokens that the current text has
        self.steps: list[tuple[Tensor, Tensor]] = []  # the token of each row, and if it is kept

    def are_full(self) -> bool:
        """Tell whether every sample is whole. Not every step looks."""
        num_steps = len(self.steps)
        if num_steps < self.page.num_tokens and (self.page.is_joined or num_steps % LOOK):
            return False
        return bool(self._is_full_B().all())

    def step(self, logits_BV: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the next token of each row [B, 1]; return it, what it sees, and its place."""
        token_B, is_drawn_B = self._next(logits_BV)
        is_begun_B = self.place_B == 0
        is_kept_B = ~self._is_full_B() & (~is_begun_B | self._keeps_start_B())
        self.steps.append((token_B, is_kept_B))
        self.kept_B = self.kept_B + is_kept_B
        # A text sees nothing of those before it.
        before_BS = self.is_open_BS * ~is_begun_B[:, None]
        self.is_open_BS = torch.cat([before_BS, torch.ones_like(token_B)[:, None]], dim=1)
        asked = token_B[:, None], self.is_open_BS, self.place_B[:, None]
        self._see(token_B, is_begun_B)
        # Not by torch.isin, which waits for the GPU where many tokens end a text.
        is_end_B = is_drawn_B & (token_B[:, None] == self.end_E).any(dim=1)
        self.place_B = (self.place_B + 1) * ~is_end_B
        self.written_B = (self.written_B + is_drawn_B) * ~is_end_B
        self.drawn_B = self.drawn_B + is_drawn_B
        self.text_B = self.text_B + is_end_B
        return asked

    def samples(self) -> list[list[int]]:
        """Return the tokens that were kept of each row."""
        token_BS = torch.stack([token for token, _ in self.steps], dim=1).tolist()
        is_kept_BS = torch.stack([kept for _, kept in self.steps], dim=1).tolist()
        both = zip(token_BS, is_kept_BS, strict=True)
        return [[t for t, kept in zip(*row, strict=True) if kept] for row in both]

    def _is_full_B(self) -> Tensor:
        is_full_B = self.kept_B >= self.page.num_tokens
        return is_full_B if self.page.is_joined else is_full_B | (self.text_B > 0)

    def _keeps_start_B(self) -> Tensor:
        if self.page.keeps_start == "sample":
            return self.text_B == 0
        return torch.full_like(self.text_B, self.page.keeps_start == "text", dtype=torch.bool)

    def _next(self, logits_BV: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the next token of each row, and whether it was drawn."""
        start_B = torch.full_like(self.place_B, self.page.start)
        if logits_BV is None:
            return start_B, torch.zeros_like(start_B, dtype=torch.bool)
        given_B = torch.where(self.place_B == 0, start_B, self._prefix_B())
        is_drawn_B = given_B < 0
        return torch.where(is_drawn_B, self._draw(logits_BV), given_B), is_drawn_B

    def _prefix_B(self) -> Tensor:
        """The token of the prefix at this place; -1: there is none, or it is over."""
        none_B, at_B = torch.full_like(self.place_B, -1), self.place_B - 1
        if self.prefix_BJP is None:
            return none_B
        longest = self.prefix_BJP.shape[2]
        row_B = torch.arange(len(at_B), device=at_B.device)
        which_B = self.text_B % self.num_prefixes_B
        found_B = self.prefix_BJP[row_B, which_B, at_B.clamp(0, longest - 1)]
        return torch.where(at_B < longest, found_B, none_B)

    def _draw(self, logits_BV: Tensor) -> Tensor:
        score_BV = logits_BV[:, : self.page.vocabulary].float()
        if self.seen_BV is not None:
            penalty = self.sampling.repetition_penalty
            less_BV = torch.where(score_BV > 0, score_BV / penalty, score_BV * penalty)
            score_BV = torch.where(self.seen_BV, less_BV, score_BV)
        is_barred_BV = self.is_never_V | (self.is_no_first_V & (self.place_B == 1)[:, None])
        score_BV = score_BV.masked_fill(is_barred_BV, -torch.inf)
        at_B1 = self.drawn_B.clamp(max=self.uniform_BT.shape[1] - 1)[:, None]
        uniform_B1 = self.uniform_BT.gather(1, at_B1)
        return draw(score_BV, self.sampling.temperature(self.written_B), uniform_B1, self.sampling)

    def _see(self, token_B: Tensor, is_begun_B: Tensor) -> None:
        if self.sampling.repetition_penalty == 1:
            return
        if self.seen_BV is None:
            shape = len(token_B), self.page.vocabulary
            self.seen_BV = torch.zeros(shape, dtype=torch.bool, device=token_B.device)
        self.seen_BV = (self.seen_BV & ~is_begun_B[:, None]).scatter(1, token_B[:, None], True)


def rows_at_once(model: "PreTrainedModel", num_tokens: int) -> int:
    """Return how many samples of so many tokens are best written at once.

    On a GPU it depends on the kind of GPU and the model, not on what else is in its memory: in half
    precision other numbers of rows give other roundings, so other tokens. It is a power of two, as
    numbers of samples often are: batches are always full there.
    """
    if model.device.type != "cuda":
        return ROWS_ON_CPU
    config = model.config.get_text_config(decoder=True)
    num_heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    num_heads = getattr(config, "num_key_value_heads", None) or num_heads
    per_token = 2 * config.num_hidden_layers * num_heads * head_size * model.dtype.itemsize
    weights = sum(p.nbytes for p in model.parameters() if p.device == model.device)
    memory = torch.cuda.get_device_properties(model.device).total_memory
    num_rows = int(SHARE * (memory - weights)) // (per_token * num_tokens)
    return 2 ** max(0, min(MOST_ROWS, num_rows).bit_length() - 1)


def draw(score_BV: Tensor, temperature_B: Tensor, uniform_B1: Tensor, sampling: Sampling) -> Tensor:
    """Return the token of each row that its number points at; the likeliest where t = 0 [B]."""
    from transformers.generation import logits_process as made

    warm_B1 = torch.where(temperature_B > 0, temperature_B, 1.0)[:, None]
    warm_BV: Any = score_BV / warm_B1
    if sampling.top_k is not None:
        warm_BV = made.TopKLogitsWarper(sampling.top_k)(None, warm_BV)  # type: ignore[arg-type]
    if sampling.top_p is not None:
        warm_BV = made.TopPLogitsWarper(sampling.top_p)(None, warm_BV)  # type: ignore[arg-type]
    drawn_B = token_at(warm_BV, uniform_B1)[:, 0]
    return torch.where(temperature_B > 0, drawn_B, score_BV.argmax(-1))


def _padded(
    prefixes: Sequence[Sequence[Sequence[int]]] | None, num_rows: int, device: torch.device
) -> tuple[Tensor | None, Tensor]:
    """Return prefixes [B, J, P], -1 behind each, and how many each row has [B]."""
    if prefixes is None:
        return None, torch.ones(num_rows, dtype=torch.long, device=device)
    assert len(prefixes) == num_rows and all(row and all(row) for row in prefixes), prefixes
    most = max(len(row) for row in prefixes)
    longest = max(len(one) for row in prefixes for one in row)
    prefix_BJP = np.full((num_rows, most, longest), -1, dtype=np.int64)
    for row, own in enumerate(prefixes):
        for which, one in enumerate(own):
            prefix_BJP[row, which, : len(one)] = one
    numbers = torch.tensor([len(row) for row in prefixes], device=device)
    return torch.from_numpy(prefix_BJP).to(device), numbers
