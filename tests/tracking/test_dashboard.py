"""The W&B dashboard: every key that a panel asks for is one that a run of the sweep has logged."""

import copy
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers import wandb_server
from helpers.offline_runs import read_run

from calib_sweep.errors import ConfigError
from calib_sweep.results.store import Store
from calib_sweep.tracking import client_process, dashboard, panels
from calib_sweep.tracking.client_process import MirrorError
from calib_sweep.tracking.wandb import WandbTracking

SECTIONS = ["Scores by method and dataset", "Seed spread", "Which differences hold",
            "Variance components", "Layer errors", "All other scores"]  # fmt: skip


@pytest.fixture(scope="module")
def sweep(run_cli, tiny_world, tmp_path_factory):
    """The folder of a small sweep over seeds and a setting, mirrored by W&B offline."""
    folder = tmp_path_factory.mktemp("dashboard")
    kept = [word for word in tiny_world if word != "tracking=none" and "divergence" not in word]
    settings = ["tracking=wandb", "evaluation.divergence.num_tokens=16", "sweep_name=shown"]
    grid = ["method=wanda", "method.sparsity=0.5,0.6", "seed=0,1"]
    ended = run_cli("-m", *kept, *settings, *grid, cwd=folder, figures=True)
    assert ended.code == 0, ended.err
    return folder / "results" / "shown"


@pytest.fixture(scope="module")
def ended(sweep, run_cli):
    """How the verb ended, offline."""
    return run_cli("dashboard", "results/shown", cwd=sweep.parents[1])


@pytest.fixture
def specs(sweep, ended):
    """The JSON of workspace and report."""
    folder = sweep / "report" / "dashboard"
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def parts(node, key):
    """Every mapping below `node` that has `key`."""
    if isinstance(node, dict):
        if key in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from parts(child, key)


def asked(node):
    """(kind, key) of all that panels, groups and filters below `node` name."""
    for panel in parts(node, "viewType"):
        yield from asked_by(panel["viewType"], panel["config"])
    for group in parts(node, "grouping"):
        yield from (("config", key["name"]) for key in group["grouping"])
    for leaf in parts(node, "op"):
        yield leaf["key"]["name"], leaf["value"]


def asked_by(kind, config):
    if kind == "Media Browser":
        yield from (("media", key) for key in config["mediaKeys"])
    elif kind == "Weave":
        (key,) = parts(config, "key")
        yield "media", key["key"]["val"]
    elif kind == "Parallel Coordinates Plot":
        yield from (tuple(column["accessor"].split(":", 1)) for column in config["columns"])
    elif kind == "Scatter Plot":
        yield from (tuple(config[axis].split(":", 1)) for axis in ("xAxis", "yAxis"))
    elif kind in ("Bar Chart", "Run History Line Plot"):
        yield from (("history", key) for key in config["metrics"])
        if "xAxis" in config:
            yield "history", config["xAxis"]
        if "groupBy" in config:
            yield "config", config["groupBy"]
    else:
        raise AssertionError(f"a panel of an unknown kind: {kind}")


def logged_by(folder):
    """(kind, key) of all that the runs below `folder` have logged, read from W&B's own files."""
    for path in folder.rglob("*.wandb"):
        run = read_run(path)
        yield from (("group", run["group"]), ("jobType", run["job_type"]))
        yield from (("summary", key) for key in run["summary"])
        for key in (key for step in run["history"] for key in step):
            yield "media" if key.endswith("._type") else "history", key.split("._type")[0]
        for key, value in run["config"].items():
            yield from (("config", path) for path in config_paths(f"{key}.value", value))


def config_paths(path, value):
    yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from config_paths(f"{path}.{key}", child)


def test_every_key_of_the_dashboard_is_logged_by_a_run(sweep, specs):
    logged = set(logged_by(sweep))
    assert set(specs) == {"workspace", "report"}
    for spec in specs.values():
        found = set(asked(spec))
        kinds = {"media", "history", "config", "summary", "group"}
        assert kinds <= {kind for kind, _ in found}
        assert found <= logged


