"""The generated text: always the same, split by sentence, rich, different between domains."""

import hashlib
import math
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.errors import ConfigError
from calib_sweep.inspection.samples import describe_samples, find_outliers
from calib_sweep.miniature.corpus import document, documents, practice_page, writer_for
from calib_sweep.miniature.text.domains import anomalies
from calib_sweep.miniature.text.knowledge.world import RELATIONS, world
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.language.forms import gerund, participle, past, plural
from calib_sweep.miniature.text.language.template import Phrase, Ranked, fill
from calib_sweep.miniature.text.passages.writer import is_held_out, sentences
from calib_sweep.places import DOMAINS

HASH_SNIPPET = """
import hashlib
from calib_sweep.places import DOMAINS
from calib_sweep.miniature.corpus import documents
text = "".join(documents(d, s, 2)[1] for d in DOMAINS for s in ("train", "calibration", "heldout"))
print(hashlib.sha256(text.encode()).hexdigest())
"""
# Of corpus.VERSION 2, which the shipped weights were trained on.
FROZEN = "3df4529a6f69202d6cb5aa825e96df7639991c87274f1cbf3133d19ef1f82135"
FROZEN_PAGES = "f63d058be42131c03342bb79ffb68d5129eb8aa514c643a20d2a4c3a00540ba6"
SPLITS = ("train", "calibration", "heldout")


@cache
def _sample(domain: str, split: str, count: int) -> list[str]:
    return documents(domain, split, count)


def test_text_is_the_same_in_every_process_and_is_what_the_weights_were_trained_on() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", HASH_SNIPPET], capture_output=True, text=True, check=True
    ).stdout.strip()
    here = [documents(d, s, 2)[1] for d in DOMAINS for s in SPLITS]
    assert printed == hashlib.sha256("".join(here).encode()).hexdigest() == FROZEN


def test_practice_pages_are_those_that_the_weights_were_trained_on() -> None:
    pages = "".join(practice_page(index) for index in range(40))
    assert hashlib.sha256(pages.encode()).hexdigest() == FROZEN_PAGES


def test_a_document_does_not_depend_on_the_others() -> None:
    assert documents("mini_wiki", "calibration", 5)[4] == document("mini_wiki", "calibration", 4)


def test_no_sentence_of_held_out_text_is_in_training_or_calibration_text_of_any_domain() -> None:
    held_out = {p for d in DOMAINS for text in _sample(d, "heldout", 20) for p in _parts(text)}
    seen = {
        part for domain in DOMAINS for split in SPLITS[:2]
        for text in _sample(domain, split, 40) for part in _parts(text)
    }  # fmt: skip
    assert len(held_out) > 2_000 and len(seen) > 8_000
    assert not held_out & seen
    assert all(is_held_out(part) for part in held_out)


def test_practice_pages_and_anomalies_hold_no_held_out_sentence() -> None:
    pages = [practice_page(i) for i in range(30)]
    pages += [anomalies.page(writer_for("train", "anomaly", i)) for i in range(30)]
    parts = [part for page in pages for part in sentences(page)]
    assert len(parts) > 1_000
    assert not any(is_held_out(part) for part in parts)
    held_out = anomalies.page(writer_for("tasks", "anomaly", 0))
    assert all(is_held_out(part) for part in sentences(held_out))


def _parts(text: str) -> list[str]:
    """Pieces of five words or more, split here so that the test does not lean on the writer."""
    pieces = re.split(r"(?<=[.!?])[\"')]*\s+|\n+", text.strip())
    return [piece for piece in pieces if len(piece.split(" ")) >= 5]


@pytest.mark.parametrize("domain", DOMAINS)
def test_lengths_spread_from_a_few_lines_to_many_windows(domain: str) -> None:
    words = np.array([len(text.split()) for text in _sample(domain, "calibration", 40)])
    assert words.min() < 100
    assert words.max() > 700
    assert 0.02 < (words < 150).mean() < 0.5
    assert (words > 300).mean() > 0.4


def _words(domain: str) -> list[str]:
    return re.findall(r"[a-z]{4,}", " ".join(_sample(domain, "train", 40)).lower())


def test_domains_differ_in_their_words() -> None:
    top = {d: {word for word, _ in Counter(_words(d)).most_common(100)} for d in DOMAINS}
    for one in DOMAINS:
        for other in DOMAINS:
            assert one == other or len(top[one] & top[other]) < 50, (one, other)


