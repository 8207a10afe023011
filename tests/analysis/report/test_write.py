import csv
import json
import os
import re
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from calib_sweep.analysis.figures import plots, strip_plot
from calib_sweep.analysis.report import write
from calib_sweep.analysis.report.write import bring_up_to_date, is_current, main, write_report
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.table import read_cells, read_rows
from calib_sweep.analysis.settings import read_settings
from calib_sweep.analysis.tables.provenance import check_pairing, drawn_sets
from calib_sweep.errors import ConfigError

PERPLEXITY, ACCURACY = "ppl/geomean", "acc/mean"


def files_of(folder):
    top = folder / "report"
    return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}


def figure_of(sweep, metric):
    rows = read_rows(sweep.folder)
    metrics = sorted({row["metric"] for row in rows})
    return strip_plot.seeds_figure(group_rows(rows), metric, metrics)


def test_every_group_and_metric_is_a_row_of_the_summary(two_methods, undrawn):
    write_report(two_methods.folder)
    with (two_methods.folder / "report" / "tables" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = "model method dataset metric n mean mean_lo mean_hi sd sd_lo sd_hi min max dense drop"
    assert list(rows[0]) == [*names.split(), "chance", "recovery", "recovery_above_chance"]
    assert len(rows) == 3 * 6
    (wanda,) = [r for r in rows if (r["method"], r["metric"]) == ("wanda", "ppl/b@64")]
    assert (wanda["dataset"], wanda["n"]) == ("web", "5")
    assert float(wanda["mean"]) == pytest.approx(8.12)
    assert float(wanda["sd"]) == pytest.approx(0.04 * 2.5**0.5)
    assert float(wanda["dense"]) == 4.0
    assert float(wanda["drop"]) == pytest.approx(4.12)
    (dense,) = [r for r in rows if (r["method"], r["metric"]) == ("dense", "acc/mean")]
    assert (dense["dataset"], dense["sd"], dense["n"]) == ("", "", "1")
    drops = {r["metric"]: r["drop"] for r in rows if r["method"] == "dense"}
    assert (drops["acc/mean"], drops["ppl/b@64"]) == ("0", "0")


def test_only_scores_point_to_the_better_side(two_methods, undrawn):
    write_report(two_methods.folder)
    tables = two_methods.folder / "report" / "tables"
    arrows = {
        path.stem: re.findall(r"(?:up|down)arrow", path.read_text())
        for path in tables.glob("*.tex")
    }
    scored = {name: found for name, found in arrows.items() if found}
    assert scored == {
        "summary_accuracy": ["uparrow"],
        "tasks_accuracy": ["uparrow"],
        "summary_perplexity": ["downarrow"],
        "recovery_accuracy": ["uparrow"],
        "recovery_perplexity": ["downarrow"],
    }
    assert {"ranking_accuracy", "power_accuracy", "variance_components_accuracy"} <= set(arrows)


def test_the_report_can_be_read_from_top_to_bottom(two_methods):
    error = {"type": "RuntimeError", "message": "a | b", "where": ""}
    two_methods.add("wanda", {}, dataset="web", seed=9, status="failed", error=error)
    two_methods.add("rtn", {"ppl/a@64": 9.0, "acc/mean": 0.4})
    page = write_report(two_methods.folder)
    text = (two_methods.folder / "report" / "report.md").read_text()
    order = [
        "# Sweep made_up",
        "**What moves the score**",
        "- Perplexity of sparsegpt moves by (SD): 1.0 %",
        "**Which method does better**",
        "- sparsegpt beats wanda on web: x0.75",
        "**Is the loss real**",
        "**To know before**",
        "- 1 of 13 cells has no scores",
        "## What moves a score",
        "## Methods beside the dense model",
        "](figures/seeds_perplexity.png)",
        "](figures/seeds_accuracy.png)",
        "| wanda | web | 4.060 (4.021..4.099) | 0.032 (0.019..0.091) | 4.020..4.100 | 5 | +2.060 |",
        "Single corpora and tasks",
        "## Which method does better",
        "](figures/differences_perplexity.png)",
        "| sparsegpt | wanda | 0.7537 (0.7513..0.7561) | yes |",
        "## Is the loss real?",
        "## In detail",
        "**How sure the ranking is**",
        "**How many seeds it takes**",
        "## What was run",
        "- 13 cells: 12 done, 1 failed",
        "## Failed cells",
        "| tiny wanda web seed 9 | RuntimeError: a \\| b |",
        "## Controls and provenance",
        "- rtn reads no calibration data",
        "**Provenance**",
    ]
    places = [text.find(part) for part in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)
    html = page.read_text()
    assert "RuntimeError: a | b" in html
    assert "data:image/svg+xml;base64," in html
    assert "http" not in html.replace("http://www.w3.org", "")


def test_the_same_records_give_the_same_bytes(two_methods, tmp_path):
    copy = tmp_path / "elsewhere" / two_methods.folder.name
    shutil.copytree(two_methods.folder, copy)
    for record in copy.glob("*/record.json"):
        changed = json.loads(record.read_text()) | {"finished_at": "later"}
        record.write_text(json.dumps(changed))
    write_report(two_methods.folder)
    write_report(copy)
    first = files_of(two_methods.folder)
    assert files_of(copy) == first
    names = ("summary", "variance_components", "claims", "ranking", "power")
    assert set(first) > {"index.html", "report.md", "made_from.json", "conclusion.json"}
    assert set(first) > {f"tables/{name}.csv" for name in (*names, "calibration_sets")}
    printed = ("summary", "variance_components", "methods", "ranking", "power")
    assert set(first) > {f"tables/{name}_accuracy.tex" for name in printed}
    kinds = ("seeds", "differences", "components")
    assert set(first) > {f"figures/{kind}_perplexity.svg" for kind in kinds}
    assert first["figures/seeds_accuracy.png"].startswith(b"\x89PNG")
    assert b"<dc:date>" not in first["figures/seeds_accuracy.svg"]


def test_a_report_written_again_in_its_place_has_the_same_bytes(two_methods, undrawn):
    write_report(two_methods.folder)
    first = files_of(two_methods.folder)
    write_report(two_methods.folder)
    assert files_of(two_methods.folder) == first


def test_a_users_matplotlibrc_does_not_change_the_figure(two_methods):
    import matplotlib

    before = plots.render(figure_of(two_methods, ACCURACY))
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "none"}):
        assert plots.render(figure_of(two_methods, ACCURACY)) == before


