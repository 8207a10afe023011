"""Why numbers differ: records that differ in one thing, and what is said of it."""

import math
import re
from typing import Any

import pytest

from calib_sweep.analysis.commands.compare import lines
from calib_sweep.analysis.scores.differing import differences
from calib_sweep.analysis.scores.shared_cells import shared_cells
from calib_sweep.analysis.scores.table import read_cells

CARD = {"hash": "a" * 64, "num_samples": 16, "pool": {"documents": 100}, "tokenizer": {"hash": "t"}}
MACHINE = {
    "processor": "AMD",
    "device": "cpu",
    "git": "0" * 40,
    "versions": {"torch": "2.13.0", "calib-sweep": "0.1.0"},
}
CONFIG = {
    "method": {"_target_": "calib_sweep.method.wanda.Wanda", "sparsity": 0.5},
    "model": {"dtype": "float32", "device": "cpu"},
    "evaluation": {
        "corpora": [{"_target_": "a.Text", "name": "web"}, {"_target_": "a.Text", "name": "wiki"}]
    },
    "sweep_name": "mine",
    "analysis": {"seed": 0},
}
SCORES = {"acc/mean": 0.5, "ppl/geomean": 10.0}


def fill(sweep: Any, *seeds: int, **fields: Any) -> Any:
    """Write a cell for each seed, equal in all that `fields` do not change."""
    own = {"calibration": CARD, "environment": MACHINE, "config": CONFIG, "inputs": {"model": "m"}}
    own |= {"versions": {"lm_eval": "0.4"}, "scores": SCORES} | fields
    scores = own.pop("scores")
    for seed in seeds:
        sweep.add("wanda", scores, dataset="web", seed=seed, **own)
    return sweep


@pytest.fixture
def other(sweep, tmp_path):
    """Another empty sweep."""
    return type(sweep)(tmp_path / "theirs" / "made_up")


def said(first: Any, second: Any) -> str:
    names = ("mine", "theirs")
    return "\n".join(lines(*names, read_cells(first.folder), read_cells(second.folder)))


def changed(**fields: Any) -> dict[str, Any]:
    """The configuration with other settings of the method."""
    return {**CONFIG, "method": {**CONFIG["method"], **fields}}


def test_equal_sweeps_are_equal_to_the_last_bit(sweep, other):
    text = said(fill(sweep, 0, 1), fill(other, 0, 1))
    assert "All scores of the 2 cells that both have are equal to the last bit." in text
    assert "the same in all 2 cells that read one" in text
    for heading in ("Settings", "Libraries", "Machine", "This program", "Scores that differ"):
        assert heading not in text


def test_one_bit_is_a_difference_and_nan_equals_itself(sweep, other):
    near = {"acc/mean": math.nextafter(0.5, 1), "ppl/geomean": "NaN"}
    fill(sweep, 0, scores={**SCORES, "ppl/geomean": "NaN"})
    text = said(sweep, fill(other, 0, scores=near))
    assert "Scores differ in 1 of the 1 cell that both have." in text
    assert re.search(r"acc/mean +1 of 1 +1\.11022e-16 ", text)
    assert "ppl/geomean" not in text
    assert "Nothing that is recorded differs in all of them." in text


def test_the_cause_is_what_differs_where_scores_do_and_nowhere_else(sweep, other):
    """Torch differs everywhere, also where scores are equal: it is not to blame."""
    newer = {**MACHINE, "versions": {**MACHINE["versions"], "torch": "2.14.0"}}
    fill(sweep, 0, 1)
    fill(other, 0, environment=newer)
    fill(other, 1, environment=newer, config=changed(sparsity=0.6), scores={"acc/mean": 0.4})
    text = said(sweep, other)
    assert "Scores differ in 1 of the 2 cells that both have." in text
    assert "In every one of these differ, and in no other cell: method.sparsity." in text
    assert re.search(r"method\.sparsity +0\.5 +0\.6 +1 of 2", text)
    assert re.search(r"torch +2\.13\.0 +2\.14\.0 +2 of 2", text)
    assert re.search(r"acc/mean +1 of 2 +0\.1 +0\.5 +0\.4 +tiny wanda web seed 1", text)


def test_where_all_scores_differ_all_that_differs_is_suspect(sweep, other):
    fill(sweep, 0)
    card = {**CARD, "hash": "b" * 64, "pool": {"documents": 99}}
    fill(other, 0, calibration=card, scores={"acc/mean": 0.4}, versions={"lm_eval": "0.5"})
    text = said(sweep, other)
    assert "In every one of these differ: the calibration set, pool.documents, lm_eval." in text
    assert "the same in 0 of 1 cells that read one" in text


