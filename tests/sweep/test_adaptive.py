"""hydra/sweeper=adaptive: rounds of seeds until every contrast is known, from the records alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers.simulated import normal

from calib_sweep import cli
from calib_sweep.analysis.inference import sequential
from calib_sweep.analysis.report.write import is_current
from calib_sweep.errors import ConfigError
from calib_sweep.results.record import describe_error, new_record, utc_now
from calib_sweep.sweep.handover import hand_over

GAP = 2.0  # SDs between the two methods
METHODS = ("wanda", "sparsegpt")
LOG_PPL = {"dense": np.full(40, 1.0)}
LOG_PPL |= {m: 3.0 + 0.02 * normal(f"adaptive/{m}", 40) for m in METHODS}
LOG_PPL["wanda"] += 0.02 * GAP
COMMAND = ["-m", "hydra/sweeper=adaptive", "method=wanda,sparsegpt", "hydra.sweeper.width=0.001"]


class Interrupted(KeyboardInterrupt):
    pass


class Fake:
    """Runs no cell, but scores it at once."""

    def __init__(self):
        self.ran, self.fails, self.interrupt_after = [], lambda cell: False, None

    def __call__(self, cell, store, session, progress=None):
        if len(self.ran) == self.interrupt_after:
            raise Interrupted
        self.ran.append((cell.method, cell.seed))
        record = new_record(cell)
        record["scores"] = {"ppl/geomean": float(np.exp(LOG_PPL[cell.method][cell.seed or 0]))}
        record["status"], record["finished_at"] = "done", utc_now()
        if self.fails(cell):
            record |= {"status": "failed", "scores": {}, "error": describe_error(OSError("melted"))}
        store.write(cell, record)
        return record


@pytest.fixture
def fake(monkeypatch):
    fake = Fake()
    monkeypatch.setattr("calib_sweep.run.run_cell", fake)
    return fake


def stopping(cwd):
    return json.loads((cwd / "results/default/stopping.json").read_text())


def expected_seeds(x_N, first=5):
    """The rule by hand, a look after every seed: the t against Lai's boundary."""
    for n in range(first, len(x_N) + 1):
        x, root = x_N[:n], np.sqrt(n)
        mean, sd = np.mean(x), np.std(x, ddof=1)
        t = mean * root / sd
        skew = np.mean((x - mean) ** 3) / sd**3
        hall = t + skew * (1 + 2 * t**2) / 6 / root + skew**2 * t**3 / 27 / n
        t = min(t, hall) if t > 0 else max(t, hall)
        if abs(t) > sequential.boundary(n, first):
            return n
    return len(x_N)


