"""What is shared with other text, counted by hand."""

import numpy as np
import pytest

from calib_sweep.dataset.calibration.overlap import (
    CONTAMINATION_TOKENS,
    Overlap,
    different,
    in_words,
    is_seen,
    overlap,
    run_hashes,
    runs_of_texts,
)

WIDTH = CONTAMINATION_TOKENS


def runs_of(*rows):
    return run_hashes(np.array(rows), None, WIDTH)


def test_every_different_run_is_counted_once():
    row = list(range(20))
    assert len(runs_of(row)) == len(runs_of(row, row)) == 20 - WIDTH + 1
    assert len(runs_of([7] * 20)) == 1
    assert len(runs_of([7] * (WIDTH - 1))) == 0


def test_a_token_or_its_place_makes_another_run():
    row = list(range(WIDTH))
    others = [[*row[:i], 99, *row[i + 1 :]] for i in range(WIDTH)] + [row[::-1], row[1:] + row[:1]]
    assert len(runs_of(row, *others)) == WIDTH + 3


def test_the_share_and_the_samples_are_those_counted_by_hand():
    scored = list(range(100, 140))
    inside, half, outside = scored[:20], scored[:16] + list(range(4)), list(range(500, 520))
    found = overlap(np.array([inside, half, outside]), None, runs_of(scored))
    # 8 runs in each sample. 8 of the first are scored; the first 4 of the second are among them.
    assert found == Overlap(share=8 / (8 + 4 + 8), samples=1)
    whole = overlap(np.array([inside, inside]), None, runs_of(scored))
    assert whole == Overlap(share=1.0, samples=2)


def test_padding_is_no_text():
    scored = list(range(100, 115)) + [0] * 15
    sample = list(range(100, 115)) + [0] * 5
    found = overlap(np.array([sample, [0] * 20]), np.array([15, 2]), runs_of(scored))
    assert found == Overlap(share=1.0, samples=1)


@pytest.mark.parametrize("scored", [[], [[1, 2, 3]]])
def test_nothing_is_shared_with_what_has_no_run(scored):
    theirs = run_hashes(np.array(scored, dtype=int).reshape(-1, 3), None, WIDTH)
    assert overlap(np.array([list(range(20))]), None, theirs) == Overlap(share=0.0, samples=0)
    short = np.array([[1, 2, 3]])
    assert overlap(short, None, runs_of(list(range(20)))) == Overlap(share=0.0, samples=0)


def test_runs_of_texts_reach_over_no_end():
    texts = [list(range(15)), [], list(range(40, 40 + WIDTH - 1)), list(range(70, 70 + WIDTH))]
    hashes_R, text_R = runs_of_texts(texts)
    assert text_R.tolist() == [0, 0, 0, 3]
    assert sorted(hashes_R) == sorted([*runs_of(texts[0]), *runs_of(texts[3])])
    assert [len(part) for part in runs_of_texts([])] == [0, 0]


@pytest.mark.parametrize(
    ("share", "samples", "items", "seen"),
    [(0.05, 0, 0, False), (0.051, 0, 0, True), (0.0, 1, None, True), (0.0, 0, 1, True)],
)
def test_what_is_seen_and_how_it_is_said(share, samples, items, seen):
    found = {"share": share, "samples": samples} | ({} if items is None else {"items": items})
    assert is_seen(found) == seen
    told = in_words("boolq", found)
    assert told.startswith(f"5 % of its 13-token runs and most of {samples} sample") or share == 0
    assert ("1 item of boolq in it" in told) == bool(items)


@pytest.mark.parametrize("size", [0, 1, 2, 500])
def test_different_hashes_are_those_of_numpy(size):
    hashes_R = np.random.default_rng(size).integers(0, 300, size).astype(np.uint64)
    found = different(hashes_R)
    assert found.dtype == np.uint64 and found.tolist() == sorted(set(hashes_R.tolist()))
