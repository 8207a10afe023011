"""Rows of record files as documents, and which of them `where` keeps."""

import gzip
import json
from pathlib import Path

import pytest
import zstandard
from helpers.words import text_of

from calib_sweep.dataset.documents.files import read_documents
from calib_sweep.dataset.documents.rows import BATCH, named
from calib_sweep.dataset.text import TextFiles
from calib_sweep.errors import ConfigError

ROWS = [
    {"text": text_of(20 * i, 12), "lang": lang, "year": 2000 + i, "meta": {"set": f"s{i % 2}"}}
    for i, lang in enumerate(["de", "fr", "de", "en", "fr", "de"])
]
WRITERS = {
    ".jsonl": lambda file, content: file.write_bytes(content),
    ".jsonl.gz": lambda file, content: file.write_bytes(gzip.compress(content)),
    ".jsonl.zst": lambda file, content: file.write_bytes(zstandard.compress(content)),
    ".json.zst": lambda file, content: file.write_bytes(zstandard.compress(content)),
}


def write(folder: Path, name: str, rows=ROWS) -> Path:
    file = folder / name
    if name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), file)
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        WRITERS[next(end for end in WRITERS if name.endswith(end))](file, content)
    return file


def read(*files: Path, where=None):
    return read_documents(files[0].parent, files, "text", where=where)


def expected(*numbers: int) -> list[str]:
    return [ROWS[number]["text"] for number in numbers]


@pytest.mark.parametrize("ending", [*WRITERS, ".parquet"])
@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (None, (0, 1, 2, 3, 4, 5)),
        ({"lang": "de"}, (0, 2, 5)),
        ({"lang": ["de", "en"]}, (0, 2, 3, 5)),
        ({"year": 2004}, (4,)),
        ({"meta.set": "s1"}, (1, 3, 5)),
        ({"lang": "de", "meta.set": "s0"}, (0, 2)),
    ],
)
def test_rows_with_these_values_are_the_documents(tmp_path, ending, where, numbers):
    documents = read(write(tmp_path, f"a{ending}"), where=where)
    assert list(documents) == expected(*numbers)
    assert [documents.id(i) for i in range(len(documents))] == [f"a{ending}:{n}" for n in numbers]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_rows_of_several_files_keep_the_numbers_of_their_file(tmp_path, ending):
    """The second file has no row of that value; the third one has two."""
    files = [
        write(tmp_path, f"{name}{ending}", ROWS[part])
        for name, part in (("a", slice(0, 3)), ("b", slice(3, 5)), ("c", slice(5, 6)))
    ]
    documents = read(*files, where={"lang": "de"})
    assert list(documents) == expected(0, 2, 5)
    assert [documents.id(i) for i in range(3)] == [f"a{ending}:0", f"a{ending}:2", f"c{ending}:0"]
    assert documents[1:] == expected(2, 5)


def test_rows_behind_the_first_batch_are_counted_from_the_beginning(tmp_path):
    rows = [{"text": f"w{i}", "keep": i in (3, BATCH, 2 * BATCH + 5)} for i in range(2 * BATCH + 9)]
    documents = read(write(tmp_path, "a.parquet", rows), where={"keep": True})
    assert list(documents) == ["w3", f"w{BATCH}", f"w{2 * BATCH + 5}"]


def test_other_columns_of_the_files_may_differ(tmp_path):
    one = write(tmp_path, "a.jsonl", [{"text": "x", "lang": "de", "meta": {"a": 1}}])
    two = write(tmp_path, "b.jsonl", [{"text": "y", "lang": "de", "meta": [1, 2]}])
    assert list(read(one, two, where={"lang": "de"})) == ["x", "y"]


@pytest.mark.parametrize(
    ("where", "phrase"),
    [
        ({"lang": "xx"}, r'values that some row .* first rows are lang: "de", "en", "fr"'),
        ({"year": "2004"}, "year: 2000, 2001"),  # a number is no text
        ({"language": "de"}, r"dataset\.where\.language='language': .* text, lang, year, meta"),
        ({"meta.name": "s0"}, r"dataset\.where\.meta\.name='name': .* set\."),
        ({"lang.name": "s0"}, r"dataset\.where\.lang\.name='name': .* none\."),
    ],
)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_what_no_row_has_is_named_with_what_rows_have(tmp_path, ending, where, phrase):
    with pytest.raises(ConfigError, match=phrase):
        read(write(tmp_path, f"a{ending}"), where=where)


def test_plain_text_has_no_columns(tmp_path):
    (tmp_path / "a.txt").write_text("some text")
    with pytest.raises(ConfigError, match=r"dataset\.where=.*expected record files"):
        read(tmp_path / "a.txt", where={"lang": "de"})


@pytest.mark.parametrize("where", ["de", {"lang": None}, {"lang": []}, {"": "de"}, ["lang"]])
def test_a_filter_is_columns_and_values(where):
    with pytest.raises(ConfigError, match=r"dataset\.where=.*columns with the value"):
        files(Path("a.jsonl"), where)


def files(path: Path, where) -> TextFiles:
    return TextFiles(
        name="text",
        path=str(path),
        column="text",
        separator=None,
        join="\n\n",
        license=None,
        where=where,
    )


def test_a_filter_is_part_of_the_text_that_is_drawn_from(tmp_path, tokenizer, settings):
    file = write(tmp_path, "a.jsonl")
    chosen = settings(num_samples=2)
    every, german = (files(file, where) for where in (None, {"lang": "de"}))
    drawn = german.draw(tokenizer, chosen, 0)
    assert every.draw_name() != german.draw_name()
    assert {s["document"] for s in drawn.samples} <= {"a.jsonl:0", "a.jsonl:2", "a.jsonl:5"}
    assert drawn.card["provenance"]["where"] == {"lang": "de"}
    assert every.documents().identity() != german.documents().identity()


def test_the_order_of_columns_in_a_filter_says_nothing():
    assert named({"a": 1, "b": ["x"]}) == named({"b": ["x"], "a": 1}) == ["a=1", 'b=["x"]']
    assert named(None) == []