def test_a_report_is_current_until_a_record_or_a_file_of_it_changes(two_methods, undrawn):
    folder = two_methods.folder
    assert not is_current(folder)
    write_report(folder)
    assert is_current(folder)
    for record in folder.glob("*/record.json"):
        os.utime(record)  # a copied folder has new times and the same results
    assert is_current(folder)
    new = two_methods.add("wanda", {"acc/mean": 0.5}, dataset="web", seed=8)
    assert not is_current(folder)
    write_report(folder)
    assert is_current(folder)
    new.write_text(new.read_text().replace("0.5", "0.6"))
    assert not is_current(folder)
    shutil.rmtree(new.parent)
    assert not is_current(folder)
    write_report(folder)
    (folder / "report" / "figures" / "seeds_accuracy.svg").unlink()
    assert not is_current(folder)
    write_report(folder)
    (folder / "report" / "report.md").write_text("half of anoth")
    assert not is_current(folder)


def damage(path):
    path.write_bytes(path.read_bytes()[:-9] + b"[[1]]")


def of_other_types(path):
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps(told | {"told": told["told"] | {"halves": 3}}))


CHANGES = {
    "a record of other bytes": lambda top: damage(top / "tiny-wanda-web-0/record.json"),
    "no record": lambda top: (top / "tiny-wanda-web-0/record.json").unlink(),
    "a second result": lambda top: (top / "tiny-wanda-web-0/record.conflict-1.json").touch(),
    "items": lambda top: (top / "tiny-wanda-web-0/items.parquet").touch(),
    "a cell begun": lambda top: ((top / "new").mkdir(), (top / "new/config.yaml").touch()),
    "a set": lambda top: (
        (top.parent / "calibration/1").mkdir(parents=True),
        (top.parent / "calibration/1/card.json").touch(),
    ),
    "how it stopped": lambda top: (top / "stopping.json").write_text("{}"),
    "a page cut": lambda top: damage(top / "report/index.html"),
    "no hashes": lambda top: (top / "report/made_from.json").unlink(),
    "what was seen, cut": lambda top: damage(top / "report/seen.json"),
    "what was seen, of other types": lambda top: of_other_types(top / "report/seen.json"),
}


def test_what_has_not_changed_is_told_again_and_not_read_and_whatever_has_is_read(
    two_methods, monkeypatch
):
    monkeypatch.setattr(write, "gather", lambda *_: None)
    monkeypatch.setattr(write, "_make", lambda *_: {"index.html": b"<html>[1234567]"})
    folder, settings, read = two_methods.folder, read_settings(), []
    (folder / "tiny-wanda-web-0").mkdir()
    first = sorted(folder.glob("*wanda*/record.json"))[0]
    first.rename(folder / "tiny-wanda-web-0/record.json")
    monkeypatch.setattr(write, "read_cells", lambda *a: read.append(1) or read_cells(*a))
    told = bring_up_to_date(folder, settings)
    assert len(read) == 1 and told.count == "11 cells, 11 done, 0 failed"
    kept = folder.parent.parent / "kept"
    shutil.copytree(folder.parent, kept)
    assert bring_up_to_date(folder, settings) == told and len(read) == 1
    for name, change in CHANGES.items():
        shutil.rmtree(folder.parent)
        shutil.copytree(kept, folder.parent)
        change(folder)
        read.clear()
        bring_up_to_date(folder, settings)
        assert read == [1], name
        bring_up_to_date(folder, settings)
        assert read == [1], name
        assert is_current(folder, settings), name
    bring_up_to_date(folder, replace(settings, seed=settings.seed + 1))
    assert len(read) == 3  # by is_current, too


