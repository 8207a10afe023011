"""The W&B dashboard of a sweep: sections of panels, in a workspace and in a report.

Panels ask only for keys in `Logged`, for W&B draws an empty one for any other and says nothing. The
only file that imports wandb_workspaces.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from calib_sweep.errors import ConfigError
from calib_sweep.results.means import ACC_MEAN, PPL_MEAN
from calib_sweep.tracking.layer_curves import BLOCK
from calib_sweep.tracking.mirrored import (
    ANALYSIS_JOB,
    CELL,
    CELL_JOB,
    CELLS_LINK,
    MEAN_ERROR,
    PAGE,
    group_of,
    links_of,
)

try:
    import wandb_workspaces.reports.v2.interface as wr
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr
except ImportError as missing:
    raise ConfigError(
        f"dashboard: expected the package wandb-workspaces ({missing}). "
        "Type pip install 'wandb-workspaces<0.5'."
    ) from missing

Panel = (
    wr.BarPlot
    | wr.ScatterPlot
    | wr.LinePlot
    | wr.ParallelCoordinatesPlot
    | wr.MediaBrowser
    | wr.WeavePanelSummaryTable
)

SPREADS = {  # numbers of the run of the report, each of a score, model and method
    "analysis/draw_sd/": "SD over draws",
    "analysis/dataset_sd/": "SD over datasets",
    "analysis/item_se/": "SE over items",
}
HEADLINES = (ACC_MEAN, PPL_MEAN)
MAIN_SCORES = ("ppl/", "acc/mean", "kl/")  # beginnings of keys; the last section has the others
MAX_RUNS = 100  # in a panel; W&B shows 10 if not told
WIDE, HALF = {"w": 24, "h": 10}, {"w": 12, "h": 9}  # of the 24 columns of a report


@dataclass(frozen=True, kw_only=True)
class Logged:
    """The keys under which W&B knows what the runs of a sweep have logged."""

    sweep_name: str
    sentences: Sequence[str]  # the conclusion of its report
    places: Sequence[tuple[str | None, str | None]]  # project and entity of each run, oldest first
    axes: Sequence[str]  # of the configuration: in what cells differ, but for the seed
    scores: Sequence[str]  # of summary and history
    curves: Sequence[str]  # of the history, over `BLOCK`
    shown: Sequence[str]  # tables, figures and page of the run of the report
    scalars: Sequence[str]  # its numbers
    records: str  # the folder of the sweep
    report: str | None  # the address of the run of the report; None: nowhere yet


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, what there is to see below it, and its panels."""

    title: str
    text: str
    panels: Sequence[Panel]


def sections(logged: Logged) -> list[Section]:
    """Make the sections of a dashboard, without what was not logged."""
    main = [key for start in MAIN_SCORES for key in logged.scores if key.startswith(start)]
    by = [(None, ""), ("method", " by method"), ("dataset", " by dataset")]
    known = [
        Section(
            title="Scores by method and dataset",
            text="A line is a cell, across its axes to its scores. Bars are means over calibration "
            "seeds, whiskers their SD. Perplexity and divergence: less is better.",
            panels=[
                _parallel(logged, main),
                *(_bars(key, axis, title) for key in main for axis, title in by),
            ],
        ),
        Section(
            title="Seed spread",
            text="A dot is one calibration set. How far dots of one method lie apart is what "
            "another draw of the data would have changed.",
            panels=[
                *(_scatter(f"seeds strip: {key}", wr.Config(f"{CELL}.seed"), key) for key in main),
                *_figures(logged, "seeds"),
                *_tables(logged, "summary"),
            ],
        ),
        Section(
            title="Which differences hold",
            text="Paired over calibration sets: filled points hold, hollow ones may be the draw.",
            panels=[
                *_figures(logged, "differences", "ranks"),
                *_tables(logged, "comparisons", "ranking"),
            ],
        ),
        Section(
            title="Variance components",
            text="How much of the variance is the method, the dataset, and the draw within it.",
            panels=[
                *_spreads(logged),
                *_figures(logged, "components"),
                *_tables(logged, "variance_components"),
            ],
        ),
        Section(
            title="Layer errors",
            text="Squared output error of a compressed layer, relative to its output, on the "
            "calibration set. Layers of one kind in one block are averaged.",
            panels=[*(_curve(key) for key in logged.curves), *_errors_and_scores(logged, main)],
        ),
        Section(
            title="All other scores",
            text="Bars are means over calibration seeds, whiskers their SD.",
            panels=[_bars(key, None, "") for key in logged.scores if key not in main],
        ),
    ]
    return [section for section in known if section.panels]


def _parallel(logged: Logged, scores: Sequence[str]) -> wr.ParallelCoordinatesPlot:
    """One line a cell: the axes that differ, the seed, then headline scores, or all there are."""
    told = [key for key in HEADLINES if key in scores] or scores
    axes = [*logged.axes, f"{CELL}.seed"]
    columns = [
        *(wr.ParallelCoordinatesPlotColumn(metric=wr.Config(axis)) for axis in axes),
        *(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(key)) for key in told),
    ]
    return wr.ParallelCoordinatesPlot(
        title="axes and scores", columns=columns, layout=wr.Layout(**WIDE)
    )


def _spreads(logged: Logged) -> list[wr.BarPlot]:
    """For each headline score what moves it by how much, with a bar for each method."""
    return [
        wr.BarPlot(title=f"{words} of {score}", metrics=[*keys])
        for start, words in SPREADS.items()
        for score in HEADLINES
        if (keys := [key for key in logged.scalars if key.startswith(f"{start}{score}/")])
    ]


