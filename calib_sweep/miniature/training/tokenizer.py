"""The byte-level BPE of the miniature model, trained on generated text."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from calib_sweep import valid_json
from calib_sweep.miniature.corpus import document, practice_page
from calib_sweep.miniature.text.knowledge.world import world
from calib_sweep.places import DOMAINS

VOCAB_SIZE = 4096
CONTEXT_LENGTH = 512  # tokens
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
_NUM_DOCUMENTS, _NUM_PAGES = 240, 1200  # of each domain; of practice
_NUM_MENTIONS = 400  # of every name and value of the world: most become one token, easy to match


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Learn the merges; the text is fixed, so the result is."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD
    )


def _texts() -> list[str]:
    texts = [document(domain, "train", i) for domain in DOMAINS for i in range(_NUM_DOCUMENTS)]
    texts += [practice_page(i) for i in range(_NUM_PAGES)]
    return texts + [f" {word}" * _NUM_MENTIONS for word in _known_words()]


def _known_words() -> list[str]:
    """The words of names and values that facts are made of."""
    entities = [entity for kind in world().entities.values() for entity in kind]
    told = [text for entity in entities for text in (entity.name, *entity.facts.values())]
    return sorted({word for text in told for word in text.split()})


def load_or_train(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in `folder`, trained and saved there first if it is missing."""
    settings = folder / "tokenizer_config.json"
    if not settings.exists() or not (folder / "tokenizer.json").exists():
        train_tokenizer().save_pretrained(folder)
        # The name that every version of transformers knows.
        words = {"tokenizer_class": "PreTrainedTokenizerFast"}
        words |= {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
        settings.write_text(valid_json.dumps(words, indent=2) + "\n")
    return PreTrainedTokenizerFast.from_pretrained(folder)