def test_the_disk_is_waited_for_once_a_report_and_a_file_lost_by_it_is_written_again(
    two_methods, undrawn, monkeypatch
):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda opened: synced.append(fsync(opened)))
    write_report(two_methods.folder)
    assert len(synced) == 2  # made_from.json, and its name in the folder
    (two_methods.folder / "report" / "tables" / "summary.csv").write_bytes(b"")
    assert not is_current(two_methods.folder)


def test_nothing_is_left_beside_the_files_of_the_report(two_methods, undrawn):
    write_report(two_methods.folder)
    assert not [p for p in (two_methods.folder / "report").rglob("*") if p.name.startswith(".")]


def test_the_points_drawn_are_the_scores(two_methods):
    left, right = (figure_of(two_methods, m).axes[0] for m in (PERPLEXITY, ACCURACY))
    points = {c.get_label(): np.asarray(c.get_offsets()) for c in left.collections}
    assert points["wanda web"][:, 0] == pytest.approx([4.02, 4.04, 4.06, 4.08, 4.10])
    assert points["sparsegpt web"][:, 0] == pytest.approx([3.02, 3.04, 3.06, 3.08, 3.10])
    assert [np.round(points[s][:, 1]).tolist() for s in ("sparsegpt web", "wanda web")] == [
        [0] * 5,
        [1] * 5,
    ]
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels == ["sparsegpt web", "wanda web"]
    percent = {c.get_label(): np.asarray(c.get_offsets())[:, 0] for c in right.collections}
    assert percent["wanda web"] == pytest.approx([61, 62, 63, 64, 65])
    xs = [np.asarray(line.get_xdata(), dtype=float) for line in left.lines]
    assert any(np.allclose(x, 2.0) for x in xs), "the dense line"
    assert any(np.allclose(x, 4.06) for x in xs), "the mean of wanda"
    assert left.get_xscale() == "linear"
    assert left.texts[0].get_text() == "dense 2.00"


def test_perplexities_far_apart_are_on_a_logarithmic_axis(two_methods):
    two_methods.add("rtn", {"ppl/a@64": 5000.0, "acc/mean": 0.1})
    left, right = (figure_of(two_methods, m).axes[0] for m in (PERPLEXITY, ACCURACY))
    assert (left.get_xscale(), right.get_xscale()) == ("log", "linear")
    assert left.get_yticklabels()[0].get_text() == "rtn (no data)"


def test_infinite_perplexities_do_not_break_the_figure(two_methods):
    two_methods.add("wanda", {"ppl/a@64": float("inf"), "acc/mean": 0.5}, dataset="web", seed=5)
    left = figure_of(two_methods, PERPLEXITY).axes[0]
    points = {c.get_label(): np.asarray(c.get_offsets()) for c in left.collections}
    assert len(points["wanda web"]) == 5
    write_report(two_methods.folder)


def test_several_models_have_a_panel_each(sweep):
    for model in ("a", "b", "c"):
        sweep.add("dense", {"ppl/x@64": 2.0, "acc/mean": 0.7}, model=model)
        for seed in range(2):
            scores = {"ppl/x@64": 3.0 + seed, "acc/mean": 0.6}
            sweep.add("wanda", scores, model=model, dataset="d", seed=seed)
    figure = figure_of(sweep, ACCURACY)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["a", "b", "c"]


def test_labels_of_twenty_strips_do_not_overlap(sweep):
    for method in ("awq", "gptq", "sparsegpt", "wanda"):
        for dataset in ("mini_web", "mini_news", "mini_mix", "mini_filtered", "mini_wiki"):
            for seed in range(2):
                scores = {"ppl/x@64": 3.0 + seed, "acc/mean": 0.6}
                sweep.add(method, scores, dataset=dataset, seed=seed)
    figure = figure_of(sweep, PERPLEXITY)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == 20
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0


