"""Text of one's own in every format: the same documents, whatever the file."""

import gzip
import json
import logging
import os
from pathlib import Path

import pytest
from helpers.words import text_of

from calib_sweep.dataset.text import TextFiles
from calib_sweep.errors import ConfigError

TEXTS = [text_of(20 * i, 12) for i in range(9)]


def text_files(path, **changed):
    chosen = {
        "name": "text",
        "column": "text",
        "separator": None,
        "join": "\n\n",
        "license": None,
    }
    return TextFiles(path=str(path), **{**chosen, **changed})


def lines(texts, column="text"):
    return "".join(json.dumps({"id": i, column: text}) + "\n" for i, text in enumerate(texts))


def write_parquet(file: Path, texts, column="text"):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": list(range(len(texts))), column: list(texts)}), file)


def write(folder: Path, kind: str, texts, column="text") -> Path:
    file = folder / f"words{kind}"
    if kind == ".parquet":
        write_parquet(file, texts, column)
    elif kind == ".json":
        file.write_text(json.dumps([{"id": i, column: text} for i, text in enumerate(texts)]))
    elif kind.endswith(".gz"):
        file.write_bytes(gzip.compress(lines(texts, column).encode()))
    elif kind == ".txt":
        file.write_text("\n\n".join(texts))
    else:
        file.write_text(lines(texts, column))
    return file


@pytest.fixture(autouse=True)
def no_cache_is_touched(tmp_path_factory, monkeypatch):
    """Reading local files must leave nothing in the user's cache of the `datasets` library."""
    import datasets

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    yield
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("kind", [".jsonl", ".json", ".jsonl.gz", ".json.gz", ".parquet"])
@pytest.mark.parametrize("column", ["text", "article"])
def test_records_of_every_format(tmp_path, kind, column):
    file = write(tmp_path, kind, TEXTS, column)
    documents = text_files(file, column=column).documents()
    assert list(documents) == TEXTS
    assert documents[2] == TEXTS[2] and documents[3:5] == TEXTS[3:5]
    assert [documents.id(i) for i in (0, 8)] == [f"words{kind}:0", f"words{kind}:8"]


def test_plain_text_is_one_document_a_file(tmp_path):
    file = write(tmp_path, ".txt", TEXTS)
    documents = text_files(file).documents()
    assert list(documents) == ["\n\n".join(TEXTS)]
    assert documents.id(0) == "words.txt"


def test_a_separator_typed_with_backslashes_means_what_it_says(tmp_path):
    file = tmp_path / "some.txt"
    file.write_text("a\n\nb\nc\n\nd")
    documents = text_files(file, separator=r"\n\n").documents()
    assert [documents[i] for i in range(len(documents))] == ["a", "b\nc", "d"]


def test_plain_text_is_split_at_a_separator(tmp_path):
    file = write(tmp_path, ".txt", [*TEXTS, "", "  "])
    documents = text_files(file, separator="\n\n").documents()
    assert list(documents) == TEXTS
    assert documents.id(8) == "words.txt:8"


def test_a_json_list_of_strings_is_a_column_called_text(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(TEXTS))
    assert list(text_files(tmp_path / "a.json").documents()) == TEXTS


