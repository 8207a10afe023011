"""The report of several sweeps: what it writes, says, leaves out and refuses."""

import csv
import json

import pytest

from calib_sweep.analysis.scores.table import read_cells

ACCURACY = "acc/mean"


@pytest.fixture
def make(sweep):
    """make(name, leads) writes a sweep: wanda at 0.5, gptq ahead by a lead on each seed."""

    def write(name, leads, *, model="tiny", methods=("gptq", "wanda"), dataset="web"):
        made = type(sweep)(sweep.folder.parent / name)
        made.add("dense", {ACCURACY: 0.9}, model=model)
        for seed, lead in enumerate(leads):
            for method, score in zip(methods, (0.5 + lead, 0.5), strict=True):
                fields = {"dataset": dataset, "seed": seed, "model": model}
                made.add(method, {ACCURACY: score}, **fields)
        return made.folder

    return write


def said_in(folder):
    return json.loads((folder / "conclusion.json").read_text())


def rows_in(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_two_sweeps_are_compared_in_a_folder_of_their_own(make, run_cli, tmp_path):
    """Leads of 10 and 5 points, -1, 0, 1 by seed: the difference is 5, its SE sqrt(2/3)."""
    first, second = make("half", (0.09, 0.10, 0.11)), make("seventy", (0.04, 0.05, 0.06))
    before = len(read_cells(first))
    ended = run_cli("report", str(first), str(second), cwd=tmp_path)
    assert ended.code == 0, ended.err
    report = first / "report-with-seventy"
    names = {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}
    figures = {"figures/across_accuracy.png", "figures/across_accuracy.svg"}
    tables = {"tables/across.csv", "tables/across_accuracy.tex", "tables/over_models.csv"}
    assert names == {"index.html", "report.md", "conclusion.json", *tables, *figures}
    (row,) = rows_in(report / "tables" / "across.csv")
    assert (row["a"], row["b"], row["is_shown"]) == ("gptq", "wanda", "True")
    # t(4) = 2.776
    assert float(row["hi"]) == pytest.approx(0.05 + 0.01 * 2.776445 * (2 / 3) ** 0.5)
    sentence = next(text for text in said_in(report) if "They differ" in text)
    assert "gptq - wanda in accuracy is 10.0 points in half and 5.0 points in seventy." in sentence
    assert "the difference of the two is 5.0 points (95 % 2.7..7.3)" in sentence
    assert sentence in ended.out and str(report / "index.html") in ended.out
    page = (report / "index.html").read_text()
    assert "They differ" in page and "What differs between the sweeps" in page
    assert not (first / "report").exists() and len(read_cells(first)) == before


def test_a_difference_that_is_open_is_told_with_its_interval(make, run_cli, tmp_path):
    first, second = make("half", (0.09, 0.10, 0.11)), make("other", (0.08, 0.10, 0.12))
    ended = run_cli("report", str(first), str(second), "--to", "both", cwd=tmp_path)
    assert ended.code == 0
    said = " ".join(said_in(tmp_path / "both"))
    assert "No contrast of the one can be told from that of the other." in said
    assert "cannot be told apart (difference of the two: 95 % " in said
    assert "They differ" not in said and "at most 5 %" not in said


def test_sweeps_of_other_models_are_taken_together_over_models(make, run_cli, tmp_path):
    leads = {"opt": 0.100, "llama": 0.101, "qwen": 0.099}
    folders = [
        make(name, (lead - 0.001, lead, lead + 0.001), model=name) for name, lead in leads.items()
    ]
    ended = run_cli("report", *map(str, folders), "--to=both", cwd=tmp_path)
    assert ended.code == 0, ended.err
    (row,) = rows_in(tmp_path / "both" / "tables" / "over_models.csv")
    assert (row["winner"], row["num_models"]) == ("gptq", "3")
    assert "gptq beats wanda over 3 models (opt, llama and qwen): 10.00 points in" in ended.out
    assert "The model is opt in opt, llama in llama" in ended.out
    assert (tmp_path / "both" / "figures" / "over_models_accuracy.svg").is_file()
    assert "Does the order of methods hold" in (tmp_path / "both" / "index.html").read_text()


def test_what_only_one_has_is_named_and_left_out(make, run_cli, tmp_path):
    first = make("half", (0.09, 0.10, 0.11))
    second = make("more", (0.04, 0.05, 0.06))
    for seed in range(3):
        for folder, method, dataset in ((second, "spqr", "web"), (first, "wanda", "news")):
            record = {"schema": 1, "status": "done", "scores": {ACCURACY: 0.4}}
            cell = {"model": "tiny", "method": method, "dataset": dataset, "seed": seed}
            path = folder / f"{method}-{dataset}-{seed}" / "record.json"
            path.parent.mkdir()
            path.write_text(json.dumps(record | {"cell": {**cell, "replicate": 0}}))
    ended = run_cli("report", str(first), str(second), cwd=tmp_path)
    assert "Left out, as not all sweeps have it: method spqr of more." in ended.out
    assert "Left out, as not all sweeps have it: dataset news of half." in ended.out
    (row,) = rows_in(first / "report-with-more" / "tables" / "across.csv")
    assert float(row["first_diff"]) == pytest.approx(0.10)


def test_sweeps_without_a_dataset_in_common_are_compared_and_it_is_said(make, run_cli, tmp_path):
    first = make("half", (0.09, 0.10, 0.11))
    second = make("news", (0.04, 0.05, 0.06), dataset="news")
    ended = run_cli("report", str(first), str(second), cwd=tmp_path)
    assert ended.code == 0
    assert "half drew from web: no dataset is common to all." in ended.out
    assert "news drew from news: no dataset is common to all." in ended.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["half", "other"], "expected sweeps that have two methods in common"),
        (["half", "half"], "a folder is named twice"),
        (["half", "nowhere"], "but it does not exist"),
        (["half", "--to", "both"], "report --to both: expected several sweeps"),
        (["half", "other", "--to"], "report --to: expected a value behind it"),
        (["half", "other", "analysis.sead=1"], "Did you mean analysis.seed?"),
        (["half", "--publshed", "x"], "report --publshed: expected one of the options --to"),
        (["half", "--to", "--published"], "report --to: expected a value behind it"),
    ],
)
def test_what_cannot_be_compared_is_refused(words, told, make, run_cli):
    first = make("half", (0.09, 0.10, 0.11))
    make("other", (0.04, 0.05, 0.06), methods=("rtn", "awq"))
    ended = run_cli("report", *words, cwd=first.parent)
    assert ended.code == 1 and told in ended.err
    assert not list(first.glob("report*"))


