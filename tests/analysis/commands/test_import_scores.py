"""Tables of scores from elsewhere become sweeps: read as they are, or refused with all mistakes."""

import json

import pytest

import calib_sweep
from calib_sweep.analysis.commands.import_scores import main
from calib_sweep.analysis.report.write import require_records
from calib_sweep.analysis.scores.score_sheet import metric_name
from calib_sweep.analysis.scores.table import read_table
from calib_sweep.errors import ConfigError

LONG = """model,method,dataset,seed,metric,value,stderr
m,dense,,,acc,65,
m,wanda,c4,0,acc,61.5,1.5
m,wanda,c4,1,acc,62,1.5
m,wanda,c4,0,ppl/wiki,9.5,
m,wanda,c4,1,ppl/wiki,inf,
m,magnitude,,,acc,50,
"""
WIDE = """Model;Method;Dataset;draw;arc_easy;boolq;method.sparsity
m;wanda;c4;0;0.61;0.7;0.5
m;wanda;c4;0;0.51;;0.6
m;wanda;c4;1;0.62;0.8;0.5
"""


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Write a table and import it; return the folder's scores, or the mistakes."""
    monkeypatch.chdir(tmp_path)

    def import_(text, *words, name="scores.csv"):
        (tmp_path / name).write_text(text)
        main([name, *words])
        return read_table(tmp_path / "results" / name.partition(".")[0])

    return import_


def scores_of(table):
    keys = ["method", "dataset", "seed", "metric"]
    table = table.astype(object).where(table.notna(), None)
    return {tuple(row[key] for key in keys): row["value"] for row in table.to_dict("records")}


def test_a_long_table_in_percent_becomes_fractions(given, capsys):
    table = given(LONG, "--percent")
    expected = {
        ("dense", None, None, "acc/mean"): 0.65,
        ("magnitude", None, None, "acc/mean"): 0.5,
        ("wanda", "c4", 0, "acc/mean"): 0.615,
        ("wanda", "c4", 1, "acc/mean"): 0.62,
        ("wanda", "c4", 0, "ppl/wiki"): 9.5,
        ("wanda", "c4", 0, "ppl/geomean"): 9.5,
        ("wanda", "c4", 1, "ppl/wiki"): float("inf"),
        ("wanda", "c4", 1, "ppl/geomean"): float("inf"),
    }
    assert scores_of(table) == pytest.approx(expected)
    errors = table[(table["metric"] == "acc/mean") & (table["method"] == "wanda")]["stderr"]
    assert errors.tolist() == [0.015, 0.015]
    out = capsys.readouterr().out
    assert "4 cells, 1 model, 3 methods, 1 dataset, 2 seeds; scores: acc/mean, ppl/wiki" in out
    assert "python -m calib_sweep report results/scores" in out


def test_a_wide_table_of_tasks_has_settings_and_gaps(given):
    table = given(WIDE, "seed=draw", "metric:=acc")
    by = table.set_index(["seed", "method.sparsity", "metric"])["value"]
    assert by[0, 0.5, "acc/arc_easy"] == 0.61 and by[1, 0.5, "acc/boolq"] == 0.8
    assert (0, 0.6, "acc/boolq") not in by.index
    assert by[0, 0.6, "acc/arc_easy"] == 0.51


def test_units_are_asked_for_and_never_guessed(given):
    with pytest.raises(ConfigError) as error:
        given(LONG)
    (problem,) = error.value.problems
    assert "acc/mean (up to 65). Type --percent" in problem
    mixed = "model,method,dataset,seed,metric,value\nm,a,c4,0,acc/x,61\nm,b,c4,0,acc/x,0.6\n"
    with pytest.raises(ConfigError, match=r"acc/x of b \(up to 0\.6\) not\. Add a column unit"):
        given(mixed)
    with pytest.raises(ConfigError, match="none above 1"):
        given(mixed.replace("61", "0.61"), "--percent")
    with_unit = "model,method,dataset,seed,metric,value,unit\nm,a,c4,0,acc/x,61,%\n"
    found = given(f"{with_unit}m,b,c4,0,acc/x,0.6,fraction\n", name="said.csv")
    assert found[found["metric"] == "acc/x"]["value"].tolist() == [0.61, 0.6]


def test_missing_columns_are_told_all_at_once_with_those_that_there_are(given):
    with pytest.raises(ConfigError) as error:
        given("net,method,set,value,colour\nm,wanda,c4,0.5,red\n")
    problems = error.value.problems
    assert len(problems) == 7
    for role in ("model", "dataset", "seed"):
        (told,) = [p for p in problems if f"csv: {role}: expected a column" in p]
        assert "net, method, set, value, colour" in told and f"{role}:=VALUE" in told
    assert any("metric: expected a column" in p for p in problems)
    assert any("column 'colour' is not understood. Type ignore=colour" in p for p in problems)


