"""The page, its tables and sentences, from small tables made by hand."""

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from calib_sweep.analysis.figures import diagrams, plots, strip_plot
from calib_sweep.analysis.report import columns
from calib_sweep.analysis.report.document import (
    Bullets,
    Callout,
    Figures,
    Fold,
    Heading,
    Image,
    Paragraph,
    Passage,
    SideBySide,
    Table,
    to_markdown,
)
from calib_sweep.analysis.report.latex import escaped, to_latex
from calib_sweep.analysis.report.page import to_html
from calib_sweep.analysis.report.table_format import Column, format_table
from calib_sweep.analysis.scores.groups import group_rows

ACCURACY, PERPLEXITY = "acc/mean", "ppl/geomean"
TABLE = Table(
    ["method", "mean"],
    [["a <b> & c", "1.5"], ["d_e", "-2.0 (-3.0..-1.0)"]],
    num_names=1,
    meanings={"mean": 'over "seeds"'},
    best=frozenset({(0, 1)}),
)


def compared(**fields):
    """One pair of methods: sparsegpt is claimed to be 2 points better than wanda."""
    row = {"model": "tiny", "metric": ACCURACY, "a": "sparsegpt", "b": "wanda", "dataset": ""}
    row |= {"n": 5, "estimate": 0.02, "lo": 0.01, "hi": 0.03, "winner": "sparsegpt"}
    return row | fields


def test_a_table_has_units_intervals_directions_and_marks_the_best():
    rows = [
        {"model": "tiny", "method": "dense", "dataset": "", "n": 1, "mean": 0.84, "vs_dense": None},
        {"method": "wanda", "dataset": "web", "n": 5, "mean": 0.6, "vs_dense": -0.24, "sd": 0.013},
        {"method": "gptq", "dataset": "web", "n": 5, "mean": 0.7, "vs_dense": -0.14, "sd": 0.012},
    ]
    ends = {"mean_lo": 0.58, "mean_hi": 0.62, "sd_lo": 0.008, "sd_hi": 0.037}
    frame = pd.DataFrame([rows[0], *(row | ends for row in rows[1:])])
    table = format_table(frame, columns.SUMMARY, ACCURACY)
    assert table.header == ["method", "dataset", "mean (95 %)", "SD (95 %)", "n", "vs dense"]
    assert table.rows[0] == ["dense", "-", "84.0", "-", "1", "-"]
    assert table.rows[1] == ["wanda", "web", "60.0 (58.0..62.0)", "1.3 (0.8..3.7)", "5", "-24.0"]
    assert table.best == {(2, 2)}
    assert format_table(frame, columns.SUMMARY, PERPLEXITY).best == {(1, 2)}  # the lower one
    assert set(table.meanings) == set(table.header)


def test_the_best_is_marked_within_each_model_never_across_them():
    rows = [("one", 0.5), ("one", 0.6), ("two", 0.9), ("two", 0.8), ("three", 0.99)]
    frame = pd.DataFrame([{"model": m, "method": "wanda", "mean": v} for m, v in rows])
    table = format_table(
        frame, [columns.MODEL, Column("mean", ("mean",), "score", "", 0)], ACCURACY
    )
    assert table.best == {(1, 1), (2, 1)}  # the third model has no other to be better than


def test_a_difference_of_log_perplexity_is_shown_as_a_ratio():
    shown = [
        Column("A - B", ("mean_diff", "lo", "hi"), "difference", ""),
        Column("new", ("lo", "hi"), "ends", ""),
        Column("detectable", ("lo",), "size", ""),
    ]
    row = {"mean_diff": 0.1, "lo": 0.09, "hi": 0.11}
    table = format_table(pd.DataFrame([row]), shown, PERPLEXITY)
    assert table.header == ["A / B", "new", "detectable"]
    assert table.rows == [["1.105 (1.094..1.116)", "1.094..1.116", "1.09"]]
    table = format_table(pd.DataFrame([row]), shown, ACCURACY)
    assert table.header == ["A - B, points", "new", "detectable, points"]
    assert table.rows == [["+10.0 (+9.0..+11.0)", "9.0..11.0", "9.0"]]


def test_every_column_of_every_table_has_a_meaning():
    shown = [c for value in vars(columns).values() if isinstance(value, list) for c in value]
    assert len(shown) > 50
    assert all(column.meaning and column.heading for column in shown)