@pytest.mark.parametrize(
    ("kind", "change", "lost"),
    [
        ("Bar Chart", {"metrics": ["acc/other"]}, ("history", "acc/other")),
        ("Bar Chart", {"groupBy": "cell.value.way"}, ("config", "cell.value.way")),
        ("Scatter Plot", {"xAxis": "config:cell.value.s"}, ("config", "cell.value.s")),
        ("Scatter Plot", {"yAxis": "summary:ppl/other"}, ("summary", "ppl/other")),
        ("Run History Line Plot", {"xAxis": "block"}, ("history", "block")),
        ("Media Browser", {"mediaKeys": ["figures/x"]}, ("media", "figures/x")),
    ],
)
def test_a_key_that_no_run_logs_is_found(sweep, specs, kind, change, lost):
    spec = copy.deepcopy(specs["workspace"])
    panel = next(p for p in parts(spec, "viewType") if p["viewType"] == kind)
    panel["config"] |= change
    assert set(asked(spec)) - set(logged_by(sweep)) == {lost}


def test_a_table_that_no_run_logs_is_found(sweep, monkeypatch):
    logged = dashboard.read_logged(Store(sweep.parent, sweep.name))
    table = panels.wr.WeavePanelSummaryTable(table_name="t")
    monkeypatch.setattr(panels, "_tables", lambda *_: [table])
    spec = panels.build_workspace(logged, "p", "")._to_model().model_dump(by_alias=True)
    assert set(asked(json.loads(json.dumps(spec)))) - set(logged_by(sweep)) >= {("media", "t")}


def test_workspace_and_report_have_the_sections(specs):
    workspace = [part["name"] for part in next(parts(specs["workspace"], "sections"))["sections"]]
    assert workspace == ["Report", *SECTIONS]
    blocks = specs["report"]["spec"]["blocks"]
    headings = [b["children"][0]["text"] for b in blocks if b["type"] == "heading"]
    assert headings == ["Conclusion", *SECTIONS]
    assert len([block for block in blocks if block["type"] == "panel-grid"]) == len(SECTIONS)


def test_runs_are_grouped_by_the_axes_and_settings_in_which_they_differ_but_not_by_seed(specs):
    (grouping,) = [group["grouping"] for group in parts(specs["workspace"], "grouping")]
    names = [key["name"] for key in grouping]
    assert names == ["cell.value.method", "cell.value.dataset", "method.value.sparsity"]


def test_panels_of_the_report_do_not_cover_each_other(specs):
    for grid in parts(specs["report"], "panelBankSectionConfig"):
        taken = set()
        for panel in grid["panelBankSectionConfig"]["panels"]:
            at = panel["layout"]
            fields = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert at["x"] + at["w"] <= 24 and not fields & taken
            taken |= fields


def test_the_report_says_the_conclusion_of_the_sweep(sweep, specs):
    sentences = json.loads((sweep / "report" / "conclusion.json").read_text())
    texts = [part["text"] for part in parts(specs["report"], "text")]
    assert sentences and set(sentences) <= set(texts)


def test_offline_says_where_the_json_is_and_how_to_push_it(ended):
    assert ended.code == 0
    assert "results/shown/report/dashboard/workspace.json" in ended.out
    assert "wandb login, python -m calib_sweep sync results/shown, and this" in ended.out


def test_the_same_sweep_gives_the_same_json(sweep, specs):
    store = Store(sweep.parent, sweep.name)
    dashboard.write_dashboard(
        sweep / "report" / "dashboard", dashboard.read_logged(store), "calib_sweep"
    )
    for name, spec in specs.items():
        path = sweep / "report" / "dashboard" / f"{name}.json"
        assert json.loads(path.read_text()) == spec


INVENTED = panels.Logged(
    sweep_name="invented",
    sentences=["Nothing holds."],
    places=[("calib_sweep", None)],
    axes=["cell.method"],
    scores=["acc/mean", "acc/x", "flips/x", "kl/a", "ppl/a@32"],
    curves=[],
    shown=["tables/other", "figures/seeds_accuracy"],
    scalars=[],
    records="results/invented",
    report=None,
)


def test_what_was_not_logged_has_no_panel_and_an_empty_section_is_left_out():
    shown = {part.title: part.panels for part in panels.sections(INVENTED)}
    assert list(shown) == [SECTIONS[0], SECTIONS[1], "All other scores"]
    titles = [panel.title for panel in shown[SECTIONS[0]]]
    assert titles[0] == "axes and scores" and titles[1::3] == ["ppl/a@32", "acc/mean", "kl/a"]
    assert [panel.title for panel in shown["All other scores"]] == ["acc/x", "flips/x"]
    workspace = panels.build_workspace(INVENTED, "p", "")
    assert [section.name for section in workspace.sections] == list(shown)