def test_mistakes_in_rows_are_told_with_their_lines(given):
    head = "model,method,dataset,seed,metric,value,direction\n"
    rows = [
        "m,wanda,c4,0,acc/x,0.5,1",
        "m,wanda,c4,0,acc/x,0.6,1",  # line 3: twice
        "m,wanda,c4,,acc/x,0.5,1",  # line 4: no seed
        "m,wanda,c4,1.5,acc/x,0.5,1",
        "m,wanda,c4,2,acc/x,many,1",
        "m,wanda,c4,3,ppl/x,0.5,-1",  # line 7: below 1
        "m,,c4,4,acc/x,0.5,up",
    ]
    with pytest.raises(ConfigError) as error:
        given(head + "\n".join(rows))
    text = str(error.value)
    for says in (
        "line 3 (first in 2): a second acc/x of the same cell",
        "line 4: a dataset and no seed",
        "line 5: seed '1.5'",
        "line 6: 'many' is no number",
        "line 7 (0.5): a ppl/x that no model can have",
        "line 8: no method",
        "line 8: direction 'up'",
    ):
        assert says in text


def test_the_same_table_gives_the_same_bytes_and_nothing_is_overwritten(given, tmp_path):
    def files():
        found = (tmp_path / "results" / "scores").glob("*/record.json")
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}

    given(LONG, "--percent")
    before = files()
    given(LONG, "--percent")
    assert files() == before and len(before) == 4
    with pytest.raises(ConfigError, match="other record"):
        given(LONG.replace("61.5", "61.6"), "--percent")
    assert files() == before
    (tmp_path / "results" / "mine" / "a-0").mkdir(parents=True)
    (tmp_path / "results" / "mine" / "a-0" / "record.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"Type another name .* results/mine_2"):
        main(["scores.csv", "results/mine", "--percent"])
    assert len(list((tmp_path / "results" / "mine").iterdir())) == 1


def test_what_load_scores_returns_can_be_imported_again(two_methods, tmp_path, monkeypatch):
    two_methods.add("wanda", {}, dataset="web", seed=9, status="failed")
    table = calib_sweep.load_scores(two_methods.folder)
    monkeypatch.chdir(tmp_path)
    table.to_csv("out.csv")
    main(["out.csv"])
    again = calib_sweep.load_scores("results/out")
    assert scores_of(again) == scores_of(table[table["status"] == "done"])


def test_directions_of_a_column_reach_the_record(given, tmp_path):
    given("model,method,dataset,seed,metric,value,direction\nm,a,c4,0,rouge,3,1\n")
    (path,) = (tmp_path / "results" / "scores").glob("*/record.json")
    assert json.loads(path.read_text())["metrics"] == {"rouge": {"direction": 1}}


def test_a_folder_of_records_in_percent_becomes_one_that_can_be_reported(sweep, tmp_path):
    for seed in range(3):
        scores = {"acc/x": 60.0 + seed, "ppl/a": 9.0}
        sweep.add("wanda", scores, dataset="web", seed=seed, stderr={"acc/x": 2.0})
    with pytest.raises(ConfigError, match="--percent"):
        require_records(sweep.folder)
    target = tmp_path / "results" / "fractions"
    main([str(sweep.folder), str(target), "--percent"])
    require_records(target)
    table = read_table(target).set_index("metric")
    assert table.loc["acc/x", "value"].tolist() == [0.6, 0.61, 0.62]
    assert table.loc["acc/x", "stderr"].tolist() == [0.02] * 3
    assert table.loc["ppl/a", "value"].tolist() == [9.0] * 3


def test_a_folder_of_fractions_is_not_taken_for_percent(sweep, tmp_path):
    sweep.add("wanda", {"acc/x": 0.6, "ppl/a": 9.0}, dataset="web", seed=0)
    target = tmp_path / "results" / "fractions"
    with pytest.raises(ConfigError, match="none is above 1"):
        main([str(sweep.folder), str(target), "--percent"])
    assert not target.exists()


def test_a_folder_that_cannot_be_made_is_told(given):
    with pytest.raises(ConfigError, match="expected a folder that can be written"):
        given(LONG, "--percent", "scores.csv/below")


def test_a_mistyped_option_is_no_folder_to_write_to(given, tmp_path):
    with pytest.raises(ConfigError, match=r"import --percen: .* Did you mean --percent\?"):
        given(LONG, "--percen")
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_a_file_in_another_encoding_is_told_with_a_remedy(given, tmp_path):
    (tmp_path / "latin.csv").write_bytes("méthode".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"UTF-8 .* Save it anew"):
        main([str(tmp_path / "latin.csv")])


@pytest.mark.parametrize(
    "words",
    [[], ["nowhere.csv"], ["a", "b", "c"], ["--percent", "--fraction", "here.csv"], ["colour=red"]],
)
def test_wrong_words_are_told(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.csv").write_text("model\n")
    with pytest.raises(ConfigError, match="import"):
        main(words)


@pytest.mark.parametrize(
    ("metric", "task", "name"),
    [
        ("accuracy", "", "acc/mean"),
        ("Accuracy", "boolq", "acc/boolq"),
        ("acc_norm", "arc", "acc_norm/arc"),
        ("perplexity", "", "ppl/geomean"),
        ("accuracy/x", "", "acc/x"),
        ("bleu", "", "bleu"),
    ],
)
def test_scores_have_one_name_here(metric, task, name):
    assert metric_name(metric, task) == name


def test_a_table_without_rows_is_told(given):
    with pytest.raises(ConfigError, match="has no rows"):
        given("model,method\n")
