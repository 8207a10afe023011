"""Released sets on the hub: brought there, and taken back from there, by the hub's own client."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.hub_client import client_of
from helpers.hub_server import READ_ONLY, TOKEN, Server, answer, reset, serving
from helpers.words import make_tokenizer, text_of

from calib_sweep.dataset.calibration.artifact import save_set
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.imported import Imported
from calib_sweep.dataset.release import export
from calib_sweep.errors import ConfigError

NAME = "me/sets"
SETTINGS = Calibration(num_samples=4, seq_len=8, design="disjoint", window="slice", bos="none")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def hub() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def kept(tmp_path, tokenizer):
    """Two sets in a folder, and their hashes."""
    texts = [text_of(20 * i, 20) for i in range(60)]
    provenance = {"source": "words", "license": "MIT"}
    sets = [
        draw_from_documents(texts, tokenizer, SETTINGS, seed, provenance, "words")
        for seed in range(2)
    ]
    for seed, one in enumerate(sets):
        save_set(one, tmp_path / "kept" / str(seed))
    return tmp_path / "kept", [one.hash for one in sets]


def pushed(kept: Path, tmp_path: Path, *more: str) -> int:
    return export.main([str(kept), "--to", str(tmp_path / "out"), "--push", NAME, *more])


def imported(**changed) -> Imported:
    chosen = {"name": "imported", "path": None, "hub_id": NAME, "revision": None}
    return Imported(**{**chosen, "tokenizer": None, "license": None, **changed})


def test_what_was_pushed_comes_back_from_the_hub(hub, tmp_path, tokenizer, kept, capsys):
    folder, hashes = kept
    with client_of(hub, tmp_path / "one", TOKEN):
        assert pushed(folder, tmp_path) == 0
    commit = hub.repositories["datasets", NAME].refs["main"]
    assert f"dataset.hub_id={NAME} dataset.revision={commit}" in capsys.readouterr().out
    assert "license:\n- mit\n" in hub.cards[0]
    with client_of(hub, tmp_path / "two", READ_ONLY):  # another machine, another person
        theirs = imported(revision=commit)
        assert [theirs.draw(tokenizer, SETTINGS, seed).hash for seed in range(2)] == hashes
        hub.asked.clear()
        assert theirs.fingerprint() == imported(path=str(tmp_path / "out")).fingerprint()
        assert not hub.asked and theirs.provenance()["source"] == NAME


def test_load_dataset_reads_the_pushed_repository(hub, tmp_path, kept):
    import datasets

    with client_of(hub, tmp_path, TOKEN):
        pushed(kept[0], tmp_path)
        rows = datasets.load_dataset(NAME, split="words_seed1")
    assert len(rows) == 4 and all(len(ids) == 8 for ids in rows["input_ids"])


@pytest.mark.parametrize("more, is_private", [((), True), (("--public",), False)])
def test_a_new_repository_is_private_unless_asked_otherwise(hub, tmp_path, kept, more, is_private):
    with client_of(hub, tmp_path, TOKEN):
        pushed(kept[0], tmp_path, *more)
    assert hub.repositories["datasets", NAME].is_private == is_private


def test_the_same_sets_pushed_again_are_no_new_commit(hub, tmp_path, kept):
    with client_of(hub, tmp_path, TOKEN):
        for _ in range(2):
            pushed(kept[0], tmp_path)
    assert len(hub.repositories["datasets", NAME].commits) == 2  # the empty one, and this


@pytest.mark.parametrize(
    ("token", "phrase"),
    [(None, "Type hf auth login"), (READ_ONLY, "a token that may write there: hf auth login")],
)
def test_who_may_not_write_is_told_what_to_do(hub, tmp_path, kept, token, phrase):
    with client_of(hub, tmp_path, token), pytest.raises(ConfigError) as caught:
        pushed(kept[0], tmp_path)
    assert phrase in str(caught.value) and f"{tmp_path}/out is written" in str(caught.value)
    assert ("datasets", NAME) not in hub.repositories


@pytest.mark.parametrize("name", ["create", "upload", "commit"])
@pytest.mark.parametrize("fault", [answer(503), reset])
def test_a_push_that_the_hub_drops_is_told_and_can_be_repeated(
    hub, tmp_path, kept, monkeypatch, name, fault
):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults[name] = fault
    with client_of(hub, tmp_path, TOKEN):
        with pytest.raises(ConfigError, match=r"Try again later, or where there is a connection"):
            pushed(kept[0], tmp_path)
        hub.faults.clear()
        assert pushed(kept[0], tmp_path) == 0
    files = hub.repositories["datasets", NAME].commits
    assert any("words_seed1/tokens.safetensors" in commit for commit in files.values())