@pytest.mark.parametrize(
    ("fields", "subject", "name"),
    [
        ({"config": changed(sparsity=0.6)}, "settings", "method.sparsity"),
        ({"config": {**CONFIG, "analysis": {"seed": 1}}}, "how it ran", "analysis.seed"),
        ({"config": {**CONFIG, "model": {"dtype": "float32", "device": "cuda"}}}, "how it ran",
         "model.device"),
        ({"calibration": {**CARD, "num_samples": 8}}, "set", "num_samples"),
        ({"inputs": {"model": "n"}}, "inputs", "model"),
        ({"versions": {"lm_eval": "0.5"}}, "evaluation", "lm_eval"),
        ({"environment": {**MACHINE, "git": "1" * 40}}, "code", "git"),
        ({"environment": {**MACHINE, "versions": {"torch": "1"}}}, "code", "calib-sweep"),
        ({"environment": {**MACHINE, "processor": "Intel"}}, "machine", "processor"),
    ],
)  # fmt: skip
def test_every_kind_of_difference_is_found_under_its_subject(fields, subject, name, sweep, other):
    fill(sweep, 0, 1)
    fill(other, 0, 1, **fields)
    found = differences(shared_cells(read_cells(sweep.folder), read_cells(other.folder)))
    assert [one.num for one in found if (one.subject, one.name) == (subject, name)] == [2]
    assert {one.subject for one in found} <= {subject, "software"}


@pytest.mark.parametrize("key", ["sweep_name", "results_dir"])
def test_where_a_sweep_lies_is_no_difference(key, sweep, other):
    fill(sweep, 0)
    fill(other, 0, config={**CONFIG, key: "elsewhere"})
    assert not differences(shared_cells(read_cells(sweep.folder), read_cells(other.folder)))


def test_a_part_that_one_of_them_lacks_is_told_once(sweep, other):
    one_corpus = {"corpora": CONFIG["evaluation"]["corpora"][:1]}
    fill(sweep, 0)
    fill(other, 0, config={**CONFIG, "evaluation": one_corpus})
    (found,) = differences(shared_cells(read_cells(sweep.folder), read_cells(other.folder)))
    assert (found.name, found.first, found.second) == ("evaluation.corpora.1", "a.Text", "-")


def test_cells_that_one_of_them_has_are_named(sweep, other):
    fill(sweep, 0, 1, 2)
    fill(other, 0)
    other.add("gptq", SCORES, dataset="web", seed=0)
    text = said(sweep, other)
    assert "only in A    2: tiny wanda web seed 1; tiny wanda web seed 2" in text
    assert "only in B    1: tiny gptq web seed 0" in text


def test_scores_that_one_of_them_has_are_named(sweep, other):
    fill(sweep, 0, scores={**SCORES, "kl/web@64": 0.1})
    text = said(sweep, fill(other, 0))
    assert "Scores that only one has\n  A  kl/web@64" in text
    assert "equal to the last bit" in text


def test_without_a_cell_in_common_the_axes_are_shown(sweep, other):
    fill(sweep, 0, 1)
    other.add("gptq", SCORES, dataset="news", seed=7)
    text = said(sweep, other)
    assert "No cell of A is a cell of B" in text
    assert re.search(r"method +wanda +gptq", text) and re.search(r"seed +0, 1 +7", text)


def test_a_swept_setting_tells_which_cells_belong_together(sweep, other):
    """0.5 and 0.6 here, 0.6 alone there: it is compared with 0.6 though its axes fit both."""
    for sparsity, accuracy in ((0.5, 0.5), (0.6, 0.4)):
        fill(sweep, 0, config=changed(sparsity=sparsity), scores={"acc/mean": accuracy},
             settings={"method.sparsity": sparsity})  # fmt: skip
    fill(other, 0, config=changed(sparsity=0.6), scores={"acc/mean": 0.4})
    shared = shared_cells(read_cells(sweep.folder), read_cells(other.folder))
    assert [a["scores"] for a, _ in shared.pairs] == [{"acc/mean": 0.4}]
    assert len(shared.only_first) == 1 and not shared.only_second


def test_records_with_scores_alone_can_be_compared(sweep, other):
    sweep.add("wanda", SCORES, dataset="web", seed=0)
    other.add("wanda", {**SCORES, "acc/mean": 0.6}, dataset="web", seed=0)
    text = said(sweep, other)
    assert "Scores differ in 1 of the 1 cell" in text and "Calibration sets" not in text


def test_the_command_ends_with_0_whatever_differs_and_with_1_where_it_cannot_read(
    sweep, other, run_cli, tmp_path
):
    fill(sweep, 0)
    fill(other, 0, scores={"acc/mean": 0.4})
    ended = run_cli("compare", str(sweep.folder), str(other.folder), cwd=tmp_path)
    assert ended.code == 0 and "Scores differ in 1 of the 1 cell" in ended.out
    for words in ([str(sweep.folder)], [str(sweep.folder), "nowhere"], []):
        ended = run_cli("compare", *words, cwd=tmp_path)
        assert ended.code == 1 and "expected the folder" in ended.err
    ended = run_cli("compare", "here", "nowhere", "--bits", cwd=tmp_path)
    assert ended.code == 1 and "compare --bits: expected no options" in ended.err
    ended = run_cli("compare", "here", "nowhere", cwd=tmp_path)
    assert "compare 'here':" in ended.err and "compare 'nowhere':" in ended.err
    three = run_cli("compare", *[str(sweep.folder)] * 2, "analysis.seed=1", cwd=tmp_path)
    assert three.code == 1 and "expected the folders of two sweeps, and nothing else" in three.err
