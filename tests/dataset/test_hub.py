"""Hub datasets, offline: every YAML on a small copy with the hub repository's own file layout."""

import gzip
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml
import zstandard
from helpers.hub_client import client_of
from helpers.hub_server import serving
from helpers.repository import ROOT
from helpers.words import text_of
from hydra.utils import instantiate

from calib_sweep.dataset.hub import HubText
from calib_sweep.dataset.mixture import Mixture
from calib_sweep.errors import FETCH, ConfigError, UnavailableError

CONF = ROOT / "conf" / "dataset"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def texts_of(part: int) -> list[str]:
    """Three documents of 12 words; no word is in two files."""
    return [text_of(40 * part + 13 * i, 12) for i in range(3)]


def write_gz(file: Path, rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(json_lines(rows).encode()))


def write_jsonl(file: Path, rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json_lines(rows))


def write_zst(file: Path, rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(zstandard.compress(json_lines(rows).encode()))


def write_parquet(file: Path, rows: list[dict]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)


def json_lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


REDPAJAMA = [
    "arxiv_sample",
    "book_sample",
    "c4_sample",
    "cc_2019-30_sample",
    "cc_2020-05_sample",
    "cc_2021-04_sample",
    "cc_2022-05_sample",
    "cc_2023-06_sample",
    "github_sample",
    "stackexchange_sample",
    "wikipedia_sample",
]


def copy_c4(root: Path) -> list[str]:
    for split, number in (("train", 0), ("train", 1), ("validation", 0)):
        shards = 1024 if split == "train" else 8
        rows = [
            {"text": t, "timestamp": "2019-04-25T12:57:54Z", "url": "u"} for t in texts_of(number)
        ]
        write_gz(root / "en" / f"c4-{split}.{number:05d}-of-{shards:05d}.json.gz", rows)
    return texts_of(0)


def copy_cnn_dailymail(root: Path) -> list[str]:
    for version in ("1.0.0", "3.0.0"):
        for number in range(3):
            rows = [{"article": t, "highlights": "h", "id": "i"} for t in texts_of(number)]
            write_parquet(root / version / f"train-{number:05d}-of-00003.parquet", rows)
        rows = [{"article": "w3999", "highlights": "h", "id": "i"}]
        write_parquet(root / version / "test-00000-of-00001.parquet", rows)
    return texts_of(0) + texts_of(1) + texts_of(2)


def copy_redpajama(root: Path) -> list[str]:
    for part, name in enumerate(REDPAJAMA):
        meta = {"url": "u"} if part % 2 else "a string"  # differs from file to file, as there
        rows = [{"text": t, "meta": meta} for t in texts_of(part)]
        write_jsonl(root / f"{name}.jsonl", rows)
    (root / "RedPajama-Data-1T-Sample.py").write_text("raise SystemExit('never run')")
    return [text for part in range(11) for text in texts_of(part)]


def copy_refinedweb(root: Path) -> list[str]:
    for number, end in ((0, "b8fc5348cbe605a5"), (1, "9bca3ce859516338")):
        rows = [{"content": t, "url": "u", "image_urls": [["a", "b"]]} for t in texts_of(number)]
        write_parquet(root / "data" / f"train-{number:05d}-of-05534-{end}.parquet", rows)
    return texts_of(0)


def copy_wikipedia(root: Path) -> list[str]:
    for number in range(41):
        rows = [{"id": "1", "url": "u", "title": "t", "text": t} for t in texts_of(number)]
        folder = root / "data" / "20220301.en"
        write_parquet(folder / f"train-{number:05d}-of-00041.parquet", rows)
    rows = [{"id": "1", "url": "u", "title": "t", "text": "w3999"}]
    write_parquet(root / "data" / "20220301.de" / "train-00000-of-00001.parquet", rows)
    return [text for number in range(41) for text in texts_of(number)]


def copy_wikitext2(root: Path) -> list[str]:
    for split, part in (("train", 0), ("test", 1), ("validation", 2)):
        rows = [{"text": t} for t in ["", *texts_of(part)]]
        write_parquet(root / "wikitext-2-raw-v1" / f"{split}-00000-of-00001.parquet", rows)
    return ["", *texts_of(0)]


def copy_ptb(root: Path) -> list[str]:
    for part, split in enumerate(("train", "test", "validation")):
        rows = [{"sentence": t} for t in texts_of(part)]
        write_parquet(root / "penn_treebank" / split / "0000.parquet", rows)
    return texts_of(0)


def copy_pile(root: Path) -> list[str]:
    rows = [{"text": t, "meta": {"pile_set_name": "ArXiv"}} for t in texts_of(0)]
    write_zst(root / "val.jsonl.zst", rows)
    return texts_of(0)


def copy_slimpajama(root: Path) -> list[str]:
    for number, end in ((0, "ab2b35705f029d94"), (1, "0123456789abcdef")):
        rows = [
            {"text": t, "meta": {"redpajama_set_name": "RedPajamaC4"}, "__index_level_0__": 1}
            for t in texts_of(number)
        ]
        write_parquet(root / "data" / f"train-{number:05d}-of-00048-{end}.parquet", rows)
    return texts_of(0)


def copy_fineweb_edu(root: Path) -> list[str]:
    for number in range(3):
        rows = [{"text": t, "id": "i", "int_score": 3, "score": 3.1} for t in texts_of(number)]
        write_parquet(root / "sample" / "10BT" / f"{number:03d}_00000.parquet", rows)
    return texts_of(0)


def copy_dclm(root: Path) -> list[str]:
    for shard in (0, 1):
        rows = [
            {"language_id": {"en": 0.98}, "metadata": {"WARC-Type": "x"}, "text": t, "url": "u"}
            for t in texts_of(shard)
        ]
        folder = root / "global-shard_01_of_10" / f"local-shard_{shard}_of_10"
        write_zst(folder / "shard_00000000_processed.jsonl.zst", rows)
    return texts_of(0)


COSMOPEDIA = {
    "auto_math_text": 18,
    "khanacademy": 1,
    "openstax": 2,
    "stanford": 13,
    "stories": 43,
    "web_samples_v1": 139,
    "web_samples_v2": 118,
    "wikihow": 2,
}


def copy_cosmopedia(root: Path) -> list[str]:
    for part, (name, shards) in enumerate(COSMOPEDIA.items()):
        for number in range(min(shards, 2)):
            rows = [
                {"prompt": "p", "text_token_length": 12, "text": t, "audience": "general"}
                for t in texts_of(part + 10 * number)
            ]
            file = f"train-{number:05d}-of-{shards:05d}.parquet"
            write_parquet(root / "data" / name / file, rows)
    return [text for part in range(len(COSMOPEDIA)) for text in texts_of(part)]


def copy_languages(language: str, shards: int, root: Path) -> list[str]:
    """The same repository for each language: a folder for each."""
    for code in (language, "xx"):
        for number in (0, 1):
            rows = [
                {"id": "1", "url": "u", "title": "t", "text": t if code == language else "w3999"}
                for t in texts_of(number)
            ]
            file = f"train-{number:05d}-of-{shards:05d}.parquet"
            write_parquet(root / f"20231101.{code}" / file, rows)
    return texts_of(0)


LANGUAGES = {"ar": 7, "de": 20, "en": 41, "fr": 17, "hi": 2, "zh": 6}  # files of each

COPIES = {
    **{f"wikipedia_{one}": partial(copy_languages, one, n) for one, n in LANGUAGES.items()},
    "cosmopedia": copy_cosmopedia,
    "dclm": copy_dclm,
    "fineweb_edu": copy_fineweb_edu,
    "pile": copy_pile,
    "ptb": copy_ptb,
    "slimpajama": copy_slimpajama,
    "c4": copy_c4,
    "cnn_dailymail": copy_cnn_dailymail,
    "redpajama": copy_redpajama,
    "refinedweb": copy_refinedweb,
    "wikipedia": copy_wikipedia,
    "wikitext2": copy_wikitext2,
}


def hub_yamls() -> list[str]:
    return sorted(f.stem for f in CONF.glob("*.yaml") if "dataset.hub.HubText" in f.read_text())


def build(name: str, **changed) -> HubText:
    return instantiate(
        {**yaml.safe_load((CONF / f"{name}.yaml").read_text()), **changed}, _convert_="all"
    )


def test_every_hub_dataset_is_tried_here():
    assert hub_yamls() == sorted(COPIES)


def test_the_first_documents_alone_are_read(tmp_path):
    expected = copy_c4(tmp_path)
    assert list(build("c4", path=str(tmp_path), num_documents=2).documents()) == expected[:2]
    assert list(build("c4", path=str(tmp_path), num_documents=99).documents()) == expected
    with pytest.raises(ConfigError, match=r"num_documents=0: expected an integer > 0, or null"):
        replace(build("c4"), num_documents=0)


@pytest.mark.parametrize("name", sorted(COPIES))
def test_a_copy_with_the_hub_layout_is_read(tmp_path, tokenizer, settings, name):
    expected = COPIES[name](tmp_path)
    dataset = build(name, path=str(tmp_path))
    documents = dataset.documents()
    assert list(documents) == expected
    window = "pack" if name == "wikitext2" else "slice"
    drawn = dataset.draw(tokenizer, settings(num_samples=3, window=window), 0)
    assert drawn.tokens_NT.shape == (3, 8)
    assert drawn.card["provenance"]["source"] == dataset.hub_id
    assert drawn.card["provenance"]["fingerprint"] == dataset.fingerprint()
    assert drawn.card["provenance"]["license"]


@pytest.mark.parametrize("name", sorted(COPIES))
def test_a_repository_of_that_layout_is_fetched_from_the_hub(tmp_path, tokenizer, settings, name):
    """By the hub's own client: at the commit that the YAML names, the files that it names."""
    expected = COPIES[name](tmp_path / "repository")
    dataset = build(name)
    window = "pack" if name == "wikitext2" else "slice"
    chosen = settings(num_samples=3, window=window)
    with serving() as hub, client_of(hub, tmp_path / "home"):
        pinned = dataset.revision if len(dataset.revision or "") == 40 else None
        commit = hub.put("datasets", dataset.hub_id, tmp_path / "repository", pinned)
        hub.repositories["datasets", dataset.hub_id].refs[dataset.revision or "main"] = commit
        dataset.prefetch()
        hub.asked.clear()
        assert list(dataset.documents()) == expected
        drawn = dataset.draw(tokenizer, chosen, 0)
        assert not hub.asked
    assert drawn.card["provenance"]["commit"] == commit
    copied = build(name, path=str(tmp_path / "repository")).draw(tokenizer, chosen, 0)
    assert copied.hash == drawn.hash


@pytest.mark.parametrize("name", sorted(COPIES))
def test_a_yaml_pins_its_files_and_names_a_licence(name):
    dataset = build(name)
    assert dataset.name == name and dataset.path is None and dataset.license
    is_branch = dataset.revision in (None, "refs/convert/parquet")
    assert is_branch or len(str(dataset.revision)) == 40
    assert dataset.fingerprint() is None  # hub data: the settings say what it is, nothing is read


def test_documents_are_named_by_the_file_in_the_repository(tmp_path):
    copy_wikipedia(tmp_path)
    documents = build("wikipedia", path=str(tmp_path)).documents()
    assert documents.id(4) == "data/20220301.en/train-00001-of-00041.parquet:1"


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("pile", {"meta.pile_set_name": "ArXiv"}),
        ("slimpajama", {"meta.redpajama_set_name": "RedPajamaC4"}),
        ("fineweb_edu", {"int_score": [3, 4]}),
        ("cosmopedia", {"audience": "general"}),
    ],
)
def test_columns_that_a_yaml_names_can_be_asked_for(tmp_path, name, where):
    expected = COPIES[name](tmp_path)
    assert list(build(name, path=str(tmp_path), where=where).documents()) == expected
    other = build(name, path=str(tmp_path), where=dict.fromkeys(where, -1))
    with pytest.raises(ConfigError, match=r"dataset\.where=.*values that some row"):
        other.documents()