def test_a_report_that_is_no_run_yet_has_no_panels(sweep, tmp_path):
    shutil.copytree(sweep, tmp_path / "shown")
    store = Store(tmp_path, "shown")
    assert "tables/summary" in dashboard.read_logged(store).shown
    (tmp_path / "shown" / "report" / "wandb.json").unlink()
    assert dashboard.read_logged(store).shown == []


def panel(spec, title):
    """The settings of the one panel with this title."""
    shown = [p["config"] for p in parts(spec, "viewType")]
    (found,) = [config for config in shown if config.get("chartTitle") == title]
    return found


def test_a_line_a_cell_runs_across_axes_seed_and_headline_scores(specs):
    axes = ["cell.value.method", "cell.value.dataset", "method.value.sparsity", "cell.value.seed"]
    columns = panel(specs["workspace"], "axes and scores")["columns"]
    accessors = [*(f"config:{axis}" for axis in axes), "summary:ppl/geomean"]
    assert [column["accessor"] for column in columns] == accessors


def test_what_moves_a_score_is_a_bar_for_each_method(sweep, specs):
    scalars = json.loads((sweep / "report" / "scalars.json").read_text())
    keys = [key for key in scalars if key.startswith("analysis/draw_sd/ppl/geomean/")]
    assert len(keys) == 2  # sparsities
    assert panel(specs["workspace"], "SD over draws of ppl/geomean")["metrics"] == keys


def test_the_report_leads_to_records_runs_and_workspace():
    run = "https://here/me/p/runs/analysis-1"
    logged = panels.Logged(**{**vars(INVENTED), "report": run})
    spec = panels.build_report(logged, "p", "", "https://here/w")._to_model().model_dump()
    urls = [part["url"] for part in parts(spec, "url") if part["url"]]
    assert urls == ["https://here/w", run, "https://here/me/p/groups/invented"]
    assert "results/invented" in [part["text"] for part in parts(spec, "text")]
    offline = panels.build_report(INVENTED, "p", "")._to_model().model_dump()
    assert not [part["url"] for part in parts(offline, "url") if part["url"]]


@pytest.mark.parametrize("name", ["a=b", "x < y", 'it\'s "so"', "back\\U", "d\u00e9j\u00e0", "a$b"])
def test_the_name_of_a_sweep_reaches_the_filter_as_it_is(name):
    logged = panels.Logged(**{**vars(INVENTED), "sweep_name": name})
    for build in (panels.build_workspace, panels.build_report):
        spec = build(logged, "p", "")._to_model().model_dump(by_alias=True)
        groups = {leaf["value"] for leaf in parts(spec, "op") if leaf["key"]["name"] == "group"}
        assert groups == {name}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ["dashboard nothing: expected the folder of one sweep", "results/NAME"]),
        (["nowhere"], ["dashboard 'nowhere': expected the folder of a sweep", "report nowhere"]),
        (
            ["results/shown", "tracking.x=1"],
            ["one of tracking.wandb.project, tracking.wandb.entity"],
        ),
        (
            ["results/shown", "tracking.wandb.project=a/b"],
            ["tracking.wandb.project='a/b': expected a name"],
        ),
    ],
)
def test_mistakes_are_told(sweep, run_cli, arguments, told):
    ended = run_cli("dashboard", *arguments, cwd=sweep.parents[1])
    assert ended.code == 1
    assert all(text in ended.err for text in told), ended.err


def test_a_sweep_without_runs_is_told_how_to_get_them(tmp_path):
    report = tmp_path / "bare" / "report"
    report.mkdir(parents=True)
    (report / "conclusion.json").write_text("[]")
    with pytest.raises(
        ConfigError, match=r"none is\. Run the sweep's command again with tracking=wandb"
    ):
        dashboard.main([str(tmp_path / "bare")])


def test_a_push_that_fails_says_so_and_keeps_the_json(sweep, monkeypatch):
    def fail(*_):
        raise MirrorError("the server is on fire", is_silence=False)

    monkeypatch.setattr(WandbTracking, "push", fail)
    monkeypatch.setattr(WandbTracking, "current_mode", lambda _: "online")
    with pytest.raises(ConfigError, match=r"the server is on fire.*same command"):
        dashboard.main([str(sweep)])
    assert (sweep / "report" / "dashboard" / "report.json").is_file()