class Outline(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def page():
    image = Image("figures/x.png", "dots & lines")
    blocks = [
        Heading("Sweep <x>", 1),
        Callout("Says", ["one <b>"]),
        *(Heading(f"Chapter {n}") for n in range(3)),
        Figures([image], "what it shows"),
        Fold("More", [Bullets(["item"]), Paragraph("text"), TABLE]),
    ]
    return to_html(blocks, "sweep <x>", {"figures/x.png": b"<svg/>"})


def test_the_page_needs_no_other_file_and_escapes_what_it_shows():
    text = page()
    assert "http" not in text and "url(" not in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert "a &lt;b&gt; &amp; c" in text and "<b>1.5</b>" in text
    assert "<title>sweep &lt;x&gt;</title>" in text


def test_the_page_can_be_used_without_eyes_or_pointer():
    tags = Outline(page()).tags
    assert ("html", {"lang": "en"}) in tags
    assert all(attrs.get("alt") for tag, attrs in tags if tag == "img")
    assert all(attrs.get("scope") == "col" for tag, attrs in tags if tag == "th")
    anchors = {attrs["id"] for _, attrs in tags if "id" in attrs}
    links = {attrs["href"].removeprefix("#") for tag, attrs in tags if tag == "a"}
    assert links == anchors == {"chapter-0", "chapter-1", "chapter-2"}
    (region,) = [attrs for _, attrs in tags if attrs.get("role") == "region"]
    assert region["tabindex"] == "0" and region["aria-label"]
    assert [tag for tag, _ in tags].count("dt") == 1  # the meaning, beside its hover text
    assert any(attrs.get("title") == 'over "seeds"' for tag, attrs in tags if tag == "th")
    assert any(attrs.get("name") == "viewport" for _, attrs in tags)


def test_no_line_ends_between_a_number_and_its_unit():
    text = to_html([Callout("Says", ["x0.5 (95 % 0.4..0.6), 10.8 points, 5 seeds"])], "t", {})
    assert "(95\u00a0% 0.4..0.6), 10.8\u00a0points, 5 seeds" in text


def test_markdown_has_what_the_page_has():
    text = to_markdown([Callout("Says", ["one"]), Fold("More", [TABLE])])
    assert "**Says**\n\n- one" in text
    assert "| a \\<b> & c | **1.5** |" in text


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("a_b", r"a\_b"),
        ("50 % & {x}", r"50 \% \& \{x\}"),
        ("c:\\d ~^#$", r"c:\textbackslash{}d \textasciitilde{}\textasciicircum{}\#\$"),
        ("<0.01|", r"\textless{}0.01\textbar{}"),
    ],
)
def test_latex_prints_every_character_as_it_is(text, latex):
    assert escaped(text) == latex


def test_a_latex_table_has_rules_a_direction_minus_signs_and_the_best_in_bold():
    lines = to_latex(TABLE, "100 % of it\n\\bad", direction=1).splitlines()
    assert lines == [
        "% 100 % of it \\bad",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        r"\begin{tabular}{@{}lr@{}}",
        r"\toprule",
        r"method & mean $\uparrow$ \\",
        r"\midrule",
        r"a \textless{}b\textgreater{} \& c & \textbf{1.5} \\",
        r"d\_e & $-$2.0 [$-$3.0, $-$1.0] \\",
        r"\bottomrule",
        r"\end{tabular}%",
        "}",
    ]


def test_the_differences_drawn_are_those_of_the_table():
    rows = [compared(), compared(b="gptq", estimate=-0.01, lo=-0.03, hi=0.01, winner="")]
    figure = diagrams.differences_figure(pd.DataFrame(rows), ACCURACY)
    (axes,) = figure.axes
    ends = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    assert ends[0] == pytest.approx((1.0, 3.0)) and ends[1] == pytest.approx((-3.0, 1.0))
    points = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in points] == pytest.approx([2.0, -1.0])
    assert points[0].get_markerfacecolor() != "white" == points[1].get_markerfacecolor()
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["sparsegpt - wanda", "sparsegpt - gptq"]
    assert axes.get_xlabel() == "difference of accuracy, points\n95 % interval"


def test_perplexities_are_drawn_as_ratios_on_a_logarithmic_axis():
    row = compared(metric=PERPLEXITY, estimate=-0.7, lo=-0.8, hi=-0.6)
    (axes,) = diagrams.differences_figure(pd.DataFrame([row]), PERPLEXITY).axes
    assert axes.get_xscale() == "log"
    assert tuple(axes.lines[0].get_xdata()) == pytest.approx((0.449329, 0.548812))
    assert list(axes.lines[2].get_xdata()) == [1, 1]
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 1.0 in ticks and len(ticks) >= 3
    assert [text.get_text() for text in axes.get_yticklabels()] == ["sparsegpt / wanda"]


def test_the_bars_of_a_score_add_up_to_all_of_its_variance_items_among_it():
    shares = {"draw_share": 0.36, "dataset_share": float("nan"), "item_share": 0.64}
    row = {"model": "tiny", "method": "wanda", "metric": ACCURACY, "draw_sd": 0.006}
    row |= {"dataset_sd": float("nan"), "item_se": 0.008} | shares
    rows = [row, row | {"method": "gptq", "draw_sd": 0.03, "dataset_sd": 0.04, "item_se": 0.0}]
    rows[1] |= {"draw_share": 0.36, "dataset_share": 0.64, "item_share": 0.0}
    (axes,) = diagrams.sensitivity_figure(pd.DataFrame(rows), ACCURACY).axes
    widths = [bar.get_width() for bar in axes.patches if bar.get_y() > -5]
    assert sum(widths) == pytest.approx(200.0) and len(widths) == 5
    assert axes.get_xlabel().startswith("accuracy: share of the variance, %")
    assert [text.get_text() for text in axes.texts] == ["1 points", "5 points"]