def test_a_hub_dataset_is_drawn_alike_under_any_label_and_from_a_copy(
    tmp_path, tokenizer, settings
):
    for folder in ("one", "two"):
        copy_c4(tmp_path / folder)
    one, two = (build("c4", path=str(tmp_path / folder)) for folder in ("one", "two"))
    chosen = settings(num_samples=2)
    assert (
        replace(two, name="label").draw(tokenizer, chosen, 0).hash
        == one.draw(tokenizer, chosen, 0).hash
    )
    assert replace(one, where={"url": "u"}).draw_name() != one.draw_name()


def test_a_missing_shard_is_not_a_smaller_pool(tmp_path):
    copy_wikipedia(tmp_path)
    (tmp_path / "data" / "20220301.en" / "train-00017-of-00041.parquet").unlink()
    with pytest.raises(
        ConfigError, match=r"expected 41 files train-\*-of-00041 .*but 40 are there"
    ):
        build("wikipedia", path=str(tmp_path)).documents()
    few = ["data/20220301.en/train-0000*-of-00041.parquet"]
    assert len(build("wikipedia", path=str(tmp_path), data_files=few).documents()) == 30


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"en/c4-train.*expected a file of that name.*allenai/c4"):
        build("c4", path=str(tmp_path)).documents()
    with pytest.raises(ConfigError, match=r"dataset\.path=.*copy of allenai/c4"):
        build("c4", path=str(tmp_path / "gone")).documents()


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A hub cache of our own, and no connection."""
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    return tmp_path / "hub"


def test_without_cache_and_connection_prefetch_is_named(hub_cache, tokenizer, settings):
    with pytest.raises(ConfigError) as caught:
        build("c4").draw(tokenizer, settings(), 0)
    assert FETCH in str(caught.value)
    assert "dataset.path" in str(caught.value)


@pytest.mark.parametrize("pinned", [True, False])
def test_what_the_hub_cache_holds_is_read_offline(hub_cache, tokenizer, settings, pinned):
    repository = hub_cache / "datasets--allenai--c4"
    expected = copy_c4(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    dataset = build("c4", revision=COMMIT if pinned else None)
    dataset.prefetch()
    assert list(dataset.documents()) == expected
    card = dataset.draw(tokenizer, settings(num_samples=2), 0).card
    assert card["provenance"]["commit"] == COMMIT
    assert dataset.fingerprint() is None


def test_all_parts_of_a_dataset_that_are_not_to_be_had_are_told(hub_cache):
    parts = {"a": build("c4"), "b": build("wikipedia")}
    mixture = Mixture(name="both", parts=parts, weights={"a": 1, "b": 1})
    with pytest.raises(UnavailableError) as caught:
        mixture.prefetch()
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "dataset=c4",
        "dataset=wikipedia",
    ]


def test_another_revision_than_the_cached_one_is_not_taken(hub_cache, tokenizer, settings):
    copy_c4(hub_cache / "datasets--allenai--c4" / "snapshots" / COMMIT)
    with pytest.raises(ConfigError, match="prefetch"):
        build("c4", revision="f" * 40).documents()


@pytest.mark.parametrize(
    ("changed", "phrase"),
    [
        ({"hub_id": ""}, r"dataset\.hub_id=''"),
        ({"data_files": []}, r"dataset\.data_files"),
        ({"data_files": "en/a.json.gz"}, r"dataset\.data_files='en/a\.json\.gz'"),
        ({"data_files": ["en/a.arrow"]}, r"a\.arrow'.*\.parquet"),
        ({"data_files": ["README.txt"]}, r"README\.txt"),
    ],
)
def test_settings_are_checked_without_a_connection(changed, phrase):
    with pytest.raises(ConfigError, match=phrase):
        try:
            build("c4", **changed)
        except Exception as error:  # hydra wraps what a constructor raises
            raise error.__cause__ or error from None
