"""`inspect`: what it draws, asks and writes."""

import json

from helpers.fakes import tiny_model
from helpers.sweeps import write_documents

from calib_sweep.inspection.command import names_of
from calib_sweep.inspection.perplexity import MOST_ON_CPU, takes_long


def test_sets_are_named_by_what_tells_them_apart(make_cell):
    method = {"_target_": "somewhere.Gptq"}
    cells = [make_cell(), make_cell(method=method), make_cell(seed=1)]
    assert names_of(cells) == ["corpus seed 0", "corpus seed 0", "corpus seed 1"]
    other = {"name": "large", "path": "large", "dtype": "float32", "device": "cpu"}
    assert names_of([make_cell(), make_cell(model=other)]) == [
        "tiny corpus seed 0",
        "large corpus seed 0",
    ]


def test_names_that_hide_a_difference_are_whole_titles(make_cell):
    longer = {"num_samples": 8, "seq_len": 32}
    told = make_cell(calibration=longer, settings={"walk.propagate": "dense"})
    assert names_of([make_cell(), told]) == [make_cell().title, told.title]


def test_the_sets_of_a_grid_are_shown_once_and_described_as_a_run_does(
    run_cli, tiny_world, scored_documents, tmp_path
):
    words = [*tiny_world, "method=wanda,wanda_24", "seed=0,1"]
    assert run_cli("-m", *tiny_world, "seed=0", cwd=tmp_path).code == 0
    (path,) = tmp_path.glob("results/default/miniature-wanda-*/record.json")
    described = json.loads(path.read_text())["calibration"]["descriptors"]

    ended = run_cli("inspect", "-m", *words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    (line,) = [line for line in ended.out.splitlines() if "dense_perplexity" in line]
    assert f"{described['dense_perplexity']:.4g}" in line.split()
    assert ended.out.count(" calibration set ") == 2
    page = tmp_path / "results" / "default" / "inspection" / "index.html"
    assert ended.out.splitlines()[-1] == "page: results/default/inspection/index.html"
    assert "seed 1<" in page.read_text() and page.with_name("inspection.md").is_file()
    assert f"{scored_documents.stem}@32" in page.read_text()


def test_no_weights_are_read_where_no_perplexity_is_wanted(
    run_cli, tiny_world, no_weights, tmp_path
):
    ended = run_cli("inspect", *tiny_world, "dense_perplexity=false", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "dense_perplexity" not in ended.out


def test_text_that_is_scored_is_named(run_cli, tiny_world, tmp_path):
    text = write_documents(tmp_path / "mine.jsonl")
    scored = [f"evaluation.perplexity.corpora=[{text}]", "evaluation.perplexity.max_windows=null"]
    words = [
        f"dataset.path={text}",
        "calibration.num_samples=8",
        *scored,
        "allow_overlap=true",
        "dense_perplexity=false",
    ]
    ended = run_cli("inspect", *tiny_world, *words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "text that is scored: " in ended.out and "stand in mine@32" in ended.out
    page = (tmp_path / "results" / "default" / "inspection" / "index.html").read_text()
    assert "most of it stands in mine@32" in page


class Skeletal:
    """A model of which only the shape is known."""

    def __init__(self, device):
        self.device = device

    def skeleton(self):
        return tiny_model("llama")


def test_a_cpu_is_not_given_hours_of_work():
    num_weights = sum(weight.numel() for weight in tiny_model("llama").parameters())
    most = int(MOST_ON_CPU / 2 / num_weights)
    assert not takes_long(Skeletal("cpu"), most)
    assert takes_long(Skeletal("cpu"), most + 1)
