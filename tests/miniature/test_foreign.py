"""The miniature's other language: the same texts, no word of which the model knows."""

import re

from calib_sweep.miniature.dataset import MiniatureDataset
from calib_sweep.miniature.foreign import ForeignMiniature

WEB = {"domain": "mini_web", "split": "calibration", "num_documents": 20}


def test_letters_change_places_and_nothing_else_does():
    own = MiniatureDataset(name="mini_web", **WEB).documents()
    foreign = ForeignMiniature(name="mini_foreign", **WEB).documents()
    before = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    after = "nopqrstuvwxyzabcdefghijklmNOPQRSTUVWXYZABCDEFGHIJKLM"
    assert len(foreign) == 20
    assert foreign[:] == [text.translate(str.maketrans(before, after)) for text in own[:]]
    assert foreign.id(3) == "foreign/mini_web/calibration/3"


def test_hardly_a_word_is_a_word_of_the_domain():
    kinds = MiniatureDataset, ForeignMiniature
    words = [
        set(re.findall("[a-z]{3,}", " ".join(kind(name="x", **WEB).documents()[:]).lower()))
        for kind in kinds
    ]
    assert len(words[0] & words[1]) < 0.01 * len(words[0]) and len(words[0]) == len(words[1])


def test_the_text_is_not_taken_for_the_domain_that_is_scored():
    own, foreign = (kind(name="x", **WEB) for kind in (MiniatureDataset, ForeignMiniature))
    assert not own.sources().items() & foreign.sources().items()
