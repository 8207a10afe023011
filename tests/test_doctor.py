"""The verb doctor: what a bug report needs, and no secret."""

import errno
import os
import socketserver
import threading

import pytest

from calib_sweep import doctor

SECRET = "not-for-other-eyes-0123456789"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Nobody is asked, and what would give a key away stands in every place it may stand in."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine api.wandb.ai login user password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))


def test_the_page_says_what_a_bug_report_needs_and_leaves_nothing_behind(
    offline, run_cli, tmp_path
):
    place = tmp_path / "place"
    place.mkdir()
    ended = run_cli("doctor", cwd=place, env={"HF_TOKEN": SECRET, "WANDB_API_KEY": SECRET})
    assert ended.code == 0, ended.err
    for word in ("calib-sweep ", "torch ", "memory ", "hub cache ", "accelerate ", "hard link "):
        assert f"    {word}" in ended.out
    assert "not asked: offline; logged in" in ended.out
    assert "WANDB_API_KEY" in ended.out  # that it is set, and no more
    assert SECRET not in ended.out + ended.err
    assert list(place.iterdir()) == []


def test_a_folder_without_hard_links_is_told_and_the_code_is_one(
    offline, run_cli, tmp_path, monkeypatch
):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    ended = run_cli("doctor", str(tmp_path / "results"), cwd=tmp_path)
    assert ended.code == 1
    assert "hard link              NO: Operation not permitted, by a file system that" in ended.out


def test_two_folders_are_refused(run_cli, tmp_path):
    ended = run_cli("doctor", "a", "b", cwd=tmp_path)
    assert ended.code == 1 and "expected at most one folder" in ended.err


def test_a_server_that_never_answers_is_waited_for_a_moment_only(monkeypatch):
    class Silent(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(1024)
            ended.wait(20)

    ended = threading.Event()
    monkeypatch.setattr(doctor, "PATIENCE_S", 0.2)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            answer = doctor._answer(f"http://127.0.0.1:{server.server_address[1]}/")
        finally:
            ended.set()
            server.shutdown()
    assert answer.startswith("does not answer")


def test_a_server_that_refuses_is_one_that_answers():
    class Refusing(socketserver.StreamRequestHandler):
        def handle(self):
            self.rfile.readline()
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert doctor._answer(f"http://127.0.0.1:{server.server_address[1]}/") == "answers"
        finally:
            server.shutdown()
