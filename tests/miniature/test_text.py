"""The generated text: always the same, split by sentence, different between domains."""

import hashlib
import re
import subprocess
import sys
from collections import Counter

import pytest

from calib_sweep.errors import ConfigError
from calib_sweep.miniature import DOMAINS
from calib_sweep.miniature.corpus import document, documents, practice_page
from calib_sweep.miniature.text.draw import Draw
from calib_sweep.miniature.text.template import fill
from calib_sweep.miniature.text.world import RELATIONS, world
from calib_sweep.miniature.text.writer import is_held_out, sentences

HASH_SNIPPET = """
import hashlib
from calib_sweep.miniature import DOMAINS
from calib_sweep.miniature.corpus import documents
text = "".join(documents(d, s, 2)[1] for d in DOMAINS for s in ("train", "calibration", "heldout"))
print(hashlib.sha256(text.encode()).hexdigest())
"""
# Of corpus.VERSION 1, which the shipped weights were trained on.
FROZEN = "0c2f252a30c7cc7653179d90b51de6797967d1b9722b0e9d232298dfa69c61b6"


def test_text_is_the_same_in_every_process_and_is_what_the_weights_were_trained_on() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", HASH_SNIPPET], capture_output=True, text=True, check=True
    ).stdout.strip()
    here = [documents(d, s, 2)[1] for d in DOMAINS for s in ("train", "calibration", "heldout")]
    assert printed == hashlib.sha256("".join(here).encode()).hexdigest() == FROZEN


def test_a_document_does_not_depend_on_the_others() -> None:
    assert documents("mini_wiki", "calibration", 5)[4] == document("mini_wiki", "calibration", 4)


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_sentence_of_held_out_text_is_in_training_or_calibration_text(domain: str) -> None:
    held_out = {part for i in range(12) for part in _parts(document(domain, "heldout", i))}
    seen = {
        part for split in ("train", "calibration") for i in range(25)
        for part in _parts(document(domain, split, i))
    }  # fmt: skip
    assert len(held_out) > 200
    assert not held_out & seen
    assert all(is_held_out(part) for part in held_out)


def test_practice_pages_hold_no_held_out_sentence() -> None:
    parts = [part for i in range(30) for part in sentences(practice_page(i))]
    assert len(parts) > 500
    assert not any(is_held_out(part) for part in parts)


def _parts(text: str) -> list[str]:
    """Pieces of five words or more, split here so that the test does not lean on the writer."""
    pieces = re.split(r"(?<=[.!?])[\"')]*\s+|\n+", text.strip())
    return [piece for piece in pieces if len(piece.split(" ")) >= 5]


def test_many_documents_are_long_and_some_are_short() -> None:
    for domain in DOMAINS:
        words = [len(document(domain, "calibration", i).split()) for i in range(60)]
        assert sum(count > 200 for count in words) >= 30
        assert sum(count > 400 for count in words) >= 8
        assert sum(count < 170 for count in words) >= 5


def test_domains_differ_in_their_words() -> None:
    counts = {}
    for domain in DOMAINS:
        text = " ".join(document(domain, "train", i) for i in range(40)).lower()
        counts[domain] = Counter(re.findall(r"[a-z]{4,}", text))
    for one in DOMAINS:
        top = {word for word, _ in counts[one].most_common(100)}
        for other in DOMAINS:
            if other != one:
                assert len(top & {word for word, _ in counts[other].most_common(100)}) < 60


def test_the_world_has_several_hundred_entities_and_different_names() -> None:
    names = [entity.name for entities in world().entities.values() for entity in entities]
    assert len(names) == len(set(names)) > 400
    for kind, relations in RELATIONS.items():
        assert all(tuple(entity.facts) == relations for entity in world().entities[kind])


def test_templates_choose_fill_remember_and_mend_articles() -> None:
    scope = {"x": ("oak",), "y": lambda draw, scope: "pine"}
    assert fill("{t=x} is a {t}[ and a {y}]", scope, Draw("t")) == "Oak is an oak and a pine"
    drawn = {fill("[a|b[c|d]|]!", {}, Draw("t", i)) for i in range(80)}
    assert drawn == {"A!", "Bc!", "Bd!", "!"}


@pytest.mark.parametrize(
    ("domain", "split", "phrase"),
    [("mini_sms", "train", "mini_web"), ("mini_web", "test", "heldout")],
)
def test_an_unknown_domain_or_split_is_named(domain: str, split: str, phrase: str) -> None:
    with pytest.raises(ConfigError, match=phrase):
        documents(domain, split, 1)
