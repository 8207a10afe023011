"""Sets on disk appear whole or not at all, are shared, and are proved when they are read."""

import dataclasses
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from helpers.words import make_tokenizer, text_of

from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration import artifact
from calib_sweep.dataset.calibration.artifact import (
    address,
    describe_draw,
    draw_or_load,
    is_set,
    load_set,
    save_set,
)
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.errors import ConfigError, StoreError


@dataclass(frozen=True, kw_only=True)
class Words(Dataset):
    """A dataset that counts its draws."""

    name: str = "words"
    path: str = "here"
    content: str | None = "abc"
    draws: ClassVar[list[int]] = []  # no field: it must not move the address

    def draw(self, tokenizer, calibration, seed):
        self.draws.append(seed)
        texts = [text_of(10 * i, 10) for i in range(40)]
        return draw_from_documents(texts, tokenizer, calibration, seed, {"source": "t"}, self.name)

    def fingerprint(self):
        return self.content


def assert_same(one, other):
    assert one.hash == other.hash
    assert np.array_equal(one.tokens_NT, other.tokens_NT) and one.tokens_NT.dtype == np.int64
    assert (one.lengths_N is None) == (other.lengths_N is None)
    assert one.samples == other.samples
    assert one.card == other.card


@pytest.mark.parametrize("window", ["slice", "pack", "document"])
def test_a_set_is_drawn_once_and_comes_back_equal(tmp_path, tokenizer, settings, window):
    words, chosen = Words(), settings(window=window)
    words.draws.clear()
    first = draw_or_load(tmp_path, words, tokenizer, chosen, 2)
    again = draw_or_load(tmp_path, words, tokenizer, chosen, 2)
    assert words.draws == [2]
    assert_same(first, again)
    (folder,) = (tmp_path / "calibration").iterdir()
    names = ["card.json", "samples.jsonl", "tokens.safetensors"]
    assert sorted(file.name for file in folder.iterdir()) == names
    card = json.loads((folder / "card.json").read_text())
    assert card["hash"] == first.hash and card["seed"] == 2 and card["pool"]["documents"] == 40
    assert len((folder / "samples.jsonl").read_text().splitlines()) == 4


def test_marks_of_answers_are_kept_and_are_part_of_the_hash(tmp_path, tokenizer, settings):
    drawn = Words().draw(tokenizer, settings(), 0)
    answers_NT = drawn.tokens_NT % 2 == 0
    marked = dataclasses.replace(drawn, answers_NT=answers_NT)
    save_set(marked, tmp_path / "set")
    loaded = load_set(tmp_path / "set")
    assert np.array_equal(loaded.answers_NT, answers_NT) and loaded.answers_NT.dtype == bool
    assert loaded.hash == marked.hash != drawn.hash
    other = dataclasses.replace(drawn, answers_NT=~answers_NT)
    assert other.hash != marked.hash


def test_what_a_draw_does_to_the_tokenizer_does_not_reach_the_next(tmp_path, settings):
    @dataclass(frozen=True, kw_only=True)
    class Padded(Words):
        def draw(self, tokenizer, calibration, seed):
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(9)
            return super().draw(tokenizer, calibration, seed)

    tokenizer = make_tokenizer()
    one, again = (draw_or_load(tmp_path, Padded(), tokenizer, settings(), 0) for _ in "ab")
    assert one.folder == again.folder


def test_of_two_draws_that_differ_the_one_that_is_kept_counts(tmp_path, tokenizer, settings):
    @dataclass(frozen=True, kw_only=True)
    class Unsteady(Words):
        def draw(self, tokenizer, calibration, seed):
            if len(self.draws) < 2:  # another process begins later and ends before
                self.draws.append(seed)
                draw_or_load(tmp_path, self, tokenizer, calibration, seed)
            return super().draw(tokenizer, calibration, seed + len(self.draws))

    Words.draws.clear()
    drawn = draw_or_load(tmp_path, Unsteady(), tokenizer, settings(), 0)
    assert len(Words.draws) > 2 and drawn.hash == load_set(drawn.folder).hash


def test_everything_that_moves_tokens_moves_the_address(tokenizer, settings):
    def place(dataset=None, tokenizer=tokenizer, seed=0, code=None, **changed):
        return address(
            describe_draw(dataset or Words(), tokenizer, settings(**changed), seed, code)
        )

    places = [
        place(),
        place(seed=1),
        place(code="a1"),
        place(code="b2"),
        place(Words(name="other")),
        place(Words(content="abd")),
        place(tokenizer=make_tokenizer(num_words=3999)),
        place(num_samples=5),
        place(seq_len=9),
        place(design="independent"),
        place(window="pack"),
        place(bos="sample"),
    ]
    assert len(set(places)) == len(places)
    assert place() == places[0]


def test_the_place_of_files_counts_only_without_a_content_hash(tokenizer, settings):
    def place(**kwargs):
        return address(describe_draw(Words(**kwargs), tokenizer, settings(), 0, None))

    assert place(path="here") == place(path="there")
    assert place(path="here", content=None) != place(path="there", content=None)


