"""What `check` says of the cost: as finished cells like them, or as the cost model tells."""

import copy
import json
import sys

import pytest

from calib_sweep.analysis.formatting import size
from calib_sweep.cell import Cell
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.results.store import Store
from calib_sweep.sweep.cost.finished import known_devices
from calib_sweep.sweep.cost.jobs import jobs_of, seconds_of, shapes_of
from calib_sweep.sweep.cost.parts import parts_of
from calib_sweep.sweep.cost.rates import CPU
from calib_sweep.sweep.estimate import describe_plan
from calib_sweep.sweep.plan import compose_command_line, plan_cells

TYPED = ["model=miniature", "model.device=cpu", "tracking=none", "dataset=mini_web"]
SECONDS = {"load": 50.0, "draw": 1.0, "describe": 4.0, "compress": 20.0, "evaluate": 100.0}


def planned(store, *typed):
    return plan_cells(store, compose_command_line(CONF, [*TYPED, *typed]))


def leave(store, cell, seconds=SECONDS, **changed):
    """The record of a finished cell."""
    record = {"schema": 1, "status": "done", "cell": cell.axes(), "cell_id": cell.id, "scores": {}}
    record |= {"config": cell.config, "timings_s": seconds, "finished_at": "2026"}
    record |= {"environment": {"device": "cpu", "num_threads": 1}, "peak_memory_bytes": 2**30}
    folder = store.cell_folder(cell)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(record | changed))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results", "sweep")


@pytest.fixture
def builder():
    return Builder()


def of_method(cells, method) -> list[Cell]:
    return [cell for cell in cells if cell.method == method]


def told_s(builder, store, cells):
    """Seconds of each method's cells, from what is finished."""
    shapes = shapes_of(builder, cells)
    known = known_devices(builder, store, shapes)
    rates, first = (known[0].rates, known[0]) if known else (CPU, None)
    jobs = jobs_of(builder, cells, shapes)
    return {job.key.method: seconds_of(job, rates, first, on_gpu=False) for job in jobs}


def test_cells_like_finished_ones_take_as_long(builder, store):
    """120 s each and 4 s for each of three sets; the model stays loaded."""
    wanda = of_method(planned(store, "method=wanda", "seed=0,1,2"), "wanda")
    leave(store, wanda[0])
    assert told_s(builder, store, wanda)["wanda"] == pytest.approx(3 * 121 + 3 * 4)
    leave(store, wanda[1], {**SECONDS, "evaluate": 160.0, "describe": 0.001})  # was described
    assert told_s(builder, store, wanda)["wanda"] == pytest.approx(3 * 151 + 3 * 4)


def test_others_take_what_the_model_says_as_these_fit_it(builder, store):
    """A cell ten times as slow as told by default makes others, of another size, that slow."""
    small = of_method(planned(store, "method=wanda"), "wanda")
    large = of_method(planned(store, "method=wanda", "calibration.num_samples=64"), "wanda")
    default = told_s(builder, store, small)["wanda"], told_s(builder, store, large)["wanda"]
    shapes = shapes_of(builder, small)
    (job,) = jobs_of(builder, small, shapes)
    parts = parts_of(job.cell.config, job.work, job.shape, needs_data=True, on_gpu=False)
    leave(store, small[0], {p: 10 * CPU.predict(p, "wanda", a) for p, a in parts.items()})
    assert told_s(builder, store, small)["wanda"] == pytest.approx(10 * default[0])
    assert told_s(builder, store, large)["wanda"] == pytest.approx(10 * default[1], rel=0.05)
    assert default[1] > 1.3 * default[0]


def test_a_plan_says_from_what_it_tells_the_time(builder, store):
    cells = planned(store, "method=wanda,gptq", "seed=0,1")
    alone = describe_plan(builder, store, cells, [])
    assert "on one core of a CPU, by one worker; by the cost model alone" in alone
    assert "H200" not in alone  # the model computes on a CPU
    leave(store, of_method(cells, "wanda")[0])
    told = describe_plan(builder, store, cells, [])
    assert (
        "on 1 thread of a CPU, by one worker; 1 cell as finished ones like them, 3 cells " in told
    )
    assert "fitted to 1 finished cell, right within a factor of 1.5" in told
    assert "memory: about " in told and "disk: about " in told