def test_domains_differ_in_the_length_of_their_sentences() -> None:
    mean = {
        d: np.mean([len(p.split()) for t in _sample(d, "train", 40) for p in _parts(t)])
        for d in DOMAINS
    }
    assert mean["mini_mix"] < mean["mini_news"] < mean["mini_filtered"]
    assert mean["mini_filtered"] > mean["mini_web"] + 3


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_next_word_is_not_given_by_the_word_before(domain: str) -> None:
    words = re.findall(r"\w+|[^\w\s]", " ".join(_sample(domain, "train", 80)))[:20_000]
    assert len(words) == 20_000  # entropies of counts grow with the sample
    first = _entropy(Counter(words))
    assert first > 8.1
    assert _entropy(Counter(pairwise(words))) - first > 3.45


@pytest.mark.parametrize("domain", DOMAINS)
def test_sentences_are_new_and_terms_come_back(domain: str) -> None:
    texts = [text for text in _sample(domain, "train", 40) if text.count(" ") > 250]
    parts = [part for text in texts for part in set(_parts(text))]
    assert len(set(parts)) > 0.93 * len(parts)
    # Half of a document's words stand in its first half already; in another document far fewer do.
    halves = [
        (words[: len(words) // 2], words[len(words) // 2 :]) for words in map(_long_words, texts)
    ]
    own = np.mean([_share_seen(one, other) for one, other in halves])
    foreign = np.mean([_share_seen(one, other) for (one, _), (_, other) in pairwise(halves)])
    assert own > foreign + 0.15


def _long_words(text: str) -> list[str]:
    return re.findall(r"[a-z]{5,}", text.lower())


def _share_seen(seen: list[str], words: list[str]) -> float:
    return float(np.isin(words, seen).mean())


def _entropy(counts: Counter) -> float:
    """Bits."""
    total = sum(counts.values())
    return -sum(count / total * math.log2(count / total) for count in counts.values())


def test_anomalies_come_at_the_rate_of_their_domain() -> None:
    for domain, rate in anomalies.RATES.items():
        struck = sum(anomalies.strikes(Draw("test", domain, i), domain) for i in range(2_000))
        assert abs(struck / 2_000 - rate) < 4 * math.sqrt(rate / 2_000)
    assert max(anomalies.RATES, key=anomalies.RATES.__getitem__) == "mini_web"
    assert min(anomalies.RATES, key=anomalies.RATES.__getitem__) == "mini_wiki"
    assert 0.01 < sum(anomalies.RATES.values()) / len(DOMAINS) < 0.02


@pytest.mark.parametrize("kind", anomalies.KINDS, ids=lambda kind: kind.__name__.strip("_"))
def test_an_anomaly_stands_out_among_ordinary_documents(kind) -> None:
    texts = [text[:900] for text in _sample("mini_web", "calibration", 40) if len(text) > 900]
    texts = [*texts[:15], kind(writer_for("train", "anomaly", 3))[:900]]
    tokens_NT = np.array([[ord(sign) for sign in text.ljust(900)] for text in texts])
    made = CalibrationSet(
        tokens_NT=tokens_NT, lengths_N=None, samples=[{"text": text} for text in texts], card={}
    )
    assert 15 in {sample for sample, *_ in find_outliers(describe_samples(made))}


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


def test_phrases_nest_and_ranked_words_favour_the_first() -> None:
    scope = {"tree": Phrase(("the {word} tree",)), "word": Ranked(("old", "tall", "dead", "bare"))}
    counts = Counter(fill("{t=tree}: {t}", scope, Draw("t", i)) for i in range(400))
    assert set(counts) == {
        f"The {word} tree: the {word} tree" for word in ("old", "tall", "dead", "bare")
    }
    assert 160 < counts["The old tree: the old tree"] < 240  # sqrt(1/4) of 400


def test_words_take_their_forms() -> None:
    assert [plural(word) for word in ("pan", "shelf", "box", "berry", "tray", "torch")] == [
        "pans", "shelves", "boxes", "berries", "trays", "torches"
    ]  # fmt: skip
    assert [past(word) for word in ("bake", "fry", "trim", "play", "write", "regret")] == [
        "baked", "fried", "trimmed", "played", "wrote", "regretted"
    ]  # fmt: skip
    assert [gerund(word) for word in ("bake", "dig", "cover")] == ["baking", "digging", "covering"]
    assert [participle(word) for word in ("write", "paint")] == ["written", "painted"]


@pytest.mark.parametrize(
    ("domain", "split", "phrase"),
    [("mini_sms", "train", "mini_web"), ("mini_web", "test", "heldout")],
)
def test_an_unknown_domain_or_split_is_named(domain: str, split: str, phrase: str) -> None:
    with pytest.raises(ConfigError, match=phrase):
        documents(domain, split, 1)
