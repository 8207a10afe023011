"""W&B from a shell that has variables of its own: who asks is heard, another run's are not ours."""

import subprocess

import pytest
from helpers.calibrated_cells import make_calibrated_cell
from helpers.wandb_server import serving

from calib_sweep.tracking import client_process
from calib_sweep.tracking.mirrored import run_id
from calib_sweep.tracking.wandb import WandbTracking

OF_ANOTHER = {
    "WANDB_RUN_ID": "other", "WANDB_NAME": "other", "WANDB_NOTES": "other", "WANDB_TAGS": "other",
    "WANDB_RUN_GROUP": "other", "WANDB_JOB_TYPE": "other", "WANDB_PROJECT": "other",
    "WANDB_RESUME": "must", "WANDB_SWEEP_ID": "other", "WANDB_LAUNCH": "true",
    "WANDB_SERVICE": "3-1-tcp-localhost-1", "WANDB_IGNORE_GLOBS": "*", "WANDB_X_PRIMARY": "false",
    "WANDB_SILENT": "true", "WANDB_CONSOLE": "wrap",
}  # fmt: skip
TOKEN = "ghp_012345678901234567890123456789012345"


@pytest.fixture
def tracking():
    yield WandbTracking(project="p", entity=None, mode="auto", tags=[], artifacts=[], timeout_s=60)
    client_process.end()


@pytest.mark.slow
def test_a_run_is_ours_in_the_shell_of_another_and_says_nothing_of_where_it_is_pushed(
    tracking, tmp_path, monkeypatch
):
    """Who pushes a cell may stand in any repository, on another machine than the one it ran on."""
    sweep, here = tmp_path / "results" / "many", tmp_path / "repository"
    folder = make_calibrated_cell(sweep, 0)
    here.mkdir()
    remote = f"https://{TOKEN}@github.com/me/other.git"
    for words in (["init", "-q"], ["remote", "add", "origin", remote]):
        subprocess.run(["git", *words], cwd=here, check=True)
    who = ["-c", "user.name=me", "-c", "user.email=me@here"]
    command = ["git", *who, "commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(command, cwd=here, check=True)
    monkeypatch.chdir(here)
    with serving() as server:
        for key, value in (server.environment(tmp_path) | OF_ANOTHER).items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("WANDB_DIR", str(tmp_path / "other"))
        tracking.mirror_cell(folder, "0" * 12, "name")
        ((name, run),) = server.runs.items()
        mark = tracking.marks.read(folder)
    assert name == mark["id"] == run_id("many", "0" * 12) and mark["run"].endswith(
        f"/p/runs/{name}"
    )
    told = {key: run.told[key] for key in ("project", "displayName", "groupName", "jobType")}
    assert list(told.values()) == ["p", "name", "many", "cell"]
    assert run.told["notes"].startswith("Record: ") and "other" not in run.told["tags"]
    assert run.told.keys().isdisjoint({"sweep", "host", "repo", "commit"})
    assert set(run.files) == {"config.yaml", "wandb-summary.json"} and run.exit_code == 0
    assert not (tmp_path / "other").exists()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "kept", "mode"),
    [
        ({}, "", "online"),
        ({"WANDB_API_KEY": ""}, "", "offline"),
        ({}, "mode = offline", "offline"),
        ({"WANDB_MODE": "online"}, "mode = offline", "online"),
        ({"WANDB_MODE": "dryrun"}, "", "offline"),
        ({"WANDB_MODE": "shared"}, "", "online"),
        ({"WANDB_DISABLED": "true", "WANDB_MODE": "online"}, "", "disabled"),
        ({"WANDB_DISABLED": "false"}, "", "online"),
    ],
)
def test_the_mode_is_what_the_user_told_wandb(
    tracking, tmp_path, monkeypatch, variables, kept, mode
):
    place = tmp_path / ".config" / "wandb"
    place.mkdir(parents=True)
    (place / "settings").write_text(f"[default]\n{kept}\n")
    with serving() as server:
        for key, value in (server.environment(tmp_path) | {"WANDB_MODE": ""} | variables).items():
            monkeypatch.setenv(key, value)
        assert tracking.current_mode() == mode


@pytest.mark.slow
def test_a_mode_that_is_none_is_named(tracking, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "Online")
    with pytest.raises(client_process.MirrorError, match="WANDB_MODE='Online': expected online, "):
        tracking.current_mode()