def test_seeds_are_added_until_the_difference_is_shown(run_cli, tiny_world, tmp_path, fake):
    ended = run_cli(*COMMAND, *tiny_world, "seed=range(30)", cwd=tmp_path)
    assert ended.code == 0, ended.err
    num = expected_seeds(LOG_PPL["wanda"] - LOG_PPL["sparsegpt"])
    assert 5 < num < 20
    assert sorted(fake.ran) == sorted(
        [("dense", None), *((m, s) for m in METHODS for s in range(num))]
    )
    # whole rounds: no cell of a later seed before all of an earlier one, beyond the first five
    later = [seed for _, seed in fake.ran if seed is not None and seed >= 5]
    assert later == sorted(later)
    told = stopping(tmp_path)
    assert told["seeds"] == list(range(num))
    assert [look["num_seeds"] for look in told["looks"]] == list(range(5, num + 1))
    assert [look["is_settled"] for look in told["looks"]] == [False] * (num - 5) + [True]
    (entry,) = told["looks"][-1]["contrasts"]
    assert (entry["state"], entry["better"], entry["n"]) == ("shown", "sparsegpt", num)
    assert "at most 61 cells" in ended.err and f"{2 * num + 1} cells" in ended.out
    out = " ".join(ended.out.split())
    assert f"Stopped after {num} of at most 30 seeds and {num - 4} looks" in out
    assert "sparsegpt is better than wanda in perplexity on text: x0.9" in out
    assert "at most 5 % do" in out and "at most 5 % would make" not in out
    assert out.count("Stopped after") == 1
    said = json.loads((tmp_path / "results/default/report/conclusion.json").read_text())
    assert said[-3].startswith(f"Stopped after {num} of at most 30 seeds")


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_decides_as_one_that_was_not(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    found = []
    for name, interruptions in (("whole", []), ("killed", [3, 10, 1])):
        cwd, ran = tmp_path / name, []
        cwd.mkdir()
        for after in [*interruptions, None]:
            fake = Fake()
            fake.interrupt_after = after
            monkeypatch.setattr("calib_sweep.run.run_cell", fake)
            ended = run_cli(*COMMAND, *tiny_world, "seed=range(30)", cwd=cwd)
            assert (ended.code == 0) == (after is None)
            ran += fake.ran
        assert len(ran) == len(set(ran))  # nothing is done twice
        found.append((sorted(ran, key=str), stopping(cwd)))
    assert found[0] == found[1]


@pytest.mark.slow
def test_what_is_known_is_not_run_again_and_more_seeds_are_looked_at_as_before(
    run_cli, tiny_world, tmp_path, fake
):
    assert run_cli(*COMMAND, *tiny_world, "seed=range(6)", cwd=tmp_path).code == 0
    first, fake.ran = stopping(tmp_path), []
    assert not first["looks"][-1]["is_settled"]
    assert run_cli(*COMMAND, *tiny_world, "seed=range(30)", cwd=tmp_path).code == 0
    second = stopping(tmp_path)
    assert second["looks"][: len(first["looks"])] == first["looks"]
    assert {seed for _, seed in fake.ran} == set(range(6, len(second["seeds"])))
    fake.ran = []
    assert run_cli(*COMMAND, *tiny_world, "seed=range(30)", cwd=tmp_path).code == 0
    assert fake.ran == [] and stopping(tmp_path) == second


def test_a_wide_enough_width_ends_it_at_the_first_look(run_cli, tiny_world, tmp_path, fake):
    words = [*COMMAND[:-1], "hydra.sweeper.width={ppl: 0.5}", "hydra.sweeper.min_seeds=8"]
    ended = run_cli(*words, *tiny_world, "seed=range(3,30)", cwd=tmp_path)
    assert ended.code == 0
    assert stopping(tmp_path)["seeds"] == list(range(3, 11))
    told = stopping(tmp_path)
    assert told["looks"][0]["contrasts"][0]["half"] < 0.5
    # The report is made from the looks, too: another number of them, another report.
    folder = tmp_path / "results/default"
    assert "Stopped after 8 of at most 27 seeds" in (folder / "report/report.md").read_text()
    assert is_current(folder)
    (folder / "stopping.json").write_text(json.dumps({**told, "looks": told["looks"] * 2}))
    assert not is_current(folder)


def test_a_failed_cell_costs_its_seed_and_hangs_nothing(run_cli, tiny_world, tmp_path, fake):
    fake.fails = lambda cell: (cell.method, cell.seed) == ("wanda", 2)
    ended = run_cli(*COMMAND, *tiny_world, "seed=range(30)", cwd=tmp_path)
    assert ended.code == 3
    x_N = np.delete(LOG_PPL["wanda"] - LOG_PPL["sparsegpt"], 2)
    told = stopping(tmp_path)
    assert len(told["seeds"]) == expected_seeds(x_N) + 1
    assert told["looks"][0]["contrasts"][0]["state"] == "open"  # four seeds are no look
    assert told["looks"][-1]["contrasts"][0]["n"] == len(told["seeds"]) - 1


def test_a_method_that_never_runs_is_not_waited_for(run_cli, tiny_world, tmp_path, fake):
    fake.fails = lambda cell: cell.method == "wanda"
    ended = run_cli(*COMMAND, *tiny_world, "seed=range(30)", cwd=tmp_path)
    assert ended.code == 3
    assert len(stopping(tmp_path)["seeds"]) == 5
    assert "no contrast has finite scores, so more seeds do not help" in " ".join(ended.out.split())


def test_methods_without_data_run_once_and_are_compared(run_cli, tiny_world, tmp_path, fake):
    LOG_PPL["magnitude"] = np.full(40, 3.5)
    words = ["-m", "hydra/sweeper=adaptive", "method=magnitude,rtn,wanda", "seed=range(9)"]
    LOG_PPL["rtn"] = np.full(40, 3.6)
    ended = run_cli(*words, *tiny_world, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert [m for m, _ in fake.ran].count("magnitude") == 1
    pairs = [(e["a"], e["b"], e["state"]) for e in stopping(tmp_path)["looks"][-1]["contrasts"]]
    # magnitude and rtn have no draws: nothing to learn from more seeds
    assert pairs == [("magnitude", "wanda", "shown"), ("rtn", "wanda", "shown")]


@pytest.mark.slow
def test_against_dense_where_that_is_asked_for(run_cli, tiny_world, tmp_path, fake):
    words = [*COMMAND, "hydra.sweeper.contrasts=[[dense,wanda]]", "seed=range(9)"]
    assert run_cli(*words, *tiny_world, cwd=tmp_path).code == 0
    (entry,) = stopping(tmp_path)["looks"][0]["contrasts"]
    mean = 1.0 - LOG_PPL["wanda"][:5].mean()
    assert (entry["b"], entry["better"]) == ("wanda", "dense")
    assert entry["mean"] == pytest.approx(mean, abs=1e-9)


@pytest.mark.slow
def test_rounds_of_several_seeds(run_cli, tiny_world, tmp_path, fake):
    words = [*COMMAND, "hydra.sweeper.round=4", "hydra.sweeper.width=1e-6", "seed=range(30)"]
    LOG_PPL["wanda"], before = (
        LOG_PPL["sparsegpt"] + 0.01 * np.resize([1, -1], 40),
        LOG_PPL["wanda"],
    )
    try:
        ended = run_cli(*words[:-1], "seed=range(11)", *tiny_world, cwd=tmp_path)
    finally:
        LOG_PPL["wanda"] = before
    assert ended.code == 0
    assert [look["num_seeds"] for look in stopping(tmp_path)["looks"]] == [5, 9, 11]
    out = " ".join(ended.out.split())
    assert "Not every contrast is known after all 11 seeds that were allowed." in out
    assert "is open: x" in out


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (["hydra.sweeper.width=0"], ["hydra.sweeper.width=0: expected a half-width"]),
        (["hydra.sweeper.width={acc: 0.1, foo: 1}"], ["one for each of ppl and acc"]),
        (["hydra.sweeper.round=x"], ["hydra.sweeper.round='x': expected an integer >= 1"]),
        (["hydra.sweeper.contrasts=[wanda]"], ["expected methods of the grid"]),
        (["hydra.sweeper.contrasts=[wanda,wnda]"], ["'wnda': expected a method of this grid"]),
        (["method=wanda"], ["method: expected two that meet"]),
        (["seed=range(4)"], ["seed: expected at least hydra.sweeper.min_seeds=5 different seeds"]),
        (
            [
                *("hydra.sweeper.width=2", "hydra.sweeper.min_seeds=3", "seed=1,2"),
                *("hydra.sweeper.contrasts=[a,b]", "method.sparsity=2"),
            ],
            [
                *("hydra.sweeper.width=2", "hydra.sweeper.min_seeds=3", "there are 2"),
                *("contrasts='a'", "contrasts='b'", "method.sparsity=2"),
            ],
        ),
    ],
)
def test_mistakes_are_told_all_at_once_before_anything_runs(
    words, problems, run_cli, tiny_world, tmp_path, fake
):
    grid = ["-m", "hydra/sweeper=adaptive", "method=wanda,sparsegpt", "seed=range(9)"]
    ended = run_cli(*grid, *words, *tiny_world, cwd=tmp_path)
    assert ended.code == 1 and not fake.ran
    for problem in problems:
        assert problem in " ".join(ended.err.split()), ended.err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["hydra.sweeper.width=0.1"], "no effect on a grid. Type hydra/sweeper=adaptive"),
        (
            ["hydra/sweeper=adaptive", "hydra.sweeper.widht=1"],
            "has: min_seeds, round, width, contr",
        ),
        (["hydra/sweeper=optuna"], "hydra/sweeper=adaptive"),
    ],
)
def test_settings_of_the_sweeper_that_do_nothing_are_refused(words, problem):
    with pytest.raises(ConfigError, match=problem):
        hand_over(cli.CONF, "run", ["seed=1", *words])


