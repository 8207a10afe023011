"""Go on with texts: greedily, or drawn, until a stop string, the end of the text or a bound.

Batches are padded on the left and keep keys and values, through `generate` of transformers. A row
ends by itself, so what is written does not depend on its neighbours: not on the budget, not on the
order, not on other tasks.

A drawn token is read off the distribution function at one uniform number, which belongs to the row
and the step alone. Nothing global is drawn, and two models that are asked with equal numbers differ
only where their distributions do.

Shapes: B rows at once, T tokens of a row, L tokens to write at most, V vocabulary.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep import valid_json
from calib_sweep.quiet import quiet_transformers

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Settings that shape a distribution before a token is drawn, in the order of transformers. They
# mean nothing to the likeliest token.
SHAPING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
DEFAULTS = {"temperature": 1.0, "top_k": 50, "top_p": 1.0}  # of transformers, if nobody says
NEARBY = 8  # tokens more than a stop string has bytes: it ends there, whatever the tokens are


@dataclass(frozen=True, eq=False)
class Prompt:
    """A text to go on with."""

    tokens: list[int]
    max_new_tokens: int
    stop: tuple[str, ...] = ()  # the text ends with the first of these that it contains
    uniform_L: np.ndarray | None = None  # numbers in [0, 1) that choose tokens; None: the likeliest
    options: Mapping[str, Any] = field(default_factory=dict)  # further settings of `generate`


def generate(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence[Prompt],
    batch_tokens: int,
) -> list[list[int]]:
    """Return what follows each prompt, to the end of its stop string or the token that ends it.

    At most `batch_tokens` tokens are held at once, written ones included; at least one row.
    """
    written: dict[int, list[int]] = {}
    for batch in batches(prompts, batch_tokens):
        found = _go_on(model, tokenizer, [prompts[i] for i in batch])
        written |= zip(batch, found, strict=True)
    return [written[i] for i in range(len(prompts))]


def batches(prompts: Sequence[Prompt], batch_tokens: int) -> Iterator[list[int]]:
    """Yield the indices of prompts that are gone on with together: of one kind, long ones first."""
    kinds: dict[str, list[int]] = {}
    for index, one in enumerate(prompts):
        kind = [one.max_new_tokens, one.uniform_L is None, dict(one.options)]
        kinds.setdefault(valid_json.dumps(kind, default=str), []).append(index)
    for indices in kinds.values():
        indices.sort(key=lambda i: (-len(prompts[i].tokens), prompts[i].tokens))
        while indices:
            row = len(prompts[indices[0]].tokens) + prompts[indices[0]].max_new_tokens
            num_rows = max(1, batch_tokens // row)
            yield indices[:num_rows]
            indices = indices[num_rows:]


def _go_on(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[Prompt]
) -> list[list[int]]:
    """Go on with prompts of one kind."""
    import torch

    first = prompts[0]
    width, ends = max(len(one.tokens) for one in prompts), ends_of(model, tokenizer)
    pad = next(i for i in (tokenizer.pad_token_id, *sorted(ends), 0) if isinstance(i, int))
    rows = [[pad] * (width - len(one.tokens)) + one.tokens for one in prompts]
    input_BT = torch.tensor(rows, device=model.device)
    length_B = torch.tensor([len(one.tokens) for one in prompts], device=model.device)
    is_real_BT = torch.arange(width, device=model.device) >= width - length_B[:, None]
    stopping = _Stopping(tokenizer, prompts, ends, width)
    options = {k: v for k, v in first.options.items() if k not in SHAPING}
    if first.uniform_L is not None:
        uniform_BL = np.stack([_numbers(one) for one in prompts])
        drawing = _Drawing(torch.from_numpy(uniform_BL).to(model.device), width)
        options["logits_processor"] = [*_shapers(model, first.options), drawing]
    with torch.inference_mode(), quiet_transformers():
        output_BT: Tensor = model.generate(  # pyright: ignore[reportCallIssue]
            input_ids=input_BT,
            attention_mask=is_real_BT.long(),
            max_new_tokens=first.max_new_tokens,
            stopping_criteria=[stopping],
            pad_token_id=pad,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            return_dict_in_generate=False,
            **options,
        )
    written = output_BT[:, width:].tolist()
    return [row[:end] for row, end in zip(written, stopping.num_written(), strict=True)]


def _numbers(prompt: Prompt) -> np.ndarray:
    assert prompt.uniform_L is not None and len(prompt.uniform_L) >= prompt.max_new_tokens
    return prompt.uniform_L[: prompt.max_new_tokens]


def ends_of(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Tokens that end a text: the tokenizer's, and what the model's own settings name.

    lm-eval means the same, but where the settings do not name the tokenizer's, its rows go on for
    as long as others of their batch do.
    """
    own = model.generation_config.eos_token_id
    named = own if isinstance(own, list) else [own]
    return {i for i in (*named, tokenizer.eos_token_id) if isinstance(i, int)}


