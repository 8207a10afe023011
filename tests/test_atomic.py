"""Files and folders appear whole or not at all, outlast a power failure, leave nothing behind."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from calib_sweep import atomic

WRITERS = {
    "a file": lambda place: atomic.write(place, "new"),
    "a new file": lambda place: atomic.write_new(place, "new"),
    "a folder": lambda place: _fill(atomic.new_folder(place)),
    "a folder in place of another": lambda place: _fill(atomic.replacing_folder(place)),
}


def _fill(making):
    with making as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "content").write_text("new")


def _content(place):
    return (place / "inner" / "content" if place.is_dir() else place).read_text()


@pytest.fixture
def calls(monkeypatch):
    """What is synced, linked and renamed, in order, by the name it has then."""
    seen = []

    def record(name, place_of):
        original = getattr(os, name)

        def call(*arguments, **settings):
            seen.append((name, place_of(arguments[0])))
            return original(*arguments, **settings)

        monkeypatch.setattr(os, name, call)

    record("fsync", lambda descriptor: Path(f"/proc/self/fd/{descriptor}").readlink())
    for name in ("link", "rename", "replace"):
        record(name, Path)
    return seen


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files")
@pytest.mark.parametrize("kind", WRITERS)
def test_all_is_on_the_disk_before_its_name_is_and_the_name_at_the_end(kind, tmp_path, calls):
    place = tmp_path / "place"
    WRITERS[kind](place)
    assert _content(place) == "new"
    names = [name for name, _ in calls]
    (put,) = [i for i, name in enumerate(names) if name != "fsync"]
    partial = calls[put][1]
    inside = (
        [partial]
        if place.is_file()
        else [partial, partial / "inner", partial / "inner" / "content"]
    )
    assert set(inside) <= {path for name, path in calls[:put] if name == "fsync"}
    assert calls[-1] == ("fsync", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_leaves_what_was_there_and_nothing_else(kind, tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[kind](tmp_path / "place")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_never_replaces_one(tmp_path):
    atomic.write_new(tmp_path / "one", "first")
    with pytest.raises(FileExistsError):
        atomic.write_new(tmp_path / "one", "second")
    assert (tmp_path / "one").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_of_two_folders_the_first_stays_unless_it_is_to_be_replaced(tmp_path):
    place = tmp_path / "place"
    for making, text in (
        (atomic.new_folder, "first"),
        (atomic.new_folder, "first"),
        (atomic.replacing_folder, "third"),
    ):
        with making(place) as partial:
            (partial / "text").write_text("third" if making is atomic.replacing_folder else text)
        assert (place / "text").read_text() == text
        assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_modes_are_those_that_the_umask_asks_for_whoever_writes(umask, tmp_path):
    def write_narrowly(path):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        path.chmod(0o600)

    before = os.umask(umask)
    try:
        with atomic.replacing(tmp_path / "file") as partial:
            partial.unlink()
            write_narrowly(partial)
        with atomic.new_folder(tmp_path / "folder") as partial:
            write_narrowly(partial / "inside")
    finally:
        os.umask(before)
    for path in (tmp_path / "file", tmp_path / "folder" / "inside"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~umask


WRITE_FOR_EVER = """
import sys, time
from pathlib import Path
from calib_sweep import atomic
with atomic.replacing(Path(sys.argv[1]) / "file"), atomic.new_folder(Path(sys.argv[1]) / "folder"):
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    written = sorted(tmp_path.iterdir())
    assert len(written) == 2 and all(path.name.startswith(".") for path in written)
    atomic.sweep_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == written

    process.kill()
    process.wait()
    atomic.sweep_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_another_host_writes_is_swept_only_when_it_has_been_quiet(tmp_path, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(atomic, "_host_code", lambda: "0123abcd")
        names = [atomic.partial_name(tmp_path / name) for name in ("file", "folder", "written")]
    names.append(tmp_path / f".record.json.{'0a' * 16}")  # of a version that named no writer
    names[0].touch()
    names[1].mkdir()
    (names[1] / "inside").touch()
    names[2].mkdir()
    (names[2] / "inside").touch()
    names[3].touch()
    (tmp_path / "kept").touch()
    atomic.sweep_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5

    long_ago = time.time() - 2 * atomic.QUIET_S
    for path in (names[0], names[1] / "inside", names[1], names[2], names[3]):
        os.utime(path, (long_ago, long_ago))
    atomic.sweep_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([names[2], tmp_path / "kept"])


def test_a_folder_that_may_not_be_listed_is_no_hindrance(tmp_path, monkeypatch):
    """results_dir may lie in a folder of the administrator's, which others only pass through."""
    open_ = os.open

    def refuse(path, flags, *rest, **settings):
        if Path(path) == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_(path, flags, *rest, **settings)

    monkeypatch.setattr(os, "open", refuse)
    atomic.make_folder(tmp_path / "results")
    atomic.sync_folder(tmp_path)
    atomic.write_new(tmp_path / "results" / "file", "new")
    assert (tmp_path / "results" / "file").read_text() == "new"


def test_a_leftover_that_cannot_be_deleted_is_named_and_the_others_go(
    tmp_path, monkeypatch, caplog
):
    for name in ("a", "b"):
        path = tmp_path / f".{name}.{'0a' * 16}"
        path.touch()
        os.utime(path, (0, 0))
    unlink = Path.unlink

    def refuse(path, **settings):
        if path.name.startswith(".a."):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        unlink(path, **settings)

    monkeypatch.setattr(Path, "unlink", refuse)
    atomic.sweep_leftovers(tmp_path)
    assert [path.name[:3] for path in tmp_path.iterdir()] == [".a."]
    assert "cannot be deleted: Permission denied" in caplog.text