def test_check_says_how_many_at_most_and_what_ends_it(run_cli, tiny_world, tmp_path, no_weights):
    words = ["check", *COMMAND, "seed=range(20)", "hydra.sweeper.round=3"]
    ended = run_cli(*words, *tiny_world, cwd=tmp_path)
    assert ended.code == 0, ended.err
    out = " ".join(ended.out.split())
    assert "at most the cells below. 5 to 20 seeds, with a look after 5 and every 3 seeds" in out
    assert "40 cells and 1 dense, 0 done, 41 to run" in out


@pytest.mark.slow
def test_two_commands_on_one_folder_share_the_rounds_and_stop_alike(tmp_path, tiny_world):
    command = [sys.executable, "-m", "calib_sweep", *COMMAND, *tiny_world, "seed=range(8)"]
    command += [f"results_dir={tmp_path}/results"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    told = stopping(tmp_path)
    lines = [[line for line in err.splitlines() if "look after" in line] for _, err in ended]
    looks = [[line.split("] ", 1)[1] for line in own] for own in lines]
    assert looks[0] == looks[1] and len(looks[0]) == len(told["looks"])
    done = [err.count(" done in ") for _, err in ended]
    assert sum(done) == 1 + 2 * len(told["seeds"])


@pytest.mark.slow
def test_launched_workers_wait_for_each_round(tmp_path, run_cli, tiny_world):
    words = [*COMMAND, "hydra/launcher=accelerate", "hydra.launcher.num_workers=2"]
    ended = run_cli(*words, *tiny_world, "seed=range(7)", cwd=tmp_path)
    assert ended.code == 0, ended.err
    told = stopping(tmp_path)
    assert ended.err.count("look after") == len(told["looks"]) >= 1
    records = list((tmp_path / "results/default").glob("*/record.json"))
    assert len(records) == 1 + 2 * len(told["seeds"])