def test_a_push_that_hangs_is_ended(sweep, tmp_path, monkeypatch):
    with wandb_server.serving() as server:
        server.faults[wandb_server.ANY] = wandb_server.hang
        for key, value in server.environment(tmp_path).items():
            monkeypatch.setenv(key, value)
        with pytest.raises(ConfigError, match=r"no answer within 2\.1 s.*Run the same command"):
            dashboard.main([str(sweep), "tracking.wandb.timeout_s=0.1"])
        client_process.end()


def test_a_missing_package_is_named_with_what_to_type(sweep, run_cli, monkeypatch):
    for module in ("panels", "dashboard"):
        monkeypatch.delitem(sys.modules, f"calib_sweep.tracking.{module}")
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    ended = run_cli("dashboard", "results/shown", cwd=sweep.parents[1])
    assert ended.code == 1
    assert "Type pip install 'wandb-workspaces<0.5'" in ended.err


class Server(BaseHTTPRequestHandler):
    """As much of W&B as a push asks for; keeps what it was told in `views`, by id."""

    def do_POST(self):
        self.server.paths.append(self.path)
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        data = self.answer(json.loads(asked)) if self.path == "/graphql" else {}
        answer = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def answer(self, asked):
        query, given = asked.get("query", ""), asked.get("variables") or {}
        if "viewer" in query:
            teams = {"edges": []}
            return {"viewer": {"id": "1", "entity": "me", "username": "me", "teams": teams}}
        if "ProjectInternalId" in query:
            return {"project": {"id": "P", "internalId": "17"}}
        if "GetProjects" in query:
            project = {"id": "P", "name": "calib_sweep", "entityName": "me", "isBenchmark": False}
            project |= {"createdAt": "2030-01-01T00:00:00", "internalId": "17", "user": None}
            page = {"hasNextPage": False, "endCursor": "c"}
            return {"models": {"edges": [{"cursor": "c", "node": project}], "pageInfo": page}}
        if "upsertView" in query:
            view = {key: given[key] for key in ("name", "type", "displayName", "spec")}
            view["id"] = given.get("id") or f"view{len(self.server.views)}"
            self.server.views[view["id"]] = view
            return {"upsertView": {"view": view, "inserted": True}}
        return {}

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    """W&B on the loopback device."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.paths, server.views = [], {}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def push_in_a_process(server, home, sweep, *calls):
    """Type the verb, once for each of `calls`, where W&B is `server`, as a user of another home."""
    lines = ["import os", "from calib_sweep.tracking import dashboard"]
    for words, key in calls:
        lines += [f"os.environ |= {key!r}", f"dashboard.main([{str(sweep)!r}, *{words!r}])"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    here = {"WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}", "HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env=kept | here,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )


KEY = {"WANDB_API_KEY": "0" * 40}


@pytest.mark.slow
def test_without_a_login_or_offline_nothing_is_contacted(sweep, server, tmp_path):
    calls = [
        ([], {}),
        (["tracking.wandb.mode=offline"], KEY),
        ([], KEY | {"WANDB_MODE": "offline"}),
    ]
    done = push_in_a_process(server, tmp_path, sweep, *calls)
    assert done.returncode == 0 and done.stdout.count("Not pushed") == 3, done.stderr
    assert server.paths == []


@pytest.mark.slow
def test_who_is_logged_in_gets_both_pushed_and_renewed_by_the_same_command(
    sweep, specs, server, tmp_path
):
    try:
        done = push_in_a_process(server, tmp_path, sweep, ([], KEY), ([], KEY))
        assert done.returncode == 0, done.stderr
        host = f"http://127.0.0.1:{server.server_port}/me/calib_sweep"
        lines = done.stdout.splitlines()
        assert lines[:2] == lines[2:]
        assert lines[0].startswith(f"workspace: {host}?nw=")
        assert lines[1] == f"report: {host}/reports/Sweep-shown--view1"
    finally:
        (sweep / "report" / "dashboard" / "pushed.json").unlink(missing_ok=True)
    workspace, report = server.views.values()
    linked = [part["url"] for part in parts(json.loads(report["spec"]), "url") if part["url"]]
    assert linked == [lines[0].removeprefix("workspace: ")]
    assert (workspace["type"], report["type"]) == ("project-view", "runs")
    assert json.loads(workspace["spec"]) == specs["workspace"]["spec"]
    sent = list(parts(json.loads(report["spec"]), "viewType"))
    assert sent == list(parts(specs["report"], "viewType"))
    for grid in parts(json.loads(report["spec"]), "runSets"):
        assert {runs["project"]["name"] for runs in grid["runSets"]} == {"calib_sweep"}
