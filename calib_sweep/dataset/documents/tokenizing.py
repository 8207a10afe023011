"""Text to token ids: in batches, without special tokens that nobody asked for, without warnings.

A seed draws other documents under another tokenizer, so every set records which one it was.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep import valid_json
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Documents are tokenised in batches that double from the first number to the second: a small set
# must not pay for documents that it never looks at, a large walk must not crawl.
FIRST_BATCH, LARGEST_BATCH = 8, 256
UNHASHED = ("truncation", "padding")  # of the rules of a fast tokenizer


def encode(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], *, special: bool
) -> list[list[int]]:
    """Token ids of each text, at full length. `special`: with what the tokenizer adds by itself.

    `verbose=False` keeps the tokenizer from warning that a document is longer than the model's
    context: documents are cut into samples afterwards.
    """
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=special,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return encoded["input_ids"]  # type: ignore[return-value]  (lists, as no tensors were asked for)


def walk(
    documents: Documents,
    order: Sequence[int] | np.ndarray,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    special: bool,
) -> Iterator[tuple[int, str, list[int]]]:
    """Tokenise documents in this order, lazily: yields (position, text, token ids) of each."""
    start, size = 0, FIRST_BATCH
    while start < len(order):
        positions = [int(i) for i in order[start : start + size]]
        texts = documents.read(positions)
        ids = encode(tokenizer, texts, special=special)
        yield from zip(positions, texts, ids, strict=True)
        start, size = start + size, min(2 * size, LARGEST_BATCH)


def special_token(tokenizer: "PreTrainedTokenizerBase", kind: str, setting: str, why: str) -> int:
    """The id of the tokenizer's `bos` or `eos` token; `setting` (key=value) is what needs it."""
    token = getattr(tokenizer, f"{kind}_token_id")
    if token is None:
        raise ConfigError(
            f"{setting}: expected a tokenizer with an {kind.upper()} token, {why}, but "
            f"{tokenizer.name_or_path or type(tokenizer).__name__} has none. Choose another model, "
            f"or set {setting.partition('=')[0]} to something else."
        )
    return token


def tokenizer_hash(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Content hash of a tokenizer: its rules, vocabulary and special tokens.

    Truncation and padding are left out: other code in the process sets and forgets them there.
    """
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    if tokenizer.is_fast:
        return _fast_hash(tokenizer.backend_tokenizer.to_str(), special)  # type: ignore[attr-defined]
    return _hash({"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}, special)


@lru_cache(maxsize=4)  # of a large vocabulary they take half a second to read
def _fast_hash(rules: str, special: tuple[object, ...]) -> str:
    known = json.loads(rules)
    return _hash({key: known[key] for key in known if key not in UNHASHED}, special)


def _hash(rules: dict[str, object], special: tuple[object, ...]) -> str:
    content = valid_json.dumps([rules, special], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()
