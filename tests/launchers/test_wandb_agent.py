"""W&B's own agent starts the command of our sweep file, and cells run under it."""

import sys
from pathlib import Path

import pytest
import yaml
from helpers.offline_runs import read_runs
from helpers.repository import ROOT
from helpers.sweeps import read_records

SWEEP = yaml.safe_load((ROOT / "launchers/wandb_sweep.yaml").read_text())
SMALL = ("calibration.", "evaluation.")  # of the tiny world: what makes a cell take a second
POINT = {"method": "wanda", "dataset": "mini_news", "seed": 3}


@pytest.fixture
def agent(tmp_path, monkeypatch, tiny_world):
    """The agent in `tmp_path`, as `wandb agent me/ours/sweep1` sets it up, connected to nothing.

    It puts the run's id and the path of its parameters into the environment: undone afterwards.
    """
    from wandb import wandb_agent

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    for key in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_DIR"):
        monkeypatch.setenv(key, "undone afterwards")
        monkeypatch.delenv(key)
    given = {"ENTITY": "me", "PROJECT": "ours", "SWEEP_ID": "sweep1", "MODE": "offline"}
    for key, value in given.items():
        monkeypatch.setenv(f"WANDB_{key}", value)
    agent = wandb_agent.Agent(api=None, queue=None, sweep_id="sweep1")
    agent._sweep_command = [*SWEEP["command"], *(w for w in tiny_world if w.startswith(SMALL))]
    return agent


@pytest.mark.slow
def test_an_agent_runs_a_point_as_cells_that_are_runs_of_their_own(agent, tmp_path):
    """In an agent's environment wandb.init would take the agent's id for every cell."""
    assert set(POINT) == set(SWEEP["parameters"])
    values = {key: {"value": value} for key, value in POINT.items()}
    order = {"type": "run", "run_id": "of_agent", "program": SWEEP["program"], "args": values}
    assert "exception" not in agent._process_command(order)
    assert agent._run_processes["of_agent"].wait(timeout=300) == 0

    assert list(tmp_path.glob("wandb/sweep-sweep1/config-of_agent.yaml"))  # as for a real one
    dense, wanda = read_records(tmp_path / "results" / "default")
    cell = wanda["cell"]
    assert {key: cell[key] for key in POINT} == POINT and wanda["status"] == "done"
    runs = {run["cell_id"]: run for run in read_runs(tmp_path / "results")}
    assert runs.keys() == {dense["cell_id"], wanda["cell_id"]}
    for run in runs.values():
        assert (run["group"], run["project"], run["sweep_id"]) == ("default", "calib_sweep", "")
