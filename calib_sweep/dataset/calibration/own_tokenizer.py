"""A tokenizer for one draw alone, whatever the draw does to it.

It is a copy, and serves the next draw as well if it comes back as it was made. A new one for each
draw takes memory for good: what a fast tokenizer remembers of the words that it has encoded stays
when it is gone (tokenizers 0.23; 0.4 MB a set of the miniature).
"""

import copy
import hashlib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The last copy that came back unchanged, and its state, by the state of what it was copied from.
_spare: dict[str, tuple["PreTrainedTokenizerBase", str]] = {}


@contextmanager
def own_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> Iterator["PreTrainedTokenizerBase"]:
    """`with own_tokenizer(tokenizer) as own:` nothing that is done to `own` reaches others."""
    original = _state(tokenizer)
    own, made = _spare.pop(original, None) or _copied(tokenizer)
    _spare.clear()
    yield own
    if original and made and _state(own) == made:
        _spare[original] = own, made


def _copied(tokenizer: "PreTrainedTokenizerBase") -> tuple["PreTrainedTokenizerBase", str]:
    own = copy.deepcopy(tokenizer)
    return own, _state(own)


def _state(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Hash all that a tokenizer is; empty where it does not say it: such are copied each time."""
    try:
        return hashlib.sha256(pickle.dumps(tokenizer)).hexdigest()
    except (pickle.PicklingError, AttributeError, TypeError):
        return ""
