"""Mixed sets: counts add up, parts draw as they would alone."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from helpers.words import text_of

from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration.artifact import draw_or_load
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.mixture import Mixture, share_out
from calib_sweep.dataset.text import TextFiles
from calib_sweep.dataset.vocabulary import Vocabulary
from calib_sweep.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Words(Dataset):
    """80 documents of 10 words from w`first` on."""

    name: str
    first: int
    content: str | None = field(default=None)

    def draw(self, tokenizer, calibration, seed):
        texts = [text_of(self.first + 10 * i, 10) for i in range(80)]
        return draw_from_documents(texts, tokenizer, calibration, seed, {"source": "t"}, self.name)

    def fingerprint(self):
        return self.content


LOW, HIGH = Words(name="low", first=0), Words(name="high", first=1000)


def mixture(weights=None, **parts):
    parts = parts or {"low": LOW, "high": HIGH}
    return Mixture(name="mix", parts=parts, weights=weights or dict.fromkeys(parts, 1.0))


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        (128, {"a": 1, "b": 1}, {"a": 64, "b": 64}),
        (10, {"a": 1, "b": 1, "c": 1}, {"a": 4, "b": 3, "c": 3}),
        (7, {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 4, "b": 2, "c": 1}),  # 3.5, 2.1, 1.4
        (8, {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 4, "b": 2, "c": 2}),  # 4.0, 2.4, 1.6
        (5, {"a": 3, "b": 2}, {"a": 3, "b": 2}),
        (1, {"a": 0.2, "b": 0.8}, {"a": 0, "b": 1}),
        (4, {"a": 0, "b": 1}, {"a": 0, "b": 4}),
    ],
)
def test_largest_remainder(total, weights, expected):
    assert share_out(total, weights) == expected


def test_counts_add_up_and_are_off_by_less_than_one():
    random = np.random.default_rng(0)
    for _ in range(300):
        weights = {str(i): float(w) for i, w in enumerate(random.random(random.integers(1, 7)))}
        total = int(random.integers(1, 200))
        counts = share_out(total, weights)
        whole = sum(weights.values())
        assert sum(counts.values()) == total
        assert all(abs(counts[k] - total * weights[k] / whole) < 1 for k in weights)


@pytest.mark.parametrize("share, told", [(0, False), (1, True)])
def test_a_mixture_tells_answers_as_its_parts_with_a_share_do(tmp_path, share, told):
    (tmp_path / "plain.txt").write_text("w1 w2")
    how = {"name": "plain", "column": "text", "separator": None, "join": " ", "license": None}
    plain = TextFiles(path=str(tmp_path / "plain.txt"), **how)
    assert mixture({"low": share, "plain": 1}, low=LOW, plain=plain).tells_answers == told


def test_parts_draw_what_they_would_draw_alone(tokenizer, settings):
    drawn = mixture({"low": 3, "high": 1}).draw(tokenizer, settings(num_samples=8), 2)
    low = LOW.draw(tokenizer, settings(num_samples=6), 2)
    high = HIGH.draw(tokenizer, settings(num_samples=2), 2)
    assert np.array_equal(drawn.tokens_NT, np.concatenate([low.tokens_NT, high.tokens_NT]))
    assert [sample["part"] for sample in drawn.samples] == ["low"] * 6 + ["high"] * 2
    assert drawn.card["provenance"]["parts"]["low"]["count"] == 6
    assert drawn.card["pool"]["high"] == high.card["pool"]


def test_mixed_sets_of_different_seeds_are_disjoint(tokenizer, settings):
    sets = [mixture().draw(tokenizer, settings(num_samples=10), seed) for seed in range(5)]
    words = [word for drawn in sets for word in drawn.tokens_NT.ravel().tolist()]
    assert len(words) == len(set(words))


def test_a_part_without_a_share_is_not_drawn(tokenizer, settings):
    class Broken(Dataset):
        name = "broken"

        def draw(self, *_):
            raise AssertionError("drawn")

        def fingerprint(self):
            return None

    mixed = mixture({"low": 1, "broken": 0}, low=LOW, broken=Broken())
    assert len(mixed.draw(tokenizer, settings(), 0).samples) == 4


def test_padding_lengths_of_parts_are_joined(tokenizer, settings):
    chosen = settings(window="document", seq_len=12)
    drawn = mixture().draw(tokenizer, chosen, 0)
    assert drawn.lengths_N is not None and drawn.lengths_N.tolist() == [10] * 4


def test_a_mixture_is_stored_like_any_set(tmp_path, tokenizer, settings):
    one = draw_or_load(tmp_path, mixture(), tokenizer, settings(), 0)
    again = draw_or_load(tmp_path, mixture(), tokenizer, settings(), 0)
    assert one.hash == again.hash and one.samples == again.samples and one.card == again.card
    draw_or_load(tmp_path, mixture({"low": 1, "high": 3}), tokenizer, settings(), 0)
    moved = Words(name="high", first=1010)
    draw_or_load(tmp_path, mixture(low=LOW, high=moved), tokenizer, settings(), 0)
    assert len(list((tmp_path / "calibration").iterdir())) == 3


def test_the_fingerprint_follows_the_parts():
    assert mixture().fingerprint() is None
    prints = {
        mixture(low=Words(name="low", first=0, content=c), high=HIGH).fingerprint() for c in "ab"
    }
    assert len(prints) == 2


@pytest.mark.parametrize(
    ("weights", "phrase"),
    [
        ({"low": 1}, "one weight for each of dataset.parts: low, high"),
        ({"low": 1, "hgih": 1}, "one weight for each"),
        ({"low": -1, "high": 2}, "numbers >= 0"),
        ({"low": 0, "high": 0}, "not all of them 0"),
        ({"low": "half", "high": 1}, "numbers >= 0"),
        ({"low": float("nan"), "high": 1}, "numbers >= 0"),
    ],
)
def test_bad_weights_are_refused(weights, phrase):
    with pytest.raises(ConfigError, match=rf"dataset\.weights=.*{phrase}"):
        mixture(weights)


def test_two_parts_of_one_name_would_share_their_streams():
    with pytest.raises(ConfigError, match=r"dataset\.parts=\['low', 'low'\]"):
        mixture(a=LOW, b=Words(name="low", first=5))


def test_equal_text_under_two_labels_is_refused(tmp_path, tokenizer, settings):
    """It would be drawn alike, and half of the set would be the other half."""
    for name in ("one", "two", "three"):
        lines = [json.dumps({"text": text_of(20 * i, 12)}) for i in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines if name != "three" else lines[1:]))
    texts = {
        name: TextFiles(
            name=name,
            path=str(tmp_path / f"{name}.jsonl"),
            column="text",
            separator=None,
            join="\n\n",
            license=None,
        )
        for name in ("one", "two", "three")
    }
    twice = mixture(a=texts["one"], b=texts["two"])
    for ask in (twice.draw, twice.check):
        with pytest.raises(ConfigError, match=r"dataset\.parts\.b='two': expected other text"):
            ask(tokenizer, settings(), 0)
    noise = mixture(a=Vocabulary(name="a"), b=Vocabulary(name="b"))
    with pytest.raises(ConfigError, match=r"dataset\.parts\.b='b': expected other text"):
        noise.draw(tokenizer, settings(), 0)
    mixture(a=texts["one"], b=texts["three"]).draw(tokenizer, settings(num_samples=2), 0)
    mixture({"a": 1, "b": 0}, a=texts["one"], b=texts["two"]).draw(tokenizer, settings(), 0)
