"""The W&B mirror: runs are read back from their files and hold what the records hold."""

import subprocess
import sys

import pandas as pd
import pytest
import yaml
from helpers.offline_runs import read_runs
from helpers.sweeps import read_records

from calib_sweep import run as run_module
from calib_sweep.errors import ConfigError
from calib_sweep.places import CONF
from calib_sweep.tracking import client_process, sync
from calib_sweep.tracking.client_process import MirrorError
from calib_sweep.tracking.wandb import WandbTracking

SECRET = "0123456789abcdef0123456789abcdef01234567"
KEYS = {"WANDB_API_KEY": SECRET, "HF_TOKEN": f"hf_{SECRET}", "HUGGING_FACE_HUB_TOKEN": SECRET}


@pytest.fixture(scope="module")
def wandb_world(tiny_world):
    """A small grid that is mirrored and compared with the dense model."""
    kept = [word for word in tiny_world if word != "tracking=none" and "divergence" not in word]
    settings = [
        "tracking=wandb",
        "tracking.wandb.tags=[mine]",
        "evaluation.divergence.num_tokens=16",
    ]
    return ["-m", *kept, *settings, "sweep_name=mirrored"]


@pytest.fixture(scope="module")
def mirrored(run_cli, wandb_world, tmp_path_factory):
    """The folder of a sweep of two methods and two seeds, one cell of which failed."""
    folder = tmp_path_factory.mktemp("mirrored")
    write_tables = run_module.write_tables

    def fail(cell_folder, *tables):
        if "-seed1-" in cell_folder.name:
            raise RuntimeError("seed 1 fails when it has been scored")
        write_tables(cell_folder, *tables)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "write_tables", fail)
        grid = ["method=wanda,magnitude", "seed=0,1"]
        ended = run_cli(*wandb_world, *grid, cwd=folder, env=KEYS)
    assert ended.code == 3, ended.err
    return folder / "results" / "mirrored"


def test_every_cell_is_one_run_that_holds_its_record(mirrored):
    records = {record["cell_id"]: record for record in read_records(mirrored)}
    runs = {run["cell_id"]: run for run in read_runs(mirrored)}
    assert len(runs) == len(records) == 4
    assert len(list(mirrored.rglob("*.wandb"))) == 4 + 1  # one of the report
    assert runs.keys() == records.keys()
    for cell_id, run in runs.items():
        record = records[cell_id]
        assert (run["group"], run["job_type"], run["project"]) == (
            "mirrored",
            "cell",
            "calib_sweep",
        )
        cell = record["cell"]
        tags = ["mine", cell["model"], cell["method"], cell["dataset"]]
        assert sorted(run["tags"]) == sorted(tag for tag in tags if tag)
        for key, value in record["config"].items():
            assert run["config"][key] == value, key
        assert run["config"]["cell"]["method"] == cell["method"]
        assert run["summary"]["status"] == record["status"]
        assert run["exit_code"] == (0 if record["status"] == "done" else 1)
        if record["status"] == "failed":
            continue
        scores = {key: run["summary"].get(key) for key in record["scores"]}
        assert scores == record["scores"]
        stderr = {key: run["summary"].get(f"stderr/{key}") for key in record["stderr"]}
        assert stderr == record["stderr"]


def test_the_compared_cell_has_scores_of_every_kind(mirrored):
    (run,) = [run for run in read_runs(mirrored) if "wanda" in run["tags"] and not run["exit_code"]]
    kinds = {key.split("/")[0] for key in run["summary"]}
    assert {"ppl", "kl", "compression", "timings_s", "calibration"} <= kinds


def test_a_run_has_the_errors_of_its_layers_block_by_block_and_then_its_scores(mirrored):
    runs = {run["cell_id"]: run for run in read_runs(mirrored) if not run["exit_code"]}
    (record,) = [
        r for r in read_records(mirrored) if r["cell"]["seed"] == 0 and r["status"] == "done"
    ]
    (folder,) = mirrored.glob(f"*-{record['cell_id']}")
    layers = pd.read_parquet(folder / "layers.parquet")
    *blocks, scores = [
        {key: value for key, value in step.items() if not key.startswith("_")}
        for step in runs[record["cell_id"]]["history"]
    ]
    assert [step["layers/block"] for step in blocks] == sorted(set(layers["block"]))
    (of_last,) = layers.loc[layers["layer"] == "mlp.down_proj", "output_error"].tail(1)
    assert blocks[-1]["layers/output_error/down_proj"] == pytest.approx(of_last)
    assert len(blocks[-1]) == 1 + layers["layer"].nunique()
    assert scores == record["scores"]
    summary = runs[record["cell_id"]]["summary"]
    assert summary["compression/output_error"] == pytest.approx(layers["output_error"].mean())
    assert not [key for key in summary if key.startswith("layers/")]