def test_ranks_are_drawn_against_seeds_and_nothing_where_there_is_nothing():
    row = {"model": "tiny", "metric": ACCURACY, "kind": "method", "dataset": "", "draw": "", "x": 3}
    rows = [row | {"num_seeds": n, "p_top1": 1 - 0.5 / n, "p_order": 0.1} for n in (1, 2, 5)]
    (axes,) = diagrams.ranks_figure(pd.DataFrame(rows), ACCURACY).axes
    assert list(axes.lines[0].get_ydata()) == pytest.approx([50.0, 75.0, 90.0])
    assert axes.get_xlabel() == "calibration seeds of a study of accuracy"
    of_two = [one | {"draw": f"num_samples={num}"} for num in (64, 128) for one in rows]
    panels = diagrams.ranks_figure(pd.DataFrame(of_two), ACCURACY).axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == ["tiny num_samples=64", "tiny num_samples=128"]
    assert diagrams.ranks_figure(pd.DataFrame(rows), PERPLEXITY) is None
    of_two_methods = pd.DataFrame(rows).assign(p_order=[row["p_top1"] for row in rows])
    (axes,) = diagrams.ranks_figure(of_two_methods, ACCURACY).axes
    assert len(axes.lines) == 1
    certain = pd.DataFrame(rows).assign(p_top1=1.0, p_order=0.996)
    assert diagrams.ranks_figure(certain, ACCURACY) is None
    assert diagrams.differences_figure(pd.DataFrame(columns=[*compared()]), ACCURACY) is None


def test_profiles_are_drawn_with_their_intervals():
    row = {"model": "tiny", "method": "wanda", "tau": 0.5, "share_lo": 0.8, "share_hi": 1.0}
    rows = [row | {"share": 0.9}, row | {"tau": 0.6, "share": 0.4, "share_lo": 0.2}]
    (axes,) = diagrams.profiles_figure(pd.DataFrame(rows)).axes
    assert [tuple(point) for point in axes.lines[0].get_xydata()] == [(50, 90), (60, 40)]
    (band,) = axes.collections
    assert {(50.0, 80.0), (60.0, 20.0), (60.0, 100.0)} <= set(
        map(tuple, band.get_paths()[0].vertices)
    )
    assert diagrams.profiles_figure(pd.DataFrame(rows).head(0)) is None


def test_a_strip_says_how_many_of_its_seeds_cannot_be_drawn():
    fields = {"model": "tiny", "method": "wanda", "dataset": "web", "settings": "", "error": None}
    fields |= {"metric": PERPLEXITY, "stderr": 0.0, "replicate": 0, "status": "done"}
    values = enumerate([5.0, 6.0, float("inf")])
    rows = [fields | {"seed": s, "value": value, "cell_id": str(s)} for s, value in values]
    (axes,) = strip_plot.seeds_figure(group_rows(rows), PERPLEXITY, [PERPLEXITY]).axes
    assert axes.get_yticklabels()[0].get_text().replace("\n", " ") == "wanda web (1 not finite)"


def test_a_figure_is_the_same_bytes_however_often_it_is_drawn():
    first, second = (
        plots.render(diagrams.differences_figure(pd.DataFrame([compared()]), ACCURACY))
        for _ in range(2)
    )
    assert first == second
    assert first["png"].startswith(b"\x89PNG") and b"<dc:date>" not in first["svg"]


def test_long_names_are_cut_not_spilled():
    long = "a_very_long_method_name_" * 4
    (axes,) = diagrams.differences_figure(pd.DataFrame([compared(a=long)]), ACCURACY).axes
    lines = axes.get_yticklabels()[0].get_text().split("\n")
    assert lines[0].endswith("...") and lines[1] == "- wanda"
    assert max(map(len, lines)) <= 2 * plots.LABEL_CHARACTERS


def test_passages_stand_side_by_side_as_they_were_written():
    rows = [
        [Passage("first", "a <b>\n  ``` c"), None],
        [Passage("next", "x"), Passage("other", "y")],
    ]
    block = SideBySide(["one", "two & three"], rows)
    html = to_html([block], "Texts", {})
    assert '<p class="passage">a &lt;b&gt;\n  ``` c</p>' in html
    assert html.count('<div class="row">') == 2 and 'style="--columns: 2"' in html
    assert html.count("<h4>one<small>") == 2 and html.count("<h4>two &amp; three<small>") == 1
    markdown = to_markdown([block])
    assert "**one**, first\n\n````text\na <b>\n  ``` c\n````" in markdown
    assert "**two & three**, other\n\n```text\ny\n```" in markdown
