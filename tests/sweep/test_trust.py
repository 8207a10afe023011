"""A grid that another user has kept runs no code of theirs until the worker's user says so."""

import os

import pytest

from calib_sweep.errors import ConfigError
from calib_sweep.results.grids import Grid
from calib_sweep.sweep.trust import foreign_code, require_trusted

OURS = {
    "model": {"_target_": "calib_sweep.model.loading.HubModel", "trust_remote_code": False},
    "method": {"_target_": "calib_sweep.method.rtn.RTN"},
    "evaluation": {"perplexity": {"corpora": [{"_target_": "calib_sweep.dataset.text.Text"}]}},
    "tracking": None,
}


@pytest.mark.parametrize(
    "change, told",
    [
        ({}, []),
        ({"model": {"trust_remote_code": True}}, ["model.trust_remote_code=true"]),
        (
            {"evaluation": {"zero_shot": {"trust_task_code": 1}}},
            ["evaluation.zero_shot.trust_task_code=1"],
        ),
        ({"method": {"command": "rm {model}"}}, ["method.command=rm {model}"]),
        ({"method": {"base": {"_target_": "mine.Method"}}}, ["method.base._target_=mine.Method"]),
        (
            {"evaluation": {"corpora": [{"_target_": "calib_sweeper.X"}]}},
            ["evaluation.corpora.0._target_=calib_sweeper.X"],
        ),
    ],
)
def test_code_that_is_not_of_this_package_is_found(change, told):
    assert list(foreign_code(OURS | change)) == told


def test_only_what_others_have_kept_needs_trust(make_cell):
    cells = (make_cell(method={"_target_": "calib_sweep.X", "command": "do {model}"}),)
    require_trusted([Grid(cells=cells, command=(), owner=os.geteuid())])
    with pytest.raises(ConfigError, match=r"user 12345 has kept .*method.command=do .*--trust"):
        require_trusted([Grid(cells=cells, command=(), owner=12345)])


@pytest.mark.slow
def test_a_worker_refuses_a_grid_of_another_user_until_it_is_trusted(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    words = ["add", "method=external", "method.command='true {model} {output}'", *tiny_world]
    assert run_cli(*words, cwd=tmp_path).code == 0
    work = ["work", "results/default", "--for", "0"]
    assert run_cli(*work, cwd=tmp_path).code == 0
    monkeypatch.setattr("calib_sweep.sweep.trust.os.geteuid", lambda: 12345)
    ended = run_cli(*work, cwd=tmp_path)
    assert ended.code == 1 and "method.command=true {model} {output}" in ended.err
    assert run_cli(*work, "--trust", cwd=tmp_path).code == 0
