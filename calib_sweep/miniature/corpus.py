"""Documents of the five domains and three splits.

Document i of a (domain, split) has its own stream, so any of them can be had without the others, in
any order. Training and calibration text share no sentence with held-out text (`text/writer.py`).
"""

from functools import cache
from types import ModuleType

from calib_sweep.errors import require
from calib_sweep.miniature.text.domains import anomalies, filtered, mix, news, practice, web, wiki
from calib_sweep.miniature.text.knowledge import lexicon
from calib_sweep.miniature.text.knowledge.world import FEMALE, MALE
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.passages import blocks
from calib_sweep.miniature.text.passages.writer import Writer
from calib_sweep.places import DOMAINS

VERSION = "2"  # raised whenever a document changes; the shipped weights belong to one version
SPLITS = ("train", "calibration", "heldout")
NUM_DOCUMENTS = {"train": 100_000, "calibration": 2_000, "heldout": 400}

_MODULES: dict[str, ModuleType] = dict(zip(DOMAINS, (web, news, mix, filtered, wiki), strict=True))
_BRIEF = 100  # words: shorter documents are a heading and a few lines


@cache
def _names() -> tuple[str, ...]:
    return (*FEMALE, *MALE)


def document(domain: str, split: str, index: int) -> str:
    """Document number `index` of one domain and split."""
    draw = Draw("miniature", domain, split, index)
    module = _MODULES[domain]
    writer = Writer(draw, held_out=split == "heldout", topic="home", names=_names())
    blocks.change_topic(writer, domain)
    if anomalies.strikes(draw, domain):
        return anomalies.page(writer)
    target = _num_words(draw, module.LENGTHS)
    writer.brief = target < _BRIEF
    parts = [module.opening(writer)]
    num_words = parts[0].count(" ") + 1
    while num_words < target:
        part = blocks.weighted(writer, module.BLOCKS)
        if part:
            parts.append(part)
            num_words += part.count(" ") + part.count("\n") + 1
    if hasattr(module, "closing") and not writer.brief:
        parts.append(module.closing(writer))
    return "\n\n".join(part for part in parts if part)


def _num_words(draw: Draw, lengths: tuple[tuple[float, int, int], ...]) -> int:
    """Words to write; `lengths`: (share of documents, fewest, most), the last takes the rest."""
    point = draw.unit()
    for share, low, high in lengths:
        point -= share
        if point < 0:
            return draw.between(low, high)
    return draw.between(*lengths[-1][1:])


def documents(domain: str, split: str, num_documents: int | None = None) -> list[str]:
    """The first `num_documents` documents (all of the split if None), always the same."""
    require(
        domain in DOMAINS,
        "dataset.domain",
        domain,
        f"one of {', '.join(DOMAINS)}",
        "Example: dataset.domain=mini_web.",
    )
    require(
        split in SPLITS,
        "dataset.split",
        split,
        f"one of {', '.join(SPLITS)}",
        f"Example: dataset.split={SPLITS[0]}.",
    )
    count = NUM_DOCUMENTS[split] if num_documents is None else num_documents
    return [document(domain, split, index) for index in range(count)]


def practice_page(index: int) -> str:
    """Page number `index` of the training-only skill passages."""
    return practice.page(writer_for("train", "practice", index))


def writer_for(split: str, part: str, index: int) -> Writer:
    """A writer of passages outside any domain; all but `train` write for the held-out side."""
    draw = Draw("miniature", part, split, index)
    topic = draw.pick(tuple(lexicon.TOPICS))
    return Writer(draw, held_out=split != "train", topic=topic, names=_names())