def test_scores_of_other_kinds_are_reported_without_a_figure(sweep):
    sweep.add("wanda", {"bleu/wmt": 30.0}, dataset="d", seed=0)
    write_report(sweep.folder)
    assert set(files_of(sweep.folder)) >= {"index.html", "report.md", "tables/summary.csv"}
    assert not (sweep.folder / "report" / "figures").exists()
    assert "bleu/wmt" in (sweep.folder / "report" / "tables" / "summary.csv").read_text()
    assert "### BLEU" in (sweep.folder / "report" / "report.md").read_text()
    assert is_current(sweep.folder)


def drawn(sweep, seed, digest, method="wanda"):
    card = {"hash": digest * 32, "design": "disjoint", "pool": {"documents": 100}}
    sweep.add(method, {"acc/mean": 0.5}, dataset="web", seed=seed, calibration=card)


def test_calibration_sets_are_listed_with_their_hashes(sweep, undrawn):
    for method in ("wanda", "gptq"):
        drawn(sweep, 0, "ab", method)
        drawn(sweep, 1, "cd", method)
    write_report(sweep.folder)
    with (sweep.folder / "report" / "tables" / "calibration_sets.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["hash"]) for row in rows] == [("0", "ab" * 32), ("1", "cd" * 32)]
    text = (sweep.folder / "report" / "report.md").read_text()
    assert "| tiny | web | 0 | - | abababababab | disjoint | documents 100 |" in text
    assert "2 calibration sets, all different; 2 of them were used by several methods" in text


def test_sets_that_break_the_pairing_or_repeat_are_named(sweep):
    drawn(sweep, 0, "ab", "wanda")
    drawn(sweep, 0, "cd", "gptq")
    drawn(sweep, 1, "ab", "wanda")
    unpaired, repeated = check_pairing(drawn_sets(read_cells(sweep.folder)))
    assert "not paired: tiny web seed 0" in unpaired
    assert "abababababab, cdcdcdcdcdcd" in unpaired
    assert "seeds 0, 1 of web drew the same calibration set" in repeated


@pytest.mark.parametrize(
    ("share", "samples", "is_told"), [(0.012, 0, False), (0.06, 0, True), (0.008, 1, True)]
)
def test_calibration_text_that_is_scored_is_told_first_of_all(
    sweep, undrawn, share, samples, is_told
):
    overlap = {"clean@64": {"share": 0.0, "samples": 0}}
    for seed in (0, 1):
        overlap = {**overlap, "a@64": {"share": share * (1 + seed), "samples": samples}}
        card = {"hash": f"{seed}" * 64, "overlap": overlap}
        sweep.add("wanda", {"ppl/a@64": 3.0}, dataset="web", seed=seed, calibration=card)
    write_report(sweep.folder)
    told = (
        f"Calibration text is scored (sets: 2; most of all web seed 1): {200 * share:.0f} % of its "
        f"13-token runs and most of {samples} sample{'' if samples == 1 else 's'} stand in a@64."
    )
    said = json.loads((sweep.folder / "report" / "conclusion.json").read_text())
    assert said[0].startswith(told) == is_told
    controls = (sweep.folder / "report" / "tables" / "controls.csv").read_text()
    assert ("Calibration text is scored" in controls) == is_told


def test_versions_of_the_records_are_in_the_report(sweep, undrawn):
    for seed, torch in enumerate(("2.8", "2.9")):
        environment = {"python": "3.12.1", "versions": {"torch": torch}, "git": None}
        sweep.add("wanda", {"acc/x": 0.5}, dataset="d", seed=seed, environment=environment)
    write_report(sweep.folder)
    text = (sweep.folder / "report" / "report.md").read_text()
    assert "| python | 3.12.1 |" in text
    assert "| torch | 2.8, 2.9 |" in text


def test_the_command_writes_the_report_and_prints_the_table(
    two_methods, undrawn, capsys, monkeypatch
):
    monkeypatch.chdir(two_methods.folder.parent.parent)
    assert main(["results/made_up"]) == 0
    assert is_current(two_methods.folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sweep made_up: 11 cells, 11 done, 0 failed"
    assert lines[-1] == "report: results/made_up/report/index.html"


def test_a_folder_without_records_is_refused_with_what_to_type(two_methods, tmp_path, monkeypatch):
    monkeypatch.chdir(two_methods.folder.parent.parent)
    with pytest.raises(ConfigError, match=r"record\.json, but it has none.*report results/made_up"):
        main(["results"])
    with pytest.raises(ConfigError, match=r"'made_up'.*does not exist.*report results/made_up"):
        main(["made_up"])
    with pytest.raises(ConfigError, match="expected the folder of one sweep"):
        main([])
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(ConfigError, match="Run the sweep first"):
        main(["."])


def test_a_report_that_cannot_be_written_is_an_error_of_the_folder(two_methods, undrawn):
    (two_methods.folder / "report").write_text("in the way")
    with pytest.raises(ConfigError, match="expected a folder that can be written"):
        write_report(two_methods.folder)
