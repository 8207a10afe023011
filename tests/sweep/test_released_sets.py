"""The set of a sweep, exported on the command line, and run on again as an imported one."""

import pytest
from helpers.sweeps import read_records


@pytest.mark.slow
def test_a_cell_of_an_exported_set_gives_the_weights_of_the_set_that_was_drawn(
    run_cli, tiny_world, tmp_path
):
    assert run_cli("seed=3", *tiny_world, cwd=tmp_path).code == 0
    out = run_cli("export", "results/default", "--to", "out", cwd=tmp_path)
    assert out.code == 0 and "out: 1 calibration set: text_seed3" in out.out
    assert "Licence: not stated, name it with --license" in out.out
    own = [word for word in tiny_world if not word.startswith("dataset")]
    again = ["dataset=imported", "dataset.path=out", "sweep_name=again", "seed=0"]
    ran = run_cli(*again, *own, cwd=tmp_path)
    assert ran.code == 0, ran.err
    first, second = (
        {r["cell"]["method"]: r for r in read_records(tmp_path / "results" / name)}
        for name in ("default", "again")
    )
    assert first.keys() == second.keys()
    hashes = [r["wanda"]["calibration"]["hash"] for r in (first, second)]
    assert hashes[0] == hashes[1] and first["wanda"]["scores"] == second["wanda"]["scores"]
