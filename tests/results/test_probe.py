"""What workers need of a file system is tried before they start, and told where it is lacking."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from calib_sweep.errors import ConfigError
from calib_sweep.results import probe
from calib_sweep.results.store import Store


def refuse(number):
    def call(*_, **__):
        raise OSError(number, os.strerror(number))

    return call


def only_now(path, times=None, utime=os.utime, **how):
    if times is None:
        utime(path, times, **how)


def test_an_ordinary_folder_can_do_it_all_and_is_left_as_it_was(tmp_path):
    assert probe.failures(tmp_path) == {}
    assert not list(tmp_path.iterdir())


# How mounts of buckets behave: s3fs and gcsfuse make no links, mountpoint-s3 renames nothing and
# appends nothing, others take a second file of a name for the first one.
@pytest.mark.parametrize(
    "module, name, how, lacking",
    [
        (os, "link", refuse(errno.EPERM), {"hard link"}),
        (os, "link", refuse(errno.ENOSYS), {"hard link"}),
        (os, "link", shutil.copyfile, {"hard link"}),
        (Path, "replace", refuse(errno.ENOSYS), {"write and sync", "rename"}),
        (Path, "rename", refuse(errno.EXDEV), {"rename"}),
        (os, "utime", only_now, {"set time"}),
        (os, "fsync", refuse(errno.EIO), {"write and sync", "hard link", "rename"}),
    ],
)
def test_what_a_file_system_cannot_do_is_named(module, name, how, lacking, tmp_path, monkeypatch):
    monkeypatch.setattr(module, name, how)
    assert set(probe.failures(tmp_path)) == lacking
    assert not list(tmp_path.iterdir())


def test_a_store_on_object_storage_is_refused_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(probe, "describe_mount", lambda _: "fuse.s3fs (s3fs, mounted at /mnt)")
    with pytest.raises(ConfigError) as refused:
        Store(tmp_path / "results", "default").require_writable()
    text = str(refused.value)
    assert "fuse.s3fs (s3fs, mounted at /mnt), cannot: hard link: Operation not permitted" in text
    assert "Type results_dir=FOLDER" in text and not list(tmp_path.iterdir())


def test_the_address_of_a_bucket_is_no_folder(run_cli, tmp_path):
    ended = run_cli("check", "results_dir=s3://bucket/results", cwd=tmp_path)
    assert ended.code == 1 and ended.err.count("ConfigError: ") == 1
    assert "results_dir='s3://bucket/results': expected a folder. Object storage has" in ended.err
    assert not list(tmp_path.iterdir())


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(
        b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        b"30 22 0:40 / /data rw shared:1 - nfs4 server:/export rw,hard\n"
        b"31 30 0:41 / /data/my\\040bucket rw - fuse.s3fs s3fs rw\n"
        b"32 22 0:42 / /m\xc3\xa4rz rw - tmpfs m\xc3\xa4rz\\040one rw\n"
        b"33 22 0:43 / /\xe4\xff rw - tmpfs none rw\n"
    )
    told = {
        "/home/me": "ext4 (/dev/sda1, mounted at /)",
        "/data/results": "nfs4 (server:/export, mounted at /data)",
        "/data/my bucket/results": "fuse.s3fs (s3fs, mounted at /data/my bucket)",
        "/m\u00e4rz/results": "tmpfs (m\u00e4rz one, mounted at /m\u00e4rz)",
        "/\udce4\udcff": "tmpfs (none, mounted at /\udce4\udcff)",  # no UTF-8 at all
        "/database": "ext4 (/dev/sda1, mounted at /)",
    }
    assert {place: probe.describe_mount(Path(place), mounts) for place in told} == told
    assert probe.describe_mount(tmp_path, tmp_path / "none") == "a file system"


@pytest.mark.slow
def test_a_real_file_system_without_hard_links_is_known(tmp_path):
    """FAT, if this machine may mount it."""
    image, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(2**24)
    for command in (["mkfs.vfat", image], ["mount", "-o", "loop", image, place]):
        if shutil.which(command[0]) is None or subprocess.run(command).returncode:
            pytest.skip(f"{command[0]} cannot be run here")
    try:
        assert set(probe.failures(place)) == {"hard link"}
    finally:
        subprocess.run(["umount", place], check=True)
