"""The token that stands before text, and those that a text may begin with: words of a list.

A model that knows many languages begins its texts in any of them. One that has to begin with an
English function word goes on in English (Williams et al. 2025, arXiv:2410.17170; they take spaCy's
list of stop words, this one is our own).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from calib_sweep.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LISTS = {
    "english": """
a an the this that these those some any each every all both many most much few several such no
another other either neither enough i you he she it we they one someone everyone nobody
something nothing who what which whose my your his her its our their mine yours in on at by for
from to with without of about above across after against along among around as before behind
below beneath beside between beyond during except inside into like near off onto outside over
past since through throughout toward under until up upon within despite and or but nor so yet if
because although though while when where whether unless than once how why there here then now
not never always often sometimes also only just even still already perhaps too very again
however therefore thus meanwhile is are was were be been being am do does did have has had can
could may might must shall should will would let
"""
}


def start_token(tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return the token that stands before text: BOS, else the one between documents."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise ConfigError(
        "dataset: expected a tokenizer with a BOS or an EOS token, from which the model begins to "
        f"write, but {tokenizer.name_or_path or type(tokenizer).__name__} has neither. Choose "
        "another model, or another dataset."
    )


def first_tokens(
    tokenizer: "PreTrainedTokenizerBase", words: str | Sequence[str] | None
) -> list[int] | None:
    """Return the tokens that are one of `words`, a list or the name of one; None: all may begin.

    A token is a word with a capital or without, and with a space before it or without: tokenizers
    differ in how they begin a text. Words that no single token holds are left out.
    """
    if words is None:
        return None
    wanted = LISTS[words].split() if isinstance(words, str) else list(words)
    forms = {form for word in wanted for form in (word, word[:1].upper() + word[1:])}
    texts = _texts(tokenizer)
    found = [i for i, text in enumerate(texts) if text.strip(" ") in forms]
    if not found:
        raise ConfigError(
            f"dataset.first_tokens={words!r}: expected words of which the tokenizer has at least "
            "one as a single token, but it has none. Example: dataset.first_tokens=null."
        )
    return found


def _texts(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Return the text of every token; none of special ones."""
    special = set(tokenizer.all_special_ids)
    ids = [[i] for i in range(len(tokenizer))]
    texts = tokenizer.batch_decode(ids)
    return ["" if i in special else text for i, text in enumerate(texts)]
