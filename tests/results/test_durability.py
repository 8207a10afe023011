"""What a record stands for is on the disk before the record is."""

import os
from pathlib import Path

import pytest

from calib_sweep.places import ITEMS, LAYERS, REFERENCE
from calib_sweep.results.files import hash_files


@pytest.fixture
def world(tiny_world):
    """With a reference of the dense model."""
    changes = {"evaluation.divergence=null": "evaluation.divergence.num_tokens=31"}
    return [changes.get(one, one) for one in tiny_world]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files")
def test_every_file_and_folder_is_synced_before_the_record_that_stands_for_it(
    run_cli, world, tmp_path, monkeypatch
):
    """At the moment of each link of a record: what of its cell and of its set was last synced when.

    A file is told by its inode, so that what was synced under a temporary name counts; a sync
    counts only if nothing was written since.
    """
    synced, unsynced = {}, {}
    fsync, link = os.fsync, os.link

    def on_sync(descriptor):
        fsync(descriptor)
        found = os.fstat(descriptor)
        synced[found.st_ino] = (found.st_mtime_ns, found.st_size)

    def on_link(source, target, **settings):
        if Path(target).name == "record.json":
            cell = Path(target).parent
            results = cell.parents[1]
            places = [p for p in (*cell.rglob("*"), *(results / "calibration").rglob("*"))]
            places = [p for p in places if not p.name.startswith(("claim.", ".record."))]
            places += [cell.parent, results, results.parent]
            unsynced[cell.name] = [p for p in places if not is_synced(p)]
        link(source, target, **settings)

    def is_synced(path):
        found = path.stat()
        known = synced.get(found.st_ino)
        return known is not None and (path.is_dir() or known == (found.st_mtime_ns, found.st_size))

    monkeypatch.setattr(os, "fsync", on_sync)
    monkeypatch.setattr(os, "link", on_link)
    ended = run_cli(*world, "save_model=dense", cwd=tmp_path)

    assert ended.code == 0, ended.err
    assert len(unsynced) == 2 and not any(unsynced.values()), unsynced
    (dense,) = tmp_path.glob("results/default/*dense*")
    assert set(hash_files(dense)) == {ITEMS, LAYERS, REFERENCE}


@pytest.mark.slow  # every writer of files is held to it in test_atomic
def test_a_results_folder_of_several_people_has_the_modes_that_the_umask_asks_for(
    run_cli, world, tmp_path
):
    before = os.umask(0o002)
    try:
        assert run_cli(*world, "save_model=dense", cwd=tmp_path).code == 0
    finally:
        os.umask(before)
    modes = {
        p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "results").rglob("*") if p.is_file()
    }
    assert {"tokens.safetensors", "reference.safetensors", "model.safetensors"} <= modes.keys()
    assert set(modes.values()) == {0o664}, modes