def test_no_report_and_no_sweep_is_overwritten(make, run_cli):
    first = make("half", (0.09, 0.10, 0.11))
    make("other", (0.04, 0.05, 0.06))
    assert run_cli("report", "half", cwd=first.parent).code == 0
    for taken in ("half", "half/report", "."):
        ended = run_cli("report", "half", "other", "--to", taken, cwd=first.parent)
        assert ended.code == 1 and f"report --to {taken!r}: expected a new folder" in ended.err
    (first.parent / "both").mkdir()
    for _ in range(2):  # an empty folder, and a report of several sweeps
        assert run_cli("report", "half", "other", "--to", "both", cwd=first.parent).code == 0


def test_methods_are_named_with_what_was_swept_where_nothing_matches(make, run_cli, sweep):
    first = make("half", (0.09, 0.10, 0.11))
    both = type(sweep)(sweep.folder.parent / "both")
    for seed in range(3):
        for sparsity in (0.5, 0.6):
            for method in ("gptq", "wanda"):
                fields = {"dataset": "web", "seed": seed, "settings": {"x.sparsity": sparsity}}
                both.add(method, {ACCURACY: 0.5 + 0.01 * seed}, **fields)
    ended = run_cli("report", str(first), str(both.folder), cwd=first.parent)
    assert ended.code == 1
    assert "half has methods gptq, wanda of models tiny; both has methods gptq spars" in ended.err
    assert "A setting that is swept in one of them is part of its methods' names" in ended.err


def test_one_sweep_has_its_report_as_ever(make, run_cli, tmp_path):
    first = make("half", (0.09, 0.10, 0.11))
    assert run_cli("report", str(first), cwd=tmp_path).code == 0
    assert (first / "report" / "index.html").is_file()
