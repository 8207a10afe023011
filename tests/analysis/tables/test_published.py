"""Published numbers beside ours: which rows meet, what they say, what is refused."""

import math

import pytest
import yaml
from helpers.repository import ROOT

from calib_sweep.analysis.commands.report import main
from calib_sweep.analysis.report.opened import Report
from calib_sweep.analysis.report.write import write_report
from calib_sweep.analysis.scores.published import read_published
from calib_sweep.analysis.settings import read_settings
from calib_sweep.errors import ConfigError

PAPER = """# A made-up paper, Table 1.
# same: web = Web
model,method,dataset,task,mean,sd,n,unit
tiny,dense,,mean,70.5,,,percent
tiny,Wanda,Web,mean,63.0,1.6,5,percent
tiny,SparseGPT,Web,mean,75.0,1.6,5,percent
tiny,SparseGPT,Web,x,75.0,1.6,5,percent
tiny,SparseGPT,Web,ppl/a@64,1.53,0.016,5,
huge,Wanda,Web,mean,63.0,1.6,5,percent
"""


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "paper.csv"
    path.write_text(PAPER)
    names = "analysis.published_names={wanda: Wanda, sparsegpt: SparseGPT}"
    return read_settings([f"analysis.published={path}", names])


def test_rows_meet_by_label_and_are_tested(two_methods, paper):
    report = Report.of(two_methods.folder, paper)
    table = report.tables["published"].set_index(["method", "metric"])
    assert len(table) == 5
    assert table["verdict"].to_dict() == {
        ("dense", "acc/mean"): "no test",
        ("wanda", "acc/mean"): "cannot be told apart",
        ("sparsegpt", "acc/mean"): "differs",
        ("sparsegpt", "acc/x"): "cannot be told apart",
        ("sparsegpt", "ppl/a@64"): "cannot be told apart",
    }
    dense = table.loc["dense", "acc/mean"]
    assert dense["difference"] == pytest.approx(-0.005) and math.isnan(dense["lo"])
    wanda = table.loc["wanda", "acc/mean"]
    assert (wanda["mean"], wanda["their_mean"], wanda["their_n"]) == (0.63, 0.63, 5)
    assert wanda["sd"] == pytest.approx(math.sqrt(2.5) / 100)
    assert table.loc["sparsegpt", "ppl/a@64"]["margin"] == pytest.approx(0.01 * 1.53)


def test_the_chapter_names_who_differs_and_what_does_not_meet(two_methods, paper, undrawn):
    write_report(two_methods.folder, paper)
    page = (two_methods.folder / "report" / "report.md").read_text()
    chapter = page.split("## Beside published numbers")[1].split("\n## ")[0]
    assert "paper: A made-up paper, Table 1." in chapter
    assert "Ours and theirs differ: sparsegpt on web in accuracy by -10.0 (-12" in chapter
    assert "1 published row of 6 has no cells here: nothing here is called model huge" in chapter
    write_report(two_methods.folder)
    assert "published numbers" not in (two_methods.folder / "report" / "report.md").read_text()


def test_the_option_names_the_file(two_methods, tmp_path, undrawn, capsys):
    (tmp_path / "paper.csv").write_text(PAPER)
    main([str(two_methods.folder), "--published", str(tmp_path / "paper.csv")])
    main([f"--published={tmp_path / 'paper.csv'}", str(two_methods.folder)])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("published rows of 6 have no cells here") == 2  # at the terminal as well
    assert "Beside published" in (two_methods.folder / "report" / "report.md").read_text()
    with pytest.raises(ConfigError, match="or one of self_calibration"):
        main([str(two_methods.folder), "--published", "nowhere.csv"])
    with pytest.raises(ConfigError, match="--published"):
        main([str(two_methods.folder), "--published"])


def test_the_shipped_numbers_can_be_read_and_name_their_source():
    found = read_published("self_calibration", {})
    assert "arXiv:2410.17170v2" in found.source and len(found.scores) == 1155
    (row,) = [
        s
        for s in found.scores
        if (s.model, s.method, s.dataset, s.task) == ("Gemma 2B", "Wanda", "Vocabulary", "boolq")
    ]
    assert (row.mean, row.sd, row.n) == pytest.approx((0.544, 0.027, 5))
    assert (row.half_mean, row.half_sd) == pytest.approx((0.0005, 0.0005))
    assert found.label("gptq") == "GPTQ" and found.label("other") == "other"


def test_all_labels_of_the_preset_are_known_to_the_shipped_numbers():
    found = read_published("self_calibration", {})
    preset = yaml.safe_load((ROOT / "conf/experiment/self_calibration.yaml").read_text())
    swept = preset["hydra"]["sweeper"]["params"]
    for key in ("model", "method", "dataset"):
        theirs = {getattr(score, key) for score in found.scores} - {"", "dense"}
        assert {found.label(ours) for ours in swept[key].split(",")} == theirs


def test_a_file_as_spreadsheets_write_it_is_read_as_it_is_with_commas(tmp_path):
    path = tmp_path / "paper.csv"
    lines = ["# same: a = b", "model,method,dataset,task,mean,sd,n,unit", "m,a,c,x,61,1,5,percent"]
    path.write_text("\n".join(lines))
    plain = read_published(str(path), {})
    path.write_text("\ufeff" + "\r\n".join(lines).replace(",", ";"))
    assert read_published(str(path), {}).scores == plain.scores
    path.write_text("\n".join([*lines, "m,a"]))  # a short line: nothing is printed there
    assert len(read_published(str(path), {}).scores) == 2


def test_what_is_wrong_with_a_file_is_told_at_once(tmp_path):
    path = tmp_path / "paper.csv"
    path.write_text("model,method,task,mean,sd\n")
    with pytest.raises(ConfigError, match="expected the columns"):
        read_published(str(path), {})
    rows = ["m,a,c,mean,61,1,5,", "m,a,c,mean,x,1,5,percent", "m,a,c,mean,61,1,5,points"]
    path.write_text("\n".join(["model,method,dataset,task,mean,sd,n,unit", *rows]))
    with pytest.raises(ConfigError) as error:
        read_published(str(path), {})
    assert len(error.value.problems) == 3
    assert "row 1: mean is 61, expected 0 to 1, a fraction: is it in percent. A column" in str(
        error.value
    )
    assert "row 2, mean: 'x' is no number" in str(error.value)
    assert "row 3: unit 'points'" in str(error.value)
