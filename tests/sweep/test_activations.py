"""Activations through the command line: ids, what needs data, what is refused, what is recorded."""

import pytest
from helpers.fakes import FUSES_EXPERTS, save_tiny
from helpers.sweeps import read_records

from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.results.store import Store
from calib_sweep.sweep.cost.work import work_of
from calib_sweep.sweep.plan import compose_command_line, plan_cells


def cells_of(tmp_path, *arguments):
    planned = plan_cells(Store(tmp_path, "default"), compose_command_line(CONF, arguments))
    return {(cell.method, cell.settings.get("activations")): cell for cell in planned}


def test_they_are_in_the_id_of_every_cell_but_the_dense_ones_where_they_are_chosen(tmp_path):
    plain = cells_of(tmp_path, "-m", "method=rtn,wanda")
    cells = cells_of(tmp_path, "-m", "method=rtn,wanda,dense", "activations=null,int8")
    assert set(cells) == {("dense", None)} | {
        (method, chosen) for method in ("rtn", "wanda") for chosen in (None, "int8")
    }
    for method in ("rtn", "wanda"):
        assert cells[method, None].id == plain[method, None].id
        assert cells[method, None].compression_id == plain[method, None].compression_id
        assert cells[method, "int8"].id != plain[method, None].id
        assert cells[method, "int8"].compression_id != plain[method, None].compression_id
        assert cells[method, "int8"].dense().id == plain["dense", None].id
    assert cells["wanda", "int8"].title.endswith("wanda mini_web seed 0 activations=int8")


def test_a_key_of_theirs_moves_an_id(tmp_path):
    ids = set()
    for word in ("bits=8", "bits=6", "symmetric=false", "clip_ratio=0.9", "scaling=static"):
        planned = cells_of(tmp_path, "activations=int8", f"activations.{word}", "method=rtn")
        (cell,) = (cell for cell in planned.values() if not cell.is_dense)
        ids.add(cell.id)
    assert len(ids) == 5


@pytest.mark.parametrize(
    ("words", "needs_data"),
    [
        (["activations=int8"], False),
        (["activations=int8", "activations.scaling=static"], True),
        (["activations=int8", "activations.scaling=static", "activations.bits=16"], False),
    ],
)
def test_static_scales_need_data_whatever_the_method(tmp_path, words, needs_data):
    cells = cells_of(tmp_path, "method=rtn", *words).values()
    assert [cell.needs_data for cell in cells] == [False, needs_data]
    assert [cell.seed for cell in cells] == [None, 0 if needs_data else None]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["activations=int9"], "activations=int9: expected one of "),
        (
            ["activations.bits=4"],
            "activations.bits=4: no such key, as no activations are chosen. Type activations=NAME",
        ),
        (["+activations=int8"], "expected without +, ++ or @"),
        (["~activations"], "~activations: expected no ~. Type activations=null."),
        (["activations=int8", "activations.bit=4"], "Did you mean activations.bits?"),
        (
            ["activations=int8", "activations._target_=calib_sweep.method.rtn.RTN"],
            "activations._target_='calib_sweep.method.rtn.RTN': expected a quantiser of inputs",
        ),
        (
            ["activations=int8", "save_model=dense"],
            "save_model='dense': expected null with activations",
        ),
    ],
)
def test_what_is_wrong_is_told(run_cli, tiny_world, tmp_path, no_weights, words, told):
    refused = run_cli("check", "method=rtn", *tiny_world, *words, cwd=tmp_path)
    assert refused.code == 1 and told in refused.err


@pytest.mark.skipif(not FUSES_EXPERTS, reason="older releases keep experts as modules")
def test_fused_experts_are_refused_before_a_weight_is_read(
    run_cli, tiny_world, tmp_path, no_weights
):
    folder = save_tiny("mixtral", tmp_path / "mixtral")
    words = ["model=hf", f"model.path={folder}", "method=rtn", "method.group_size=16"]
    refused = run_cli("check", *tiny_world, *words, "activations=int8", cwd=tmp_path)
    told = "activations=int8: expected a model whose linear layers are modules, but block 0 mlp.exp"
    assert refused.code == 1 and told in refused.err


def test_a_sweep_scores_with_them_on_says_so_and_undoes_them(run_cli, tiny_world, tmp_path):
    command = ["-m", "method=rtn", "activations=int4,null", *tiny_world]
    assert run_cli(*command, cwd=tmp_path).code == 0
    alone = ["-m", "method=rtn", "sweep_name=alone", *tiny_world]
    assert run_cli(*alone, cwd=tmp_path).code == 0
    records = read_records(tmp_path / "results" / "default")
    found = {(r["cell"]["method"], r["cell"]["settings"].get("activations")): r for r in records}
    quantised, plain, dense = (
        found[key] for key in (("rtn", "int4"), ("rtn", None), ("dense", None))
    )
    assert quantised["scores"] != plain["scores"] != dense["scores"]
    assert quantised["compression"]["input_quantizer"] == "int4 dynamic"
    assert plain["compression"]["input_quantizer"] is None
    assert quantised["compression"]["fingerprint"] == plain["compression"]["fingerprint"]
    by_method = {r["cell"]["method"]: r for r in read_records(tmp_path / "results" / "alone")}
    assert by_method["rtn"]["scores"] == plain["scores"]
    assert by_method["rtn"]["cell_id"] == plain["cell_id"]
    page = (tmp_path / "results" / "default" / "report" / "index.html").read_text()
    assert "activations" in page


@pytest.mark.parametrize(
    ("method", "words", "passes"),
    [
        ("rtn", ["activations=int8"], 0),
        ("rtn", ["activations=int8", "activations.scaling=static"], 2),
        ("wanda", ["activations=int8"], 2),
        ("wanda", ["activations=nvfp4"], 3),
        ("dense", ["activations=nvfp4", "replicate=1"], 0),
    ],
)
def test_static_scales_cost_a_pass_over_the_set(method, words, passes):
    (composed,) = compose_command_line(CONF, [f"method={method}", *words])
    assert work_of(Builder(), composed.config).passes == passes
