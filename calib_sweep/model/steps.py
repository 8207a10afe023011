"""One step of a model that writes: the newest token of each row in, scores of the next one out.

    GrowingSteps    The model attends to the tokens so far. This takes any model. A step is some
                    hundred small kernels launched from Python, which a GPU waits for.
    BucketedSteps   It attends to a multiple of 256 tokens, those to come masked. All steps of such
                    a bucket run the same kernels on the same memory. So a GPU runs the first as it
                    is, the second is recorded as a CUDA graph, and from there each is one launch.

Which token is chosen is no part of the recording: nothing of that waits, so the host launches it
while the GPU still runs the model.

Shapes: B rows, S tokens so far, V vocabulary.
"""

import inspect
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from calib_sweep.method.gpu.cuda_graphs import Recording
from calib_sweep.model.growing_cache import (
    Bucket,
    bucketed_cache,
    growing_cache,
    keeps_all_tokens,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# tokens [B, 1], which of all it sees [B, S], their places in their texts [B, 1] -> scores [B, V]
Step = Callable[[Tensor, Tensor, Tensor], Tensor]

BUCKET = 256  # tokens; a constant, as other shapes round otherwise in half precision
# Architectures whose step looks at no value: every step runs the same kernels (tested).
RECORDED = ("gpt2", "gpt_neox", "llama", "mistral", "olmo2", "opt", "phi", "phi3")
RECORDED += ("qwen2", "qwen3", "stablelm")


def steps_of(model: "PreTrainedModel", num_tokens: int) -> Step:
    """Return how samples of so many tokens are best written by the device of the model."""
    if model.device.type == "cuda" and can_be_recorded(model):
        return BucketedSteps(model, num_tokens)
    return GrowingSteps(model, num_tokens)


def fits_buckets(model: "PreTrainedModel") -> bool:
    """Tell whether the steps of a bucket give what growing ones do."""
    return keeps_all_tokens(model) and _takes_places(model)


def can_be_recorded(model: "PreTrainedModel") -> bool:
    """Tell whether the steps of a bucket run the same kernels on the same memory."""
    config = model.config
    # The host looks at frequencies that change with the text, and at masks of other attentions.
    ropes = [str(getattr(one, "rope_type", "")) for one in model.modules()]
    changes = any("dynamic" in rope or "longrope" in rope for rope in ropes)
    is_known = config.model_type in RECORDED and config._attn_implementation == "sdpa"
    devices = {tensor.device for tensor in chain(model.parameters(), model.buffers())}
    return is_known and not changes and devices == {model.device} and fits_buckets(model)


class GrowingSteps:
    """The model attends to the tokens so far."""

    def __init__(self, model: "PreTrainedModel", num_tokens: int) -> None:
        self.model, self.cache = model, growing_cache(model, num_tokens)
        self.takes_places = _takes_places(model)

    def __call__(self, token_B1: Tensor, is_open_BS: Tensor, place_B1: Tensor) -> Tensor:
        asked: dict[str, Any] = {"input_ids": token_B1, "attention_mask": is_open_BS}
        if self.takes_places:  # others count what the mask shows
            asked["position_ids"] = place_B1
        answer = self.model(**asked, past_key_values=self.cache, use_cache=True)
        return answer.logits[:, -1].to(self.model.device)


class BucketedSteps:
    """The model attends to all places of a bucket, of which the mask bars those to come."""

    def __init__(
        self, model: "PreTrainedModel", num_tokens: int, bucket: int = BUCKET, records: bool = True
    ) -> None:
        self.model, self.num_tokens, self.size = model, num_tokens, bucket
        self.records = records and model.device.type == "cuda"
        self.num_steps = 0
        self.bucket = Bucket(torch.zeros(1, dtype=torch.long, device=model.device))
        self.cache = bucketed_cache(model, num_tokens, self.bucket)
        self.recording: Recording | None = None  # of this bucket

    def __call__(self, token_B1: Tensor, is_open_BS: Tensor, place_B1: Tensor) -> Tensor:
        """The scores are overwritten by the next step."""
        width = self._width(self.num_steps)
        is_first = width != self.bucket.width
        if is_first:  # a recording would keep memory that may move now
            self.recording, self.bucket.width = None, width
        self.bucket.place_1.fill_(self.num_steps)
        self.num_steps += 1
        to_come = width - is_open_BS.shape[1]
        asked = token_B1, torch.nn.functional.pad(is_open_BS, (0, to_come)), place_B1
        if is_first or not self.records:
            return self._ask(*asked)[0]
        with torch.cuda.device(self.model.device):
            self.recording = self.recording or Recording(self._ask, asked)
            return self.recording.replay(asked)[0]

    def _width(self, place: int) -> int:
        """Places of the bucket that this one is in: none beyond the sample, as long as it is."""
        end = (place // self.size + 1) * self.size
        return end if place >= self.num_tokens else min(end, self.num_tokens)

    def _ask(self, token_B1: Tensor, is_open_BW: Tensor, place_B1: Tensor) -> tuple[Tensor]:
        answer = self.model(
            input_ids=token_B1,
            attention_mask=is_open_BW,
            position_ids=place_B1,
            past_key_values=self.cache,
            use_cache=True,
        )
        return (answer.logits[:, -1],)


def _takes_places(model: "PreTrainedModel") -> bool:
    return "position_ids" in inspect.signature(model.forward).parameters
