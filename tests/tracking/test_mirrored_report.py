"""The report in W&B: one run per sweep, read back from its file."""

import json
import shlex
import shutil

import pytest
from helpers.offline_runs import read_run

from calib_sweep.analysis.report.write import write_report
from calib_sweep.results.store import Store
from calib_sweep.tracking import client_process
from calib_sweep.tracking.base import Trackers
from calib_sweep.tracking.client_process import MirrorError
from calib_sweep.tracking.wandb import WandbTracking


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The folder of a small sweep with its report."""
    folder = tmp_path_factory.mktemp("template") / "made_up"
    for seed in range(3):
        for method, accuracy in (("wanda", 0.6), ("gptq", 0.7)):
            cell = {"model": "tiny", "method": method, "dataset": "web", "seed": seed}
            record = {"schema": 1, "status": "done", "cell": cell | {"replicate": 0}}
            record |= {"cell_id": f"{method}-{seed}", "scores": {"acc/mean": accuracy + seed / 100}}
            path = folder / f"{method}-{seed}" / "record.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(record))
    write_report(folder)
    return folder


@pytest.fixture
def reported(template, tmp_path):
    """The store of a sweep of its own."""
    shutil.copytree(template, tmp_path / "results" / "made_up")
    return Store(tmp_path / "results", "made_up")


def mirror(**fields):
    settings = {"project": "calib_sweep", "entity": None, "mode": "offline", "tags": ["mine"]}
    settings |= {"artifacts": [], "timeout_s": 60}
    return WandbTracking(**settings | fields)


def test_the_report_is_one_run_with_tables_figures_and_the_page(reported):
    mirror().log_report(reported)
    (path,) = reported.folder.rglob("*.wandb")
    run = read_run(path)
    assert (run["group"], run["job_type"]) == ("made_up", "analysis")
    assert sorted(run["tags"]) == ["analysis", "mine"]
    assert run["id"].startswith("analysis-")
    summary = run["summary"].items()
    kinds = {key.removesuffix("._type"): kind for key, kind in summary if key.endswith("._type")}
    assert kinds["tables/summary"] == kinds["tables/comparisons"] == "table-file"
    assert kinds["figures/seeds_accuracy"] == "image-file"
    assert kinds["report"] == "html-file"
    charted = json.loads((reported.folder / "report" / "scalars.json").read_text())
    assert charted["analysis/draw_sd/acc/mean/tiny/wanda"] == pytest.approx(0.01)
    assert {key: run["summary"][key] for key in charted} == charted
    (step,) = [point for point in run["history"] if "analysis/num_claims/all" in point]
    assert {key: step[key] for key in charted} == charted
    assert run["summary"]["conclusion"].startswith("Accuracy of gptq moves by (SD): ")
    (page,) = path.parent.rglob("report_*.html")
    assert page.read_text() == (reported.folder / "report" / "index.html").read_text()

    (path,) = reported.folder.rglob("summary_*.table.json")
    table = json.loads(path.read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["method"], row["n"]) for row in rows] == [("gptq", 3.0), ("wanda", 3.0)]
    assert rows[1]["mean"] == pytest.approx(0.61)
    assert rows[0]["dense"] is None


def test_the_report_is_mirrored_again_only_when_it_says_something_else(reported):
    mirror().log_report(reported)
    mirror().log_report(reported)
    assert len(list(reported.folder.rglob("*.wandb"))) == 1
    made_from = reported.folder / "report" / "made_from.json"
    made_from.write_text(made_from.read_text().replace('"records": "', '"records": "0'))
    mirror().log_report(reported)
    assert len(list(reported.folder.rglob("*.wandb"))) == 2


def test_it_is_said_where_the_runs_are(reported, caplog):
    with caplog.at_level("INFO", logger="calib_sweep"):
        mirror().log_report(reported)
        assert "To upload them: wandb login, then python -m calib_sweep sync" in caplog.text
        mark = reported.folder / "report" / "wandb.json"
        online = {"is_online": True, "run": "https://wandb.ai/me/p/runs/analysis-1"}
        mark.write_text(json.dumps(json.loads(mark.read_text()) | online))
        mirror().log_report(reported)
    assert "W&B: https://wandb.ai/me/p, group made_up" in caplog.text


def test_a_sweep_outlives_wandb_and_its_report_waits(reported, monkeypatch, caplog):
    def fail(*_, **__):
        raise MirrorError("the server is on fire", is_silence=False)

    with monkeypatch.context() as patch:
        patch.setattr(client_process, "ask", fail)
        mirror().log_report(reported)
    assert "W&B did not take report (the server is on fire)" in caplog.text
    assert f"type: python -m calib_sweep sync {shlex.quote(str(reported.folder))}" in caplog.text
    assert not list((reported.folder / "report").glob("claim.*"))
    mirror().log_report(reported)
    assert not list(reported.folder.rglob("*.wandb"))
    WandbTracking.marks.end_waiting(reported.folder)
    mirror().log_report(reported)
    assert len(list(reported.folder.rglob("*.wandb"))) == 1


def test_without_tracking_nothing_is_written(reported):
    before = sorted(reported.folder.rglob("*"))
    Trackers(by_name={}).log_report(reported)
    assert sorted(reported.folder.rglob("*")) == before


def test_numbers_of_methods_with_settings_keep_their_names(reported):
    """A dot parts no name: W&B would make it a group of its own."""
    name = "analysis/draw_sd/acc/mean/tiny/wanda sparsity=0.5 pattern=2:4"
    (reported.folder / "report" / "scalars.json").write_text(json.dumps({name: 0.25}))
    mirror().log_report(reported)
    (path,) = reported.folder.rglob("*.wandb")
    run = read_run(path)
    assert run["summary"][name] == 0.25
    assert [point[name] for point in run["history"] if name in point] == [0.25]
