"""Duplicates and what sets share, by hand."""

from dataclasses import replace

import pytest
from helpers.sets import make_set
from helpers.words import PAD, ids_of

from calib_sweep.dataset.mixture import Mixture
from calib_sweep.dataset.repeated_token import RepeatedToken
from calib_sweep.dataset.vocabulary import Vocabulary
from calib_sweep.inspection.shared import (
    find_duplicates,
    share_of,
    shared_documents,
    window_hashes,
)


def test_exact_duplicates_are_grouped():
    rows = [[1, 2], [3, 4], [1, 2], [5, 6], [3, 4], [1, 2]]
    assert find_duplicates(make_set(rows)) == [[0, 2, 5], [1, 4]]


def test_shared_documents_count_all_that_a_sample_touches():
    one = make_set([[1], [2]], names=["a", "b"])
    other = make_set([[1], [2]], names=["c", "b"])
    assert shared_documents(one, other) == 1
    other.samples[0]["documents"] = ["c", "a"]
    assert shared_documents(one, other) == 2


def of_source(calibration_set, pool=(), **told):
    pool = None if pool is None else dict(pool)
    return replace(calibration_set, card={"provenance": told, "pool": pool})


def test_documents_of_different_sources_are_different():
    rows, names = [[1], [2]], ["0", "1"]
    one, other = make_set(rows, names=names), make_set(rows, names=names)
    for told in ({"source": "a"}, {"source": "a", "fingerprint": "f", "column": "text"}):
        mine = of_source(one, **told)
        assert shared_documents(mine, of_source(other, **told, num_documents=7)) == 2
        assert shared_documents(mine, of_source(other, **told | {"source": "b"})) == (
            2 if "fingerprint" in told else 0  # the same files elsewhere
        )
    assert shared_documents(mine, of_source(other, **told | {"column": "title"})) == 0


def test_samples_that_were_made_are_the_same_by_their_text():
    one, other = (make_set([[1], [2]], texts=["x", y], names=["0:0", "0:1"]) for y in "yz")
    one, other = (of_source(made, None, source="written") for made in (one, other))
    assert shared_documents(one, other) == 1


def test_documents_of_a_mixture_are_those_of_its_parts(tokenizer, settings):
    vocabulary, repeated = Vocabulary(name="v"), RepeatedToken(name="r")
    halves = {"v": 0.5, "r": 0.5}
    mixture = Mixture(name="m", parts={"v": vocabulary, "r": repeated}, weights=halves)
    nested = Mixture(name="n", parts={"m": mixture}, weights={"m": 1.0})
    v, r, m, n = (d.draw(tokenizer, settings(), 0) for d in (vocabulary, repeated, mixture, nested))
    assert shared_documents(v, r) == 0
    assert shared_documents(m, v) == shared_documents(m, r) == 2
    assert shared_documents(n, m) == 4


def shared_windows(one, other):
    """Share of the different 50-token windows of `one` that also occur in `other`."""
    return share_of(window_hashes(one), window_hashes(other))


def test_shared_windows_by_hand():
    one = make_set([ids_of(0, 60)])  # 11 windows of 50
    other = make_set([ids_of(5, 60)])  # begins 5 later: 6 of them are there too
    assert shared_windows(one, other) == pytest.approx(6 / 11)
    assert shared_windows(one, one) == 1.0
    assert shared_windows(one, make_set([ids_of(500, 60)])) == 0.0
    assert shared_windows(make_set([ids_of(0, 49)]), one) == 0.0


def test_windows_do_not_reach_into_padding_or_the_next_sample():
    half = ids_of(0, 30)
    one = make_set([[*ids_of(0, 50), *[PAD] * 10]], lengths=[50])
    padded = make_set([[*ids_of(0, 49), *[PAD] * 11]], lengths=[49])
    assert shared_windows(one, padded) == 0.0
    assert shared_windows(padded, padded) == 0.0
    assert shared_windows(make_set([half, ids_of(30, 30)]), make_set([ids_of(0, 60)])) == 0.0
