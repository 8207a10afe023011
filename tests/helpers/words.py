"""A tokenizer whose every token is a word, so that the contents of a set can be written by hand.

Word wK is token 10 + K. Special tokens: <unk> 0, <s> 1, </s> 2, <pad> 3.
"""

import os

# Before anything of the hub is imported: a test must never wait for a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

UNK, BOS, EOS, PAD, FIRST = 0, 1, 2, 3, 10
NUM_WORDS = 4000


def make_tokenizer(
    *,
    bos: bool = True,
    eos: bool = True,
    pad: bool = True,
    num_words: int = NUM_WORDS,
    document: str = "<s> $A",  # what it makes of a document
) -> PreTrainedTokenizerFast:
    special = ["<unk>", "<s>", "</s>", "<pad>", *(f"<extra{i}>" for i in range(4, FIRST))]
    words = [*special, *(f"w{i}" for i in range(num_words))]
    vocabulary = {word: i for i, word in enumerate(words)}
    rules = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    rules.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    rules.add_special_tokens([AddedToken(word, special=True) for word in special])
    if bos:
        rules.post_processor = processors.TemplateProcessing(
            single=document, special_tokens=[("<s>", BOS), ("</s>", EOS)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=rules,
        unk_token="<unk>",
        bos_token="<s>" if bos else None,
        eos_token="</s>" if eos else None,
        pad_token="<pad>" if pad else None,
        model_max_length=16,  # far below the documents: nothing may warn about that
    )


def text_of(first: int, length: int) -> str:
    """`length` consecutive words from w`first` on."""
    return " ".join(f"w{i}" for i in range(first, first + length))


def ids_of(first: int, length: int) -> list[int]:
    """The tokens of `text_of`."""
    return list(range(FIRST + first, FIRST + first + length))
