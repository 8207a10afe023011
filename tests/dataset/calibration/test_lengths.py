"""Sets of mixed lengths: drawn at the longest, cut in turn."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from helpers.words import text_of

from calib_sweep.dataset.base import Dataset, TextDataset
from calib_sweep.dataset.calibration.artifact import describe_draw, draw_or_load, load_set
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.lengths import cut_to_lengths, draw_set, lengths_of
from calib_sweep.dataset.calibration.settings import Calibration, longest, sized
from calib_sweep.dataset.calibration.weighting import token_weights
from calib_sweep.dataset.documents.documents import in_memory
from calib_sweep.errors import ConfigError


@dataclass(frozen=True)
class Words(TextDataset):
    """Documents of ten words; tells at what length it was asked."""

    name: str = "words"
    asked: ClassVar[list] = []  # no field: it must not move the address

    def documents(self):
        return in_memory([text_of(10 * i, 10) for i in range(40)])

    def draw(self, tokenizer, calibration, seed, model=None):
        self.asked.append((calibration.seq_len, list(calibration.lengths)))
        return super().draw(tokenizer, calibration, seed, model)

    def provenance(self):
        return {"source": "t"}

    def fingerprint(self):
        return "abc"


def mixed(seq_len=(2, 4, 8), num_samples=7, window="slice"):
    sizes = {"num_samples": num_samples, "seq_len": list(seq_len), "bos": "none"}
    return Calibration(**sized({**sizes, "design": "disjoint", "window": window}))


def test_every_length_is_there_as_often_and_each_sample_is_a_head_of_the_longest(tokenizer):
    words, calibration = Words(), mixed(num_samples=6)
    drawn = draw_set(words, tokenizer, calibration, 3)
    assert words.asked[-1] == (8, [])
    whole = words.draw(tokenizer, mixed([8], num_samples=6), 3)
    assert Counter(drawn.lengths_N.tolist()) == {2: 2, 4: 2, 8: 2}
    assert Counter(drawn.lengths_N[:3].tolist()) == {2: 1, 4: 1, 8: 1}
    for row, length in enumerate(drawn.lengths_N):
        assert drawn.tokens_NT[row, :length].tolist() == whole.tokens_NT[row, :length].tolist()
        assert (drawn.tokens_NT[row, length:] == tokenizer.pad_token_id).all()
        assert drawn.samples[row]["text"] == tokenizer.decode(whole.tokens_NT[row, :length])
        assert drawn.samples[row]["document"] == whole.samples[row]["document"]
    assert drawn.card["seq_len"] == 8 and drawn.card["lengths"] == [2, 4, 8]
    assert drawn.hash != whole.hash


def test_the_order_of_lengths_hangs_on_the_seed_and_the_first_are_the_same_for_more():
    few, many = (lengths_of(mixed(), num, 5).tolist() for num in (7, 20))
    assert many[:7] == few and len(many) == 20
    others = {tuple(lengths_of(mixed(), 20, seed).tolist()) for seed in range(8)}
    assert len(others) > 4
    assert lengths_of(mixed((8, 2, 4)), 20, 5).tolist() == many  # as typed in another order


def test_a_length_that_is_named_twice_has_twice_as_many():
    assert Counter(lengths_of(mixed((2, 8, 8)), 9, 0).tolist()) == {2: 3, 8: 6}


def test_samples_that_are_shorter_stay_and_marks_of_answers_are_cut(tokenizer):
    tokens = np.arange(12).reshape(3, 4)
    drawn = CalibrationSet(
        tokens_NT=tokens,
        lengths_N=np.array([4, 1, 4]),
        answers_NT=np.array([[0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=bool),
        samples=[{"document": str(i), "offset": 0, "text": "as it was"} for i in range(3)],
        card={"dataset": "talk", "seed": 0},
    )
    cut = cut_to_lengths(drawn, mixed((2, 3, 4), 3), 0, tokenizer)
    wanted = lengths_of(mixed((2, 3, 4), 3), 3, 0)
    assert cut.lengths_N.tolist() == np.minimum([4, 1, 4], wanted).tolist()
    kept = np.arange(4) < cut.lengths_N[:, None]
    assert np.array_equal(cut.answers_NT, drawn.answers_NT & kept)
    assert cut.samples[1]["text"] == "as it was" and drawn.samples[0]["text"] == "as it was"


def test_a_mixed_set_is_kept_and_comes_back_and_has_weights_by_sequence(tmp_path, tokenizer):
    words, calibration = Words(), mixed(num_samples=6)
    num_before = len(words.asked)
    drawn = draw_or_load(tmp_path, words, tokenizer, calibration, 1)
    again = draw_or_load(tmp_path, words, tokenizer, calibration, 1)
    assert (
        len(words.asked) == num_before + 1
        and drawn.hash == again.hash == load_set(drawn.folder).hash
    )
    assert again.card["lengths"] == [2, 4, 8]
    weights = token_weights(drawn, "sequences")
    np.testing.assert_allclose(weights.sum(axis=1), [14 / 3] * 6, rtol=1e-6)


def test_one_length_is_described_as_ever_and_several_are_not(tokenizer):
    def described(calibration):
        return describe_draw(Words(), tokenizer, calibration, 0, None)["calibration"]

    assert "lengths" not in described(mixed([8])) and "lengths" not in described(mixed([8, 8]))
    assert described(mixed([8])) == described(mixed([8, 8]))
    assert described(mixed([2, 8]))["lengths"] == [2, 8] == described(mixed([8, 2]))["lengths"]


@pytest.mark.parametrize("seq_len", [[], [8, 0], [8, 2.5], [True, 8], ["8"], {"a": 8}])
def test_lengths_that_are_none_are_refused(seq_len):
    settings = {"num_samples": 1, "seq_len": seq_len, "bos": "none", "design": "disjoint"}
    with pytest.raises(ConfigError, match=r"calibration\.seq_len=.*or a list of them"):
        Calibration(**sized({**settings, "window": "slice"}))


def test_a_length_that_a_bos_would_fill_is_refused():
    settings = {"num_samples": 1, "seq_len": [8, 1], "design": "disjoint", "window": "slice"}
    with pytest.raises(ConfigError, match=r"calibration\.seq_len=\[1, 8\]: expected at least 2"):
        Calibration(**sized({**settings, "bos": "sample"}))


def test_the_longest_length():
    assert longest(8) == 8 == longest([2, 8, 4])


def test_a_dataset_whose_draw_takes_no_model_is_drawn(tokenizer):
    class Old(Dataset):
        name = "old"

        def draw(self, tokenizer, calibration, seed):
            return Words().draw(tokenizer, calibration, seed)

        def fingerprint(self):
            return None

    assert draw_set(Old(), tokenizer, mixed(), 0).tokens_NT.shape == (7, 8)