def test_without_calibration_data_there_are_no_errors_of_layers(mirrored):
    by_method = {run["config"]["cell"]["method"]: run for run in read_runs(mirrored)}
    for method in ("dense", "magnitude"):
        (step,) = by_method[method]["history"]
        assert not [key for key in step if key.startswith("layers/")]
        assert "compression/output_error" not in by_method[method]["summary"]


def test_a_failed_cell_is_a_failed_run_without_scores_even_if_it_was_scored(mirrored):
    (record,) = [r for r in read_records(mirrored) if r["status"] == "failed"]
    assert record["scores"]
    (failed,) = [run for run in read_runs(mirrored) if run["exit_code"] == 1]
    assert failed["summary"]["status"] == "failed" and failed["history"] == []
    scored = ("ppl/", "kl/", "stderr/")
    assert not [key for key in failed["summary"] if key.startswith(scored)]


def test_no_key_or_token_is_written_anywhere(mirrored):
    files = [path for path in mirrored.parent.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def refuse(call, *_, **__):
    raise MirrorError("the server is on fire", is_silence=False)


@pytest.mark.slow
def test_a_cell_outlives_wandb_which_is_tried_again_only_when_the_user_asks(
    run_cli, wandb_world, tmp_path, monkeypatch
):
    asked = []
    command = [*wandb_world, "method=magnitude"]
    with monkeypatch.context() as patch:
        patch.setattr(client_process, "ask", lambda *call, **_: asked.append(call) or refuse(*call))
        ended = run_cli(*command, cwd=tmp_path)
    assert ended.code == 0 and "2 cells, 2 done" in ended.out
    assert ended.err.count("the server is on fire") == len(asked) == 1
    sweep = tmp_path / "results" / "mirrored"
    told = (
        f"W&B lacks 3 runs of this sweep. When it answers, type: python -m calib_sweep sync {sweep}"
    )
    assert told in ended.err.splitlines()[-1]
    before = {path: path.read_bytes() for path in sweep.glob("*/record.json")}

    again = run_cli(*command, cwd=tmp_path)
    assert again.code == 0 and told in again.err and read_runs(sweep) == []

    old = run_cli("sync", "results/mirrored", "tracking.mode=offline", cwd=tmp_path)
    assert old.code == 1 and "Did you mean tracking.wandb.mode?" in old.err
    synced = run_cli("sync", "results/mirrored", "tracking.wandb.mode=offline", cwd=tmp_path)
    assert synced.code == 0 and "2 cells are now offline runs, 0 left" in synced.out, synced
    runs = read_runs(sweep)
    assert {run["cell_id"] for run in runs} == {r["cell_id"] for r in read_records(sweep)}
    assert {run["name"] for run in runs} == {"miniature dense", "miniature magnitude"}
    assert {path: path.read_bytes() for path in sweep.glob("*/record.json")} == before
    last = run_cli(*command, cwd=tmp_path)
    assert "W&B lacks" not in last.err and len(read_runs(sweep)) == 2  # mirrored once


@pytest.mark.slow
def test_a_cell_that_failed_and_then_succeeded_unseen_is_mirrored_again(
    run_cli, wandb_world, tmp_path, monkeypatch
):
    command = [*wandb_world, "method=magnitude"]
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "summarise_layers", refuse)
        assert run_cli(*command, cwd=tmp_path).code == 3
    assert run_cli(*command, cwd=tmp_path, env={"WANDB_MODE": "disabled"}).code == 0
    assert run_cli(*command, cwd=tmp_path).code == 0
    runs = read_runs(tmp_path / "results" / "mirrored")
    (dense,) = [record for record in read_records(tmp_path / "results" / "mirrored")
                if record["cell"]["method"] == "dense"]  # fmt: skip
    assert [run["exit_code"] for run in runs if run["cell_id"] == dense["cell_id"]] == [1, 0]


@pytest.mark.slow
def test_without_tracking_wandb_is_not_imported(tiny_world, tmp_path):
    program = (
        "import sys; from calib_sweep import cli\n"
        "try: code = cli.main()\n"
        "except SystemExit as leaving: code = leaving.code\n"
        "print('wandb imported:', 'wandb' in sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "-m", *tiny_world, "method=magnitude"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "wandb imported: False" in ended.stdout
    assert not list(tmp_path.rglob("*wandb*"))


def test_verbs_take_the_defaults_of_the_shipped_choice():
    shipped = yaml.safe_load((CONF / "tracking" / "wandb.yaml").read_text())
    target = "calib_sweep.tracking.wandb.WandbTracking"
    assert shipped == {"wandb": {"_target_": target, **sync.DEFAULTS}}


def test_settings_are_checked_together():
    with pytest.raises(ConfigError) as caught:
        WandbTracking(
            project="a/b", entity=None, mode="x", tags=["t" * 65], artifacts=["sets"], timeout_s=0
        )
    assert [problem.split("=")[0] for problem in caught.value.problems] == [
        "tracking.wandb.project",
        "tracking.wandb.mode",
        "tracking.wandb.tags",
        "tracking.wandb.artifacts",
        "tracking.wandb.timeout_s",
    ]