def test_a_dense_reference_and_a_set_count_once(builder, store):
    cells = planned(store, "method=wanda,gptq", "seed=0,1")
    (line,) = [x for x in describe_plan(builder, store, cells, []).splitlines() if "disk" in x]
    assert "dense references 40 MiB" in line  # 5 x 1024 x 4096 x 2 bytes
    assert f"calibration sets {size(2 * 14 * 16 * 256)}" in line


def test_sets_that_the_model_draws_are_counted_besides(builder, store):
    """Each of two seeds, once for both methods."""
    cells = planned(store, "method=wanda,gptq,dense", "seed=0,1", "dataset=generated,mini_web")
    told = describe_plan(builder, store, cells, [])
    assert "besides: the model draws 2 sets (generated), each when a cell first needs it" in told
    without = planned(store, "method=wanda", "dataset=mini_web")
    assert "the model draws" not in describe_plan(builder, store, without, [])


def test_what_a_tool_of_others_takes_is_not_passed_over(builder, store):
    command = "method.command='tool {model} {set} {output}'"
    told = describe_plan(builder, store, planned(store, "method=external", command, "seed=0,1"), [])
    assert "besides: what external takes by itself, in 2 cells" in told
    assert "by itself" not in describe_plan(builder, store, planned(store, "method=wanda"), [])


def test_a_search_of_scales_takes_many_times_as_long_as_rounding(builder, store):
    """And a cell without a search says nothing of one with it."""
    cells = planned(store, "method=rtn", "method.mse=false,true", "method.format=mxfp4")
    jobs = jobs_of(builder, cells, shapes_of(builder, cells))
    took = {
        job.cell.config["method"]["mse"]: parts_of(
            job.cell.config, job.work, job.shape, needs_data=False, on_gpu=False
        )["compress"].moved
        for job in jobs
        if not job.cell.is_dense
    }
    assert took[True] == pytest.approx(21 * took[False])  # measured: 22 times on a core
    for keys in (["method=gptq", "method.mse=true"], ["method=rtn_imatrix"], ["method=gptaq"]):
        (cell,) = [cell for cell in planned(store, *keys) if not cell.is_dense]
        method = builder.build("method", cell.config["method"])
        assert method.work().sweeps == {"gptq": 525, "rtn_imatrix": 65, "gptaq": 25}[cell.method]


def test_what_cannot_be_seen_is_named_and_no_time_made_up(builder, store, tmp_path):
    secret = {"name": "secret", "_target_": "somewhere.Text"}
    cells = planned(store, "method=wanda", "evaluation.perplexity.max_windows=null")
    config = copy.deepcopy(cells[-1].config)
    config["evaluation"]["perplexity"]["corpora"] = [secret]
    config["model"] = {**config["model"], "path": str(tmp_path)}
    elsewhere = Cell(config=config, choices=cells[-1].choices, settings={}, needs_data=True)
    told = describe_plan(builder, store, [elsewhere, elsewhere.dense()], [])
    assert told.count("not known for 2 cells of miniature, as its configuration is not on") == 1
    assert "time: about" not in told and "memory:" not in told
    assert "not counted, as nobody knows their size here: secret" in told


def test_of_finished_cells_no_code_of_others_is_run(builder, store, tmp_path, monkeypatch):
    """Their model may be gone, or bring code, and their method too."""
    (tmp_path / "planted.py").write_text("raise SystemExit('was imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (cell,) = of_method(planned(store, "method=wanda"), "wanda")
    planted = {"_target_": "planted.Thing", "path": "gone"}
    for key in ("model", "method"):
        config = {**cell.config, key: planted}
        other = Cell(config=config, choices=cell.choices, settings={}, needs_data=True)
        leave(store, other)
    leave(store, cell, config={**cell.config, "evaluation": None})
    assert told_s(builder, store, [cell])["wanda"] > 0
    assert "planted" not in sys.modules


@pytest.mark.parametrize(
    ("number", "words"),
    [(2000, "2 KiB"), (1.5 * 2**20, "1.5 MiB"), (6.7 * 2**30, "6.7 GiB"), (5e11, "466 GiB")],
)
def test_bytes_are_told_in_units_of_a_person(number, words):
    assert size(number) == words