def test_other_columns_may_hold_anything(tmp_path):
    rows = [{"text": "w1", "meta": {"a": 1}}, {"text": "w2", "meta": "none"}, {"text": "w3"}]
    rows += [{"text": None, "meta": [1, 2]}, {"text": "w4", "meta": {"b": [{"c": "d"}]}}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(text_files(tmp_path / "a.jsonl").documents()) == ["w1", "w2", "w3", "", "w4"]


def test_folders_and_patterns_are_read_in_the_order_of_names(tmp_path):
    (tmp_path / "b").mkdir()
    for name, texts in (
        ("b/z.jsonl", TEXTS[6:]),
        ("a.jsonl", TEXTS[:2]),
        ("b/a.jsonl", TEXTS[2:6]),
    ):
        (tmp_path / name).write_text(lines(texts))
    (tmp_path / ".hidden.jsonl").write_text(lines(["w1"]))
    (tmp_path / "notes.md").write_text("not ours")
    documents = text_files(tmp_path).documents()
    assert list(documents) == TEXTS
    assert documents.id(2) == "b/a.jsonl:0" and documents.id(8) == "b/z.jsonl:2"
    assert list(text_files(tmp_path / "b" / "*.jsonl").documents()) == TEXTS[2:]
    assert list(text_files(tmp_path / "**" / "a.jsonl").documents()) == TEXTS[:6]


def test_hidden_folders_are_no_text_unless_they_are_named(tmp_path):
    hidden = [tmp_path / ".ipynb_checkpoints", tmp_path / "sub" / ".cache"]
    for folder in (tmp_path, *hidden):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.jsonl").write_text(lines(TEXTS[:2]))
    for path in (tmp_path, tmp_path / "**" / "*.jsonl"):
        assert text_files(path).provenance()["files"] == ["a.jsonl"]
        assert list(text_files(path).documents()) == TEXTS[:2]
    assert list(text_files(hidden[0]).documents()) == TEXTS[:2]
    (tmp_path / ".own.jsonl").write_text(lines(TEXTS[2:]))
    assert list(text_files(tmp_path / ".own.jsonl").documents()) == TEXTS[2:]


def test_the_mark_of_the_byte_order_is_no_text(tmp_path):
    for place, mark in (("plain", b""), ("marked", b"\xef\xbb\xbf")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.txt").write_bytes(mark + TEXTS[0].encode())
        (tmp_path / place / "b.jsonl").write_bytes(mark + lines(TEXTS).encode())
    plain, marked = (text_files(tmp_path / place / "a.txt") for place in ("plain", "marked"))
    assert list(marked.documents()) == list(plain.documents()) == TEXTS[:1]
    assert marked.fingerprint() == plain.fingerprint()
    assert list(text_files(tmp_path / "marked" / "b.jsonl").documents()) == TEXTS


@pytest.mark.parametrize("kind", [".jsonl", ".parquet", ".txt"])
def test_names_with_signs_of_patterns_are_names(tmp_path, kind):
    folder = tmp_path / "of [2024] a*b?"
    folder.mkdir()
    file = write(folder, kind, TEXTS[:1])
    assert list(text_files(file).documents()) == TEXTS[:1]
    assert list(text_files(folder).documents()) == TEXTS[:1]


def test_a_draw_depends_on_content_and_not_on_place(tmp_path, tokenizer, settings):
    drawn = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        source = text_files(write(tmp_path / place, ".jsonl", TEXTS))
        drawn.append((source.fingerprint(), source.draw(tokenizer, settings(), 0)))
    assert drawn[0][0] == drawn[1][0]
    assert drawn[0][1].hash == drawn[1][1].hash
    source = text_files(write(tmp_path / "there", ".jsonl", [*TEXTS[:-1], "w7"]))
    assert source.fingerprint() != drawn[0][0]


def test_files_written_anew_are_read_anew(tmp_path):
    file = write(tmp_path, ".jsonl", TEXTS)
    stamp = file.stat()
    assert list(text_files(file).documents()) == TEXTS
    write(tmp_path, ".jsonl", TEXTS[::-1])
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert list(text_files(file).documents()) == TEXTS[::-1]


def test_the_card_names_files_column_and_licence(tmp_path, tokenizer, settings):
    file = write(tmp_path, ".jsonl", TEXTS)
    card = text_files(file, license="CC0").draw(tokenizer, settings(), 0).card
    assert card["provenance"]["files"] == ["words.jsonl"]
    assert card["provenance"]["license"] == "CC0"
    assert card["pool"]["documents"] == 9


@pytest.mark.parametrize(
    ("name", "content", "phrase"),
    [
        ("gone.jsonl", None, r"dataset\.path=.*but nothing is there"),
        ("a.docx", b"x", r"\.jsonl, .*a\.docx is none of them"),
        ("a.jsonl", b"", r"a\.jsonl.*can be read, but: it is empty"),
        ("a.jsonl", b"{not json\n", r"a\.jsonl.*expected records that can be read, but: "),
        ("a.jsonl", b'{"body": "w1"}\n', r"dataset\.column='text'.*: body\. Set dataset\.column"),
        ("a.jsonl", b'{"text": 5}\n', r"dataset\.column='text': expected a column of text"),
        ("a.jsonl.gz", b"no gzip", r"expected records that can be read"),
        ("a.parquet", b"no parquet", r"expected records that can be read"),
        ("a.txt", b"\xff\xfe\x00", r"expected UTF-8 text, .*byte 0"),
        ("a.txt", b"", r"expected text, but there is none in 1 file"),
        ("a.jsonl", b'{"text": ""}\n{"text": ""}\n', r"expected text, but there is none"),
    ],
)
def test_unusable_files_are_explained(tmp_path, name, content, phrase):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=phrase):
        text_files(tmp_path / name).documents()


def test_unusable_folders_are_explained(tmp_path):
    with pytest.raises(ConfigError, match=r"at least one file of these kinds: \.jsonl\.zst"):
        text_files(tmp_path).documents()
    with pytest.raises(ConfigError, match="at least one file"):
        text_files(tmp_path / "*.txt").documents()
    (tmp_path / "a.txt").write_text("w1")
    (tmp_path / "b.jsonl").write_text(lines(["w2"]))
    with pytest.raises(ConfigError, match="but both are there"):
        text_files(tmp_path).documents()


@pytest.mark.parametrize(
    ("changed", "phrase"),
    [
        ({"name": ""}, r"dataset\.name=''"),
        ({"column": 3}, r"dataset\.column=3"),
        ({"separator": ""}, r"dataset\.separator=''"),
    ],
)
def test_settings_are_checked_without_touching_files(changed, phrase):
    with pytest.raises(ConfigError, match=phrase):
        text_files("nowhere", **changed)
    text_files("nowhere")


def test_one_document_is_too_few_and_the_separator_is_named(tmp_path, tokenizer, settings):
    file = write(tmp_path, ".txt", TEXTS)
    with pytest.raises(ConfigError, match=r"of 1 document \(a \.txt file .*dataset\.separator"):
        text_files(file).draw(tokenizer, settings(), 0)
    split = text_files(file, separator="\n\n").draw(tokenizer, settings(), 0)
    assert split.card["pool"]["documents"] == 9


SHARED = Path(__file__).parents[3] / "shared" / "data" / "text"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder of real text")
@pytest.mark.parametrize(
    ("name", "num_documents"),
    [("c4.calib.jsonl", 1000), ("bbc_news.jsonl", 700), ("wikitext2.test.txt", 1)],
)
def test_real_text_is_read(name, num_documents):
    documents = text_files(SHARED / name).documents()
    assert len(documents) == num_documents and len(documents[0]) > 100


def test_a_text_is_named_by_its_file_unless_a_name_is_given(tmp_path):
    assert text_files(tmp_path / "shop.jsonl.gz", name=None).name == "shop"
    assert text_files(tmp_path / "shop.jsonl", name="mine").name == "mine"
    assert text_files(".", name=None).name == "text"


@pytest.mark.parametrize("window", ["slice", "pack", "document"])
@pytest.mark.parametrize("design", ["disjoint", "independent"])
def test_the_draw_hangs_on_the_text_not_on_its_label_or_place(
    tmp_path, tokenizer, settings, design, window
):
    chosen = settings(num_samples=2, seq_len=8, design=design, window=window)
    first = write(tmp_path, ".jsonl", TEXTS)
    second = tmp_path / "elsewhere" / "other.jsonl"
    second.parent.mkdir()
    second.write_bytes(first.read_bytes())
    drawn = text_files(first).draw(tokenizer, chosen, 1)
    moved = text_files(second, name="label").draw(tokenizer, chosen, 1)
    assert moved.hash == drawn.hash and moved.card["dataset"] == "label"
    assert moved.samples[0]["document"].startswith("other.jsonl")
    second.write_text(lines([*TEXTS[1:], TEXTS[0]]))
    assert text_files(second).draw(tokenizer, chosen, 1).hash != drawn.hash


def test_texts_of_equal_size_are_not_drawn_in_one_order(tmp_path, tokenizer, settings):
    """The files hold other words at the same places: places must not be equal too."""
    other = [text_of(1000 + 20 * i, 12) for i in range(9)]
    places = []
    for name, texts in (("one", TEXTS), ("two", other)):
        file = tmp_path / f"{name}.jsonl"
        file.write_text(lines(texts))
        drawn = text_files(file).draw(tokenizer, settings(num_samples=8), 0)
        places.append([(s["document"].partition(":")[2], s["offset"]) for s in drawn.samples])
    assert places[0] != places[1]


def test_files_that_are_documents_are_read_when_they_are_asked_for(tmp_path):
    for i in range(120):
        (tmp_path / f"{i:03}.txt").write_bytes(b"\xff" if i == 110 else b"w%d" % i)
    documents = text_files(tmp_path).documents()
    assert documents.read([119, 3]) == ["w119", "w3"] and documents.id(7) == "007.txt"
    with pytest.raises(ConfigError, match=r"110\.txt.*expected UTF-8 text"):
        documents.read([110])


def test_the_library_that_reads_records_says_nothing_besides(tmp_path):
    """What it logs at an error is the error that it raises, which we tell."""
    (tmp_path / "a.jsonl").write_bytes(b"{not json\n")
    said = []
    handler = logging.Handler()
    handler.emit = said.append
    logging.getLogger("datasets").addHandler(handler)
    try:
        with pytest.raises(ConfigError, match="records that can be read"):
            text_files(tmp_path / "a.jsonl").documents()
    finally:
        logging.getLogger("datasets").removeHandler(handler)
    assert not said