@pytest.mark.parametrize("name", ["tokens.safetensors", "samples.jsonl", "card.json"])
def test_a_flipped_byte_is_found_and_the_set_drawn_again(
    tmp_path, tokenizer, settings, name, caplog
):
    drawn = draw_or_load(tmp_path, Words(), tokenizer, settings(), 0)
    (folder,) = (tmp_path / "calibration").iterdir()
    damaged = bytearray((folder / name).read_bytes())
    # The last byte of tokens, a letter of the first sample, a digit of the recorded hash.
    place = {"tokens.safetensors": -1, "samples.jsonl": 30}.get(name)
    if place is None:
        place = damaged.index(b'"hash": "', damaged.index(b'"versions"')) + 12
    damaged[place] ^= 1
    (folder / name).write_bytes(bytes(damaged))
    with pytest.raises(StoreError, match=r"is damaged: .*Delete that folder"):
        load_set(folder)
    with caplog.at_level("WARNING", logger="calib_sweep"):
        assert_same(draw_or_load(tmp_path, Words(), tokenizer, settings(), 0), drawn)
    assert f"{folder} is damaged" in caplog.text and "drawn again" in caplog.text
    assert_same(load_set(folder), drawn)
    (aside,) = (path for path in folder.parent.iterdir() if path != folder)
    assert aside.name in caplog.text and (aside / name).read_bytes() == bytes(damaged)


@pytest.mark.parametrize("name", ["tokens.safetensors", "samples.jsonl", "card.json"])
@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_an_incomplete_set_is_found(tmp_path, tokenizer, settings, name, harm):
    draw_or_load(tmp_path, Words(), tokenizer, settings(), 0)
    (folder,) = (tmp_path / "calibration").iterdir()
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if harm == "cut":
        (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError, match="damaged"):
        load_set(folder)


def test_a_crash_while_writing_leaves_no_set(tmp_path, tokenizer, settings, monkeypatch):
    def crash(*_, **__):
        raise OSError(28, "No space left on device")

    drawn = Words().draw(tokenizer, settings(), 0)
    with monkeypatch.context() as broken:
        broken.setattr(artifact.Path, "write_bytes", crash)
        with pytest.raises(OSError, match="No space left"):
            save_set(drawn, tmp_path / "calibration" / "abc")
    assert list((tmp_path / "calibration").iterdir()) == []
    save_set(drawn, tmp_path / "calibration" / "abc")
    assert_same(load_set(tmp_path / "calibration" / "abc"), drawn)


def test_writers_at_the_same_time_leave_one_whole_set(tmp_path, tokenizer, settings):
    drawn = Words().draw(tokenizer, settings(), 0)
    folder = tmp_path / "calibration" / "abc"
    failures = []

    def write():
        try:
            for _ in range(10):
                save_set(drawn, folder)
                assert_same(load_set(folder), drawn)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures
    assert [place.name for place in folder.parent.iterdir()] == ["abc"]


def test_a_set_that_is_there_is_never_replaced(tmp_path, tokenizer, settings):
    one, other = (Words().draw(tokenizer, settings(), seed) for seed in (0, 1))
    save_set(one, tmp_path / "abc")
    save_set(other, tmp_path / "abc")
    assert load_set(tmp_path / "abc").hash == one.hash
    assert is_set(tmp_path / "abc") and not is_set(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_results_folder_is_named(tmp_path, tokenizer, settings):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match=r"results_dir=.*can be written"):
        draw_or_load(tmp_path, Words(), tokenizer, settings(), 0)


def test_results_below_a_file_are_refused(tmp_path, tokenizer, settings):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(ConfigError, match=r"results_dir=.*can be written"):
        draw_or_load(tmp_path / "results", Words(), tokenizer, settings(), 0)


def test_the_hash_is_over_shape_tokens_and_lengths(tokenizer, settings):
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet

    def hash_of(tokens, lengths=None):
        tokens_NT = np.array(tokens)
        lengths_N = None if lengths is None else np.array(lengths)
        return CalibrationSet(tokens_NT=tokens_NT, lengths_N=lengths_N, samples=[], card={}).hash

    different = [
        hash_of([[1, 2], [3, 4]]),
        hash_of([[1, 2, 3, 4]]),
        hash_of([[1, 2], [3, 5]]),
        hash_of([[1, 2], [3, 4]], [2, 2]),
        hash_of([[1, 2], [3, 4]], [2, 1]),
    ]
    assert len(set(different)) == 5
    assert hash_of(np.array([[1, 2], [3, 4]], dtype=np.int32)) == different[0]


def test_a_set_that_may_not_be_read_is_not_called_damaged_and_is_drawn_again(
    tmp_path, tokenizer, settings, monkeypatch, caplog
):
    drawn = draw_or_load(tmp_path, Words(), tokenizer, settings(), 0)
    (folder,) = (tmp_path / "calibration").iterdir()
    before = (folder / "card.json").read_bytes()

    read_text = Path.read_text

    def refuse(path, **settings):
        if path.name == "card.json":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, **settings)

    monkeypatch.setattr(Path, "read_text", refuse)
    with caplog.at_level("WARNING", logger="calib_sweep"):
        assert_same(draw_or_load(tmp_path, Words(), tokenizer, settings(), 0), drawn)
    assert "cannot be read (Permission denied" in caplog.text and "not damaged" in caplog.text
    assert list((tmp_path / "calibration").iterdir()) == [folder]
    assert (folder / "card.json").read_bytes() == before