def _bars(score: str, axis: str | None, title: str) -> wr.BarPlot:
    """Grouped by one axis of the cells; None: as the runs are, by all of them."""
    return wr.BarPlot(
        title=score + title,
        metrics=[score],
        groupby=None if axis is None else wr.Config(f"{CELL}.{axis}"),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
    )


def _scatter(title: str, x: wr.Config | wr.SummaryMetric, score: str) -> wr.ScatterPlot:
    return wr.ScatterPlot(title=title, x=x, y=wr.SummaryMetric(score))


def _curve(key: str) -> wr.LinePlot:
    return wr.LinePlot(
        title=key,
        x=BLOCK,
        y=[key],
        log_y=True,
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        smoothing_type="none",
        max_runs_to_show=MAX_RUNS,
    )


def _errors_and_scores(logged: Logged, scores: Sequence[str]) -> list[wr.ScatterPlot]:
    error = wr.SummaryMetric(MEAN_ERROR)
    titled = [(f"{key} over the mean error of layers", key) for key in scores]
    return [_scatter(title, error, key) for title, key in titled] if logged.curves else []


def _figures(logged: Logged, *kinds: str) -> list[wr.MediaBrowser]:
    keys = [k for kind in kinds for k in logged.shown if k.startswith(f"figures/{kind}_")]
    return [wr.MediaBrowser(title=key, media_keys=[key], layout=wr.Layout(**HALF)) for key in keys]


def _tables(logged: Logged, *names: str) -> list[wr.WeavePanelSummaryTable]:
    keys = [f"tables/{name}" for name in names if f"tables/{name}" in logged.shown]
    return [wr.WeavePanelSummaryTable(table_name=key, layout=wr.Layout(**WIDE)) for key in keys]


def build_workspace(logged: Logged, project: str, entity: str) -> ws.Workspace:
    """Make the page of the report, then each section, over all runs of the sweep."""
    page = wr.MediaBrowser(title="report", media_keys=[PAGE], num_columns=1)
    overview = [Section(title="Report", text="", panels=[page])] if PAGE in logged.shown else []
    return ws.Workspace(
        entity=entity,
        project=project,
        name=_plain(f"Sweep {logged.sweep_name}"),
        sections=[
            ws.Section(name=part.title, panels=_numbered(part), is_open=True)
            for part in (*overview, *sections(logged))
        ],
        settings=ws.WorkspaceSettings(max_runs=MAX_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=_is_of(logged.sweep_name),
            groupby=[expr.Config(axis) for axis in logged.axes],
        ),
    )


def build_report(
    logged: Logged, project: str, entity: str, workspace: str | None = None
) -> wr.Report:
    """The sentences of the conclusion, then each section with what there is to see in it.

    `entity` "": its own project's runs, which W&B need not be asked for. `workspace`: its address.
    """

    def runs(job: str, axes: Sequence[str]) -> wr.Runset:
        return wr.Runset(
            entity=entity,
            project=project,
            name=job,
            filters=f'{_is_of(logged.sweep_name)} and Metric("JobType") == "{job}"',
            groupby=[f"config.{axis}" for axis in axes],
        )

    blocks: list[wr.BlockTypes] = [wr.H1("Conclusion"), *map(wr.P, logged.sentences)]
    blocks.append(_links(logged, workspace))
    for part in sections(logged):
        both = [runs(CELL_JOB, logged.axes), runs(ANALYSIS_JOB, [])]
        for runset in both:
            runset._id = f"{_id(part)}-{runset.name}"  # the library would draw one
        grid = wr.PanelGrid(runsets=both, panels=_numbered(part))
        blocks += [wr.H1(part.title), wr.P(part.text), grid]
    title = f"Sweep {logged.sweep_name}"[:128]
    return wr.Report(project=project, entity=entity, title=title, blocks=blocks, width="fluid")


def _links(logged: Logged, workspace: str | None) -> wr.P:
    """Say where the records are, and lead to the runs and the workspace that have an address."""
    text: list[Any] = ["Records: ", wr.InlineCode(logged.records)]
    addresses = {"workspace": workspace, "run of the report": logged.report}
    if logged.report is not None:
        addresses["runs of the cells"] = links_of(logged.report, logged.sweep_name)[CELLS_LINK]
    for name, url in addresses.items():
        text += [", ", wr.Link(name, url)] if url is not None else []
    return wr.P(text)


def own_entity(project: str) -> str:
    """The entity of whoever is logged in, which W&B is asked for."""
    return wr.Report(project=project, title="").entity


def _numbered(section: Section) -> list[wr.PanelTypes]:
    """Give its panels ids that are the same the next time; the library would draw them."""
    for number, panel in enumerate(section.panels):
        panel._id = f"{_id(section)}-{number}"
    return list(section.panels)


def _id(section: Section) -> str:
    return section.title.lower().replace(" ", "-")


def _is_of(sweep_name: str) -> str:
    """Return a filter for the runs of a sweep; the library's parser rewrites = < > in names too."""
    literal = re.sub(r"[^\w .-]", lambda found: f"\\U{ord(found[0]):08x}", group_of(sweep_name))
    return f'Metric("Group") == "{literal}"'


def _plain(text: str) -> str:
    """Leave out signs that the library takes for emojis."""
    return re.sub(r"[^\w .,-]", "-", text)
