"""Sets come back in as they went out, and other people's token ids are checked."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.words import FIRST, NUM_WORDS, ids_of, make_tokenizer, text_of
from safetensors.numpy import save_file

from calib_sweep.dataset.calibration.artifact import draw_or_load, save_set
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.imported import Imported
from calib_sweep.dataset.token_files import read_token_ids
from calib_sweep.errors import ConfigError, StoreError

TEXTS = [text_of(20 * i, 20) for i in range(60)]


def imported(path, tokenizer="words", **changed):
    chosen = {"name": "imported", "path": str(path), "hub_id": None, "revision": None}
    return Imported(**{**chosen, "tokenizer": tokenizer, "license": None, **changed})


def drawn(tokenizer, calibration, seed):
    return draw_from_documents(TEXTS, tokenizer, calibration, seed, {"source": "t"}, "words")


@pytest.mark.parametrize("window", ["slice", "pack", "document"])
def test_a_set_of_ours_comes_back_with_the_same_tokens(tmp_path, tokenizer, settings, window):
    chosen = settings(window=window)
    before = drawn(tokenizer, chosen, 3)
    save_set(before, tmp_path / "set")
    after = imported(tmp_path / "set", tokenizer=None).draw(tokenizer, chosen, 0)
    assert after.hash == before.hash
    assert after.samples == before.samples
    assert after.card["seed"] == 3 and after.card["design"] == "disjoint"
    stored = draw_or_load(tmp_path / "results", imported(tmp_path / "set"), tokenizer, chosen, 0)
    assert stored.hash == before.hash


def test_a_folder_of_ours_is_taken_in_the_order_of_seeds(tmp_path, tokenizer, settings):
    hashes = []
    for seed, folder in ((0, "z"), (1, "b"), (2, "a")):
        one = drawn(tokenizer, settings(), seed)
        save_set(one, tmp_path / folder)
        hashes.append(one.hash)
    dataset = imported(tmp_path, tokenizer=None)
    assert [dataset.draw(tokenizer, settings(), seed).hash for seed in range(3)] == hashes
    with pytest.raises(
        ConfigError, match=r"seed=3: expected at most 2, as .* holds 3 calibration sets"
    ):
        dataset.draw(tokenizer, settings(), 3)


def test_the_folder_that_draws_write_to_is_refused(tmp_path, tokenizer, settings):
    kept_in = tmp_path / "results" / "calibration"
    for seed in range(2):
        save_set(drawn(tokenizer, settings(), seed), kept_in / f"set{seed}")
    for path in (kept_in, tmp_path / "results" / "x" / ".." / "calibration"):
        dataset = imported(path, tokenizer=None)
        with pytest.raises(ConfigError, match=r"expected a folder that stays as it is.*/FOLDER"):
            draw_or_load(tmp_path / "results", dataset, tokenizer, settings(), 1)
    one = imported(kept_in / "set1", tokenizer=None)
    assert draw_or_load(tmp_path / "results", one, tokenizer, settings(), 0).card["seed"] == 1


def test_a_folder_below_home_can_be_named_by_a_tilde(tmp_path, tokenizer, settings, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_set(drawn(tokenizer, settings(), 0), tmp_path / "sets" / "a")
    by_tilde, in_full = imported("~/sets"), imported(tmp_path / "sets")
    assert by_tilde.fingerprint() == in_full.fingerprint()


def test_fewer_samples_take_the_first_ones(tmp_path, tokenizer, settings):
    before = drawn(tokenizer, settings(window="document"), 0)
    save_set(before, tmp_path / "set")
    after = imported(tmp_path / "set").draw(tokenizer, settings(num_samples=2), 0)
    assert np.array_equal(after.tokens_NT, before.tokens_NT[:2])
    assert after.lengths_N is not None and before.lengths_N is not None
    assert np.array_equal(after.lengths_N, before.lengths_N[:2])
    assert after.samples == before.samples[:2] and after.card["num_samples"] == 2


def test_a_set_that_does_not_fit_reports_both_sizes(tmp_path, tokenizer, settings):
    save_set(drawn(tokenizer, settings(), 0), tmp_path / "set")
    with pytest.raises(ConfigError) as caught:
        imported(tmp_path / "set").draw(tokenizer, settings(num_samples=5, seq_len=9), 0)
    assert len(caught.value.problems) == 2
    assert "calibration.num_samples=5: expected at most 4" in str(caught.value)
    assert "calibration.seq_len=9: expected 8" in str(caught.value)


def test_a_set_of_another_tokenizer_is_refused(tmp_path, tokenizer, settings):
    save_set(drawn(make_tokenizer(num_words=3999), settings(), 0), tmp_path / "set")
    with pytest.raises(ConfigError, match=r"drawn with the model's tokenizer.*4009 tokens"):
        imported(tmp_path / "set").draw(tokenizer, settings(), 0)


def test_a_damaged_set_is_refused(tmp_path, tokenizer, settings):
    save_set(drawn(tokenizer, settings(), 0), tmp_path / "set")
    file = tmp_path / "set" / "tokens.safetensors"
    content = bytearray(file.read_bytes())
    content[-8] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="damaged"):
        imported(tmp_path / "set").draw(tokenizer, settings(), 0)


def write_ids(file: Path, rows) -> Path:
    if file.suffix == ".npy":
        np.save(file, np.array(rows, dtype=np.int32))
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows))
    else:
        save_file({"tokens": np.array(rows, dtype=np.int64), "mask": np.ones((1, 1))}, file)
    return file


@pytest.mark.parametrize("kind", [".npy", ".json", ".safetensors"])
def test_token_ids_of_others_are_taken_as_they_are(tmp_path, tokenizer, settings, kind):
    rows = [ids_of(10 * i, 8) for i in range(4)]
    file = write_ids(tmp_path / f"theirs{kind}", rows)
    taken = imported(file, tokenizer="their/tokenizer").draw(tokenizer, settings(), 0)
    assert taken.tokens_NT.tolist() == rows and taken.tokens_NT.dtype == np.int64
    assert taken.samples[1]["text"] == text_of(10, 8)
    assert taken.card["provenance"]["tokenizer"] == "their/tokenizer"
    assert taken.card["design"] is None


def test_a_folder_of_token_files_is_taken_by_name(tmp_path, tokenizer, settings):
    for place, name in enumerate(("a.npy", "b.npy", "c.npy")):
        write_ids(tmp_path / name, [ids_of(100 * place + 10 * i, 8) for i in range(4)])
    dataset = imported(tmp_path)
    firsts = [int(dataset.draw(tokenizer, settings(), k).tokens_NT[0, 0]) for k in range(3)]
    assert firsts == [FIRST, FIRST + 100, FIRST + 200]
    with pytest.raises(ConfigError, match=r"seed=7: expected at most 2"):
        dataset.draw(tokenizer, settings(), 7)


def test_the_tokenizer_of_token_ids_must_be_stated(tmp_path, tokenizer, settings):
    file = write_ids(tmp_path / "a.npy", [ids_of(0, 8)] * 4)
    with pytest.raises(ConfigError, match=r"dataset\.tokenizer=None.*Example: dataset\.tokenizer="):
        imported(file, tokenizer=None).draw(tokenizer, settings(), 0)


@pytest.mark.parametrize("wrong", [-1, NUM_WORDS + FIRST])
def test_ids_outside_the_vocabulary_are_refused(tmp_path, tokenizer, settings, wrong):
    rows = [ids_of(0, 8)] * 4
    file = write_ids(tmp_path / "a.npy", [*rows[:3], [*rows[3][:7], wrong]])
    with pytest.raises(
        ConfigError, match=rf"from 0 to {NUM_WORDS + FIRST - 1}.*this model's tokenizer"
    ):
        imported(file).draw(tokenizer, settings(), 0)


@pytest.mark.parametrize(
    ("name", "content", "phrase"),
    [
        ("a.json", b"[[11, 12], [13]]", "cannot be read as one"),
        ("a.json", b"[[0.5, 1.5]]", r"integers.*float64 \[1, 2\]"),
        ("a.json", b"[11, 12]", r"found int64 \[2\]"),
        ("a.json", b"{", "cannot be read as one"),
        ("a.npy", b"no array", "cannot be read as one"),
        ("a.safetensors", b"no tensors", "cannot be read as one"),
        ("a.jsonl", b"", r"found float64 \[0\]"),
        ("a.pt", b"no tensors", "holds other Python objects"),
        ("a.csv", b"1,2", "expected a calibration folder, a token file"),
        ("gone.npy", None, "but there is none. Correct the path"),
    ],
)
def test_unusable_token_files_are_explained(tmp_path, tokenizer, settings, name, content, phrase):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=phrase):
        imported(tmp_path / name).draw(tokenizer, settings(), 0)


def test_a_pickled_array_is_never_opened(tmp_path, tokenizer, settings):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match="cannot be read as one"):
        imported(tmp_path / "a.npy").draw(tokenizer, settings(), 0)


def test_folders_with_nothing_or_with_both_kinds_are_refused(tmp_path, tokenizer, settings):
    with pytest.raises(ConfigError, match="found neither"):
        imported(tmp_path).draw(tokenizer, settings(), 0)
    save_set(drawn(tokenizer, settings(), 0), tmp_path / "set")
    write_ids(tmp_path / "a.npy", [ids_of(0, 8)])
    with pytest.raises(ConfigError, match="but found both"):
        imported(tmp_path).draw(tokenizer, settings(), 0)


def test_the_fingerprint_is_of_the_content(tmp_path, tokenizer, settings):
    for place in ("here", "there"):
        save_set(drawn(tokenizer, settings(), 0), tmp_path / place / "set")
    here, there = (imported(tmp_path / place).fingerprint() for place in ("here", "there"))
    assert here == there
    save_set(drawn(tokenizer, settings(), 1), tmp_path / "there" / "more")
    assert imported(tmp_path / "there").fingerprint() != here


ROWS = [ids_of(10 * i, 8) for i in range(4)]


def saved_by_torch() -> dict:
    """What calibration scripts save, by the loader that makes it."""
    import torch

    ids = torch.tensor(ROWS)
    return {
        "an array": ids,
        "a mapping": {"input_ids": ids, "labels": ids},
        "rows": list(ids),
        "rows of one": [row[None] for row in ids],
        "pairs of GPTQ's loaders": [(row[None], torch.full_like(row[None], -100)) for row in ids],
        "objects": [{"input_ids": row[None], "attention_mask": row[None] * 0 + 1} for row in ids],
    }


@pytest.mark.parametrize("layout", list(saved_by_torch()))
def test_what_torch_saved_is_read_in_every_common_layout(tmp_path, layout):
    import torch

    torch.save(saved_by_torch()[layout], tmp_path / "ids.pt")
    tokens_NT, lengths_N = read_token_ids(tmp_path / "ids.pt")
    assert tokens_NT.tolist() == ROWS and tokens_NT.dtype == np.int64 and lengths_N is None


@pytest.mark.parametrize("rows", [ROWS, [{"input_ids": row} for row in ROWS]])
def test_lines_of_json_are_rows(tmp_path, rows):
    (tmp_path / "ids.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    assert read_token_ids(tmp_path / "ids.jsonl")[0].tolist() == ROWS


def test_rows_of_two_ids_are_no_pairs(tmp_path):
    (tmp_path / "ids.json").write_text("[[11, 12], [13, 14]]")
    assert read_token_ids(tmp_path / "ids.json")[0].tolist() == [[11, 12], [13, 14]]


def test_padding_of_others_is_known_by_their_mask(tmp_path, tokenizer, settings):
    mask = [[1] * 8, [1] * 5 + [0] * 3, [1] * 8, [1, *[0] * 7]]
    file = tmp_path / "ids.json"
    file.write_text(json.dumps({"input_ids": ROWS, "attention_mask": mask}))
    taken = imported(file).draw(tokenizer, settings(), 0)
    assert taken.lengths_N is not None and taken.lengths_N.tolist() == [8, 5, 8, 1]
    assert taken.samples[1]["text"] == text_of(10, 5)
    for wrong in ([[0, *[1] * 7]] * 4, [[0] * 8] * 4, [[1] * 8] * 3):
        file.write_text(json.dumps({"input_ids": ROWS, "attention_mask": wrong}))
        with pytest.raises(ConfigError, match="whose rows begin with ones and end with zeros"):
            imported(file).draw(tokenizer, settings(), 0)


class Dangerous:
    """Runs code when a pickle of it is read."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_no_pickle_runs_code(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    torch.save([Dangerous()], tmp_path / "ids.pt")
    with pytest.raises(ConfigError, match=r"other Python objects.*torch\.save\(ids, 'ids\.pt'\)"):
        read_token_ids(tmp_path / "ids.pt")
    assert not Path("ran").exists()


def test_path_or_hub_must_be_named():
    with pytest.raises(ConfigError, match=r"dataset\.path=None: expected a non-empty string"):
        Imported(name="a", path=None, hub_id=None, revision=None, tokenizer=None, license=None)
