"""Record files are read once: in a process, and large ones once in a grid."""

import json
import os
import threading

import pytest

from calib_sweep.dataset.documents import tables
from calib_sweep.dataset.documents.files import read_documents
from calib_sweep.dataset.documents.keeping import kept_in
from calib_sweep.dataset.documents.tables import load_table

ROWS = [{"text": f"w{i} ä", "other": i, "inner": {"a": [i]}} for i in range(50)]


@pytest.fixture
def loaded(monkeypatch):
    """Names of the files of every reading, in a process that remembers none."""
    found, load = [], tables._load

    def counting(reader, files, *how):
        found.append([file.name for file in files])
        return load(reader, files, *how)

    monkeypatch.setattr(tables, "_load", counting)
    monkeypatch.setattr(tables, "LARGE", 1000)
    forget()
    return found


def forget():
    """Become another process."""
    tables._load_once.cache_clear()
    from calib_sweep.dataset.documents import files

    files._read.cache_clear()


def write(folder, name="a.jsonl", rows=ROWS):
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def read(file, **how):
    return list(read_documents(file.parent, [file], "text", **how))


def test_a_process_reads_a_file_once_until_it_changes(tmp_path, loaded):
    file = write(tmp_path)
    texts = [row["text"] for row in ROWS]
    for how in ({}, {}, {"where": {"other": 3}}, {}):
        assert read(file, **how) == ([texts[3]] if how else texts)
    assert loaded == [["a.jsonl"]]
    write(tmp_path, rows=ROWS[::-1])
    assert read(file) == texts[::-1]
    assert len(loaded) == 2


def test_a_grid_reads_a_large_file_once_wherever_it_lies(tmp_path, loaded):
    files = [write(tmp_path / "one", "a.jsonl"), write(tmp_path / "two", "b.jsonl")]
    with kept_in(tmp_path / "results"):
        for file in (files[0], files[0], files[1]):
            table = load_table("json", [file], None)
            assert table.to_list() == ROWS
            forget()
    assert loaded == [["a.jsonl"]]
    assert [path.suffix for path in (tmp_path / "results" / "documents").iterdir()] == [".arrow"]


@pytest.mark.parametrize("why", ["small", "nowhere", "hub"])
def test_what_is_not_kept_is_read_by_each_process(tmp_path, loaded, monkeypatch, why):
    monkeypatch.setattr(tables, "LARGE", 10**9 if why == "small" else 1000)
    file, place = write(tmp_path), None if why == "nowhere" else tmp_path / "results"
    for _ in "ab":
        with kept_in(place):
            load_table("json", [file], str(tmp_path / "cache") if why == "hub" else None)
        forget()
    assert len(loaded) == 2 and not (tmp_path / "results").exists()


def test_other_columns_of_the_same_file_are_another_table(tmp_path, loaded):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 2000, "y"], "other": ["1", "2"]}), file)
    with kept_in(tmp_path / "results"):
        for columns in (["text"], ["other"], ["text", "other"], ["text"]):
            assert load_table("parquet", [file], None, columns).column_names == columns
            forget()
    assert len(loaded) == 3


def test_of_several_processes_one_reads(tmp_path, loaded, monkeypatch):
    file, found = write(tmp_path), []
    monkeypatch.setattr(tables, "_load_once", tables._load_once.__wrapped__)

    def want():
        with kept_in(tmp_path / "results"):
            found.append(load_table("json", [file], None).to_list())

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [ROWS] * 3 and len(loaded) == 1


def test_where_nothing_can_be_kept_each_process_reads(tmp_path, loaded, monkeypatch, caplog):
    file = write(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables, "replacing", full)
    with kept_in(tmp_path / "results"):
        assert load_table("json", [file], None).to_list() == ROWS
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize("damage", [lambda c: c[:-400], lambda c: b"x" * 900, lambda c: b""])
def test_what_is_damaged_is_said_and_read_again(tmp_path, loaded, caplog, damage):
    file = write(tmp_path)
    with kept_in(tmp_path / "results"):
        load_table("json", [file], None)
        (kept,) = (tmp_path / "results" / "documents").glob("*.arrow")
        kept.write_bytes(damage(kept.read_bytes()))
        for _ in "ab":
            forget()
            assert load_table("json", [file], None).to_list() == ROWS
    assert len(loaded) == 2 and "is damaged" in caplog.text


def test_a_file_that_is_rewritten_within_a_moment_is_another(tmp_path, loaded):
    file = write(tmp_path)
    before = file.stat()
    read(file)
    write(tmp_path, rows=ROWS[::-1])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read(file)[0] == ROWS[-1]["text"]
