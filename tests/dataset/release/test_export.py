"""Released sets: `load_dataset` reads them, they come back with the same hash, byte for byte."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.words import make_tokenizer, text_of

from calib_sweep.dataset.calibration.artifact import is_set, load_set, save_set
from calib_sweep.dataset.calibration.lengths import cut_to_lengths
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.imported import Imported
from calib_sweep.dataset.release import contents, export
from calib_sweep.errors import ConfigError
from calib_sweep.results.record import new_record
from calib_sweep.results.store import Store

TEXTS = [text_of(20 * i, 6 + i % 14) for i in range(60)]
PROVENANCE = {"source": "/home/me/texts.jsonl", "license": "CC BY 4.0", "files": ["texts.jsonl"]}


def settings(**changed) -> Calibration:
    chosen = {"num_samples": 4, "seq_len": 8, "design": "disjoint", "window": "slice"}
    return Calibration(**{**chosen, "bos": "none", **changed})


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def drawn(tokenizer, seed, provenance=PROVENANCE, **changed):
    return draw_from_documents(TEXTS, tokenizer, settings(**changed), seed, provenance, "my texts")


@pytest.fixture
def kept(tmp_path, tokenizer) -> list[Path]:
    """Two sets: a full one, and a padded one with marks of answers."""
    padded = drawn(tokenizer, 0, window="document")
    marks = np.zeros((4, 8), dtype=bool)
    marks[:, 3:5] = True
    folders = [tmp_path / "kept" / "b", tmp_path / "kept" / "a"]
    save_set(replace(padded, answers_NT=marks), folders[0])
    save_set(drawn(tokenizer, 1), folders[1])
    return folders


def imported(path) -> Imported:
    return Imported(
        name="imported", path=str(path), hub_id=None, revision=None, tokenizer=None, license=None
    )


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_release_comes_back_with_the_same_hashes(tmp_path, tokenizer, kept):
    assert export.main([*map(str, kept), "--to", str(tmp_path / "out")]) == 0
    before = [load_set(folder) for folder in kept]
    again = imported(tmp_path / "out")
    for seed, window in ((0, "document"), (1, "slice")):
        after = again.draw(tokenizer, settings(window=window), seed)
        assert after.hash == before[seed].hash and after.samples == before[seed].samples
    marks = again.draw(tokenizer, settings(num_samples=2), 0).answers_NT
    assert marks is not None and marks.sum(axis=1).tolist() == [2, 2]


def test_mixed_lengths_and_what_a_card_says_come_back(tmp_path, tokenizer):
    chosen = replace(settings(num_samples=6), lengths=(4, 8))
    one = cut_to_lengths(drawn(tokenizer, 0, num_samples=6), chosen, 0, tokenizer)
    told = {"cost": {"seconds": 1.5}, "selection": {"selector": "zipf", "scores": [0.5, None]}}
    save_set(replace(one, card={**one.card, **told}), tmp_path / "a")
    export.main([str(tmp_path / "a"), "--to", str(tmp_path / "out")])
    assert "| my_texts_seed0 | 6 | 4, 8 |" in (tmp_path / "out" / "README.md").read_text()
    after = imported(tmp_path / "out").draw(tokenizer, settings(num_samples=6), 0)
    assert after.hash == one.hash and after.lengths_N is not None
    assert sorted(after.lengths_N.tolist()) == [4, 4, 4, 8, 8, 8]
    assert {key: after.card[key] for key in told} == told and after.card["lengths"] == [4, 8]


def test_load_dataset_reads_tokens_text_and_answers(tmp_path, kept):
    import datasets

    export.main([*map(str, kept), "--to", str(tmp_path / "out")])
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert sorted(found) == ["my_texts_seed0", "my_texts_seed1"]
    for split, folder in zip(sorted(found), kept, strict=True):
        one, rows = load_set(folder), found[split]
        lengths = [8] * 4 if one.lengths_N is None else one.lengths_N.tolist()
        assert rows["input_ids"] == [
            row[:length].tolist() for row, length in zip(one.tokens_NT, lengths, strict=True)
        ]
        assert list(rows["text"]) == [sample["text"] for sample in one.samples]
    assert found["my_texts_seed0"][0]["answers"][:6] == [False] * 3 + [True] * 2 + [False]
    assert list(found["my_texts_seed1"]["answers"]) == [None] * 4


def test_a_release_names_licence_and_source_but_no_place_on_this_machine(tmp_path, kept):
    export.main([*map(str, kept), "--to", str(tmp_path / "out")])
    head, body = (tmp_path / "out" / "README.md").read_text().removeprefix("---\n").split("---\n")
    assert yaml.safe_load(head)["license"] == ["cc-by-4.0"]
    assert "- CC BY 4.0\n" in body and load_set(kept[0]).hash in body
    told = b"".join(content(tmp_path / "out").values())
    assert b"/home/me" not in told and str(tmp_path).encode() not in told
    card = json.loads((tmp_path / "out" / "my_texts_seed0" / "card.json").read_text())
    assert card["provenance"]["source"] == "texts.jsonl" and card["dataset"] == "my texts"


def test_the_same_sets_give_the_same_bytes_and_nothing_else_is_overwritten(tmp_path, kept):
    typed = [*map(str, kept), "--to"]
    for place in ("one", "two", "two"):
        export.main([*typed, str(tmp_path / place)])
    assert content(tmp_path / "one") == content(tmp_path / "two")
    (tmp_path / "two" / "README.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"two: expected a new folder.*--to .*two_2"):
        export.main([*typed, str(tmp_path / "two")])
    assert (tmp_path / "two" / "README.md").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_a_sweep_stands_for_the_sets_that_its_cells_used(tmp_path, kept, make_cell):
    """Each once; not those of other sweeps, nor what was set aside."""
    results = tmp_path / "results"
    for number, name in enumerate([None, "b", "b", "a"]):
        note = None if name is None else {"hash": "0", "folder": name}
        cell, store = make_cell(seed=number), Store(results, "mine")
        store.cell_folder(cell).mkdir(parents=True)
        store.write(cell, {**new_record(cell), "status": "done", "calibration": note})
    kept[0].parent.rename(results / "calibration")
    for other in ("other", "b.broken-12345678"):
        shutil.copytree(results / "calibration" / "a", results / "calibration" / other)
    sets = export.sets_in(results / "mine")
    assert [one.name for one in sets] == ["a", "b"] and all(map(is_set, sets))
    assert [one.name for one in export.sets_in(results / "calibration")] == ["a", "b", "other"]
    shutil.rmtree(results / "calibration" / "b")
    with pytest.raises(ConfigError, match=r"mine: expected the sets .* but .*/b is not there"):
        export.sets_in(results / "mine")


def test_sets_that_share_a_name_are_told_apart_by_their_hash(tokenizer):
    sets = [drawn(tokenizer, 0), drawn(tokenizer, 0, num_samples=3), drawn(tokenizer, 10)]
    first, second = sorted(f"my_texts_seed0_{one.hash[:8]}" for one in sets[:2])
    assert list(contents.named(sets)) == [first, second, "my_texts_seed10"]


@pytest.mark.parametrize(
    ("licence", "key"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("CC BY-SA 3.0", "cc-by-sa-3.0"),
        ("ODC-BY 1.0", "odc-by"),
        ("ODC-BY 1.0, and the terms of use of Common Crawl", "other"),
        (None, "other"),
    ],
)
def test_a_licence_in_words_has_a_key_of_the_hub(licence, key):
    assert contents.hub_key(licence) == key


def test_the_licences_of_all_parts_of_a_mixture_are_stated(tokenizer):
    parts = {"a": {"license": "MIT"}, "b": {"license": None}, "c": {"license": "MIT"}}
    assert contents.licences([drawn(tokenizer, 0, {"parts": parts})]) == ["MIT", None]
    assert contents.licences([drawn(tokenizer, 0, {"source": "noise"})]) == [None]


def test_without_a_licence_nothing_is_pushed(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(export, "push", lambda *_, **__: pytest.fail("pushed"))
    save_set(drawn(tokenizer, 0, {"source": "x", "license": None}), tmp_path / "a")
    typed = [str(tmp_path / "a"), "--to", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match=r"expected a licence.*--license 'CC BY 4\.0'"):
        export.main([*typed, "--push", "me/sets"])
    assert not (tmp_path / "out").exists()
    export.main([*typed, "--license", "Apache-2.0"])
    assert "license:\n- apache-2.0\n" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("typed", "phrases"),
    [
        ([], ["expected the folder of a calibration set", "expected --to and the folder"]),
        (["gone", "--to", "out"], ["export gone: expected the folder of a calibration set"]),
        (["x", "--too=out"], ["export x:", "export --too=out: expected one of", "expected --to"]),
        (["x", "--to"], ["export x:", "export --to: expected a value behind it"]),
        (["x", "--to=o", "--push", "sets"], ["export x:", "--push sets: expected the owner and"]),
        (["x", "--to=o", "--public"], ["export x:", "export --public: expected --push"]),
    ],
)
def test_all_mistakes_are_told_at_once(typed, phrases):
    with pytest.raises(ConfigError) as caught:
        export.read_arguments(typed)
    assert len(caught.value.problems) == len(phrases)
    assert all(any(phrase in told for told in caught.value.problems) for phrase in phrases)