class _Stopping:
    """Tells, after each token, which rows are done; remembers where each of them ended."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        prompts: Sequence[Prompt],
        ends: set[int],
        width: int,
    ) -> None:
        self.tokenizer, self.prompts, self.ends, self.width = tokenizer, prompts, ends, width
        self.done: list[int | None] = [None] * len(prompts)  # tokens written when a row ended
        longest = (max((len(s.encode()) for s in one.stop), default=0) for one in prompts)
        self.near = max(longest) + NEARBY

    def __call__(self, input_ids: "Tensor", scores: object, **_: object) -> "Tensor":
        num_written = input_ids.shape[1] - self.width
        near_BT = input_ids[:, max(self.width, input_ids.shape[1] - self.near) :].tolist()
        for row, near_T in enumerate(near_BT):
            if self.done[row] is None and self._ends(input_ids, row, near_T):
                self.done[row] = num_written
        return input_ids.new_tensor([end is not None for end in self.done]).bool()

    def _ends(self, input_ids: "Tensor", row: int, near_T: list[int]) -> bool:
        """Tell whether the row ends here. Its last tokens are read first: decoding takes time."""
        if near_T[-1] in self.ends:
            return True
        stop = self.prompts[row].stop
        if not stop or not self._holds(near_T, stop):
            return False
        return self._holds(input_ids[row, self.width :].tolist(), stop)

    def _holds(self, tokens: list[int], stop: Sequence[str]) -> bool:
        text = self.tokenizer.decode(tokens)  # special tokens are stop strings of chats: <|im_end|>
        return any(one in text for one in stop)

    def num_written(self) -> list[int | None]:
        """Return the number of tokens of each row; None: up to the bound."""
        return self.done


class _Drawing:
    """Leaves one token of each row: where the row's number stands in its distribution."""

    def __init__(self, uniform_BL: "Tensor", width: int) -> None:
        self.uniform_BL, self.width = uniform_BL, width

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        import torch

        uniform_B1 = self.uniform_BL[:, input_ids.shape[1] - self.width, None]
        return torch.full_like(scores, -torch.inf).scatter(1, token_at(scores, uniform_B1), 0.0)


def token_at(score_BV: "Tensor", uniform_B1: "Tensor") -> "Tensor":
    """Return the token of each row at whose share of the distribution its number stands [B, 1]."""
    import torch

    # In float64: of 100,000 float32 numbers the sum is off by more than many tokens have.
    sum_BV = score_BV.double().softmax(-1).cumsum(-1)
    # Tokens whose sum is no more than the number lie before; the sum may end below 1.
    drawn_B1 = torch.searchsorted(sum_BV, uniform_B1 * sum_BV[:, -1:], right=True)
    return drawn_B1.clamp(max=score_BV.shape[-1] - 1)


def _shapers(model: "PreTrainedModel", options: Mapping[str, Any]) -> list[Callable[..., Any]]:
    """What transformers does to scores before it draws, with its defaults and the model's own."""
    from transformers.generation import logits_process as made

    own = model.generation_config.to_dict()
    told = [{k: v for k in SHAPING if (v := one.get(k)) is not None} for one in (own, options)]
    values = {**DEFAULTS, "min_p": 0.0, "typical_p": 1.0, **told[0], **told[1]}
    shapers: list[Callable[..., Any]] = [made.TemperatureLogitsWarper(float(values["temperature"]))]
    if values["top_k"] > 0:
        shapers.append(made.TopKLogitsWarper(int(values["top_k"])))
    if values["top_p"] < 1:
        shapers.append(made.TopPLogitsWarper(float(values["top_p"])))
    if values["min_p"] > 0:
        shapers.append(made.MinPLogitsWarper(float(values["min_p"])))
    if values["typical_p"] < 1:
        shapers.append(made.TypicalLogitsWarper(float(values["typical_p"])))
    return shapers
