"""Text to token ids: in batches, without special tokens that nobody asked for, without warnings.

A seed draws other documents under another tokenizer, so every set records which one it was.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from calib_sweep import valid_json
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNHASHED = ("truncation", "padding")  # of the rules of a fast tokenizer


class Tokenised(NamedTuple):
    """A document as token ids."""

    position: int  # in its dataset
    has_text: bool  # it says anything: the tokens of a blank one may be its BOS alone
    tokens: np.ndarray  # integers; mapped from a file where they are kept


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


def tokenise(
    documents: Documents,
    positions: Sequence[int],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    special: bool,
) -> list[Tokenised]:
    """Read the documents at these positions and return their token ids, in this order."""
    texts = documents.read(positions)
    ids = encode(tokenizer, texts, special=special)
    return [
        Tokenised(position, bool(tokens) and text.strip() != "", np.array(tokens, dtype=np.int64))
        for position, text, tokens in zip(positions, texts, ids, strict=True)
    ]


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


def tokenizer_identity(tokenizer: "PreTrainedTokenizerBase") -> dict[str, object]:
    """Return all of a fast tokenizer that the ids of a text depend on."""
    return {
        "rules": tokenizer_hash(tokenizer),
        "class": type(tokenizer).__name__,
        "splits_special": getattr(tokenizer, "split_special_tokens", False),
        "libraries": _libraries(),
    }


@cache
def _libraries() -> dict[str, str]:
    return {name: version(name) for name in ("tokenizers", "transformers")}


@lru_cache(maxsize=4)  # of a large vocabulary they take half a second to read
def _fast_hash(rules: str, special: tuple[object, ...]) -> str:
    known = json.loads(rules)
    return _hash({key: known[key] for key in known if key not in UNHASHED}, special)


def _hash(rules: dict[str, object], special: tuple[object, ...]) -> str:
    content = valid_json.dumps([rules, special], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()
