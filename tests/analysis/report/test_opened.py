"""The report as values: what the files of the report hold, and nothing is written."""

import json

import pandas as pd
import pytest

import calib_sweep
from calib_sweep.analysis.report.opened import FIGURES
from calib_sweep.analysis.report.write import write_report
from calib_sweep.errors import ConfigError


@pytest.fixture
def folder(sweep):
    """A sweep of two methods, two datasets, three seeds."""
    sweep.add("dense", {"ppl/a@32": 5.0, "acc/mean": 0.9})
    for method, worse in (("rtn", 0.0), ("wanda", 1.0)):
        for dataset in ("x", "y"):
            for seed in range(3):
                value = 6.0 + worse + 0.1 * seed + (dataset == "y")
                scores = {"ppl/a@32": value, "acc/mean": 0.8 - value / 100}
                sweep.add(method, scores, dataset=dataset, seed=seed)
    return sweep.folder


def test_tables_figures_and_sentences_are_those_of_the_written_report(folder):
    report = calib_sweep.load_report(folder)
    assert report.tables and not (folder / "report").exists()
    made = {kind: report.figure(kind, "acc/mean") for kind in FIGURES}
    printed, said = report.printed("summary_accuracy"), report.conclusion
    assert not (folder / "report").exists()
    write_report(folder)
    for path in (folder / "report" / "tables").glob("*.csv"):
        if path.stem != "calibration_sets":
            assert list(report.tables[path.stem]) == list(pd.read_csv(path))
    for kind, picture in made.items():
        path = folder / "report" / "figures" / f"{kind}_accuracy.png"
        assert picture._repr_png_() == path.read_bytes() if picture else not path.exists()
    assert made["seeds"] and made["profiles"] is None
    assert said == json.loads((folder / "report" / "conclusion.json").read_text())
    assert "wanda" in printed._repr_markdown_()
    assert report.count.total == 13 and len(report.scores) == len(report.rows)


def test_what_there_is_not_is_told_with_what_there_is(folder):
    report = calib_sweep.load_report(folder)
    with pytest.raises(ConfigError, match=r"figure='seed': expected one of seeds, differences"):
        report.figure("seed", "acc/mean")
    with pytest.raises(ConfigError, match=r"table='summary': expected one of summary_"):
        report.printed("summary")
    with pytest.raises(ConfigError, match=r"nowhere.*expected the folder of a sweep"):
        calib_sweep.load_report(folder / "nowhere")
