"""Figures of the analysis's tables: sensitivity, differences, ranking, profiles, sizes of sets."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.heavy_tails import inflation
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.scores.arrays import NUM_SAMPLES
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.names import Naming

if TYPE_CHECKING:
    from calib_sweep.analysis.figures.plots import Axes, Figure

MAX_PAIRS = 60  # in a panel of differences
MAX_ROWS = 100  # of other panels
MAX_CURVES = 24  # in a panel; panels of curves
LINE_PANEL_IN = 2.6  # height of a panel of curves
LINES = ("-", "--", ":", "-.")
RANK_CURVES = (("p_top1", "same first", "-"), ("p_order", "same order", "--"))
CERTAIN = 0.995  # a probability that is shown as 100 %
SOURCES = {"draw_share": "draws", "dataset_share": "datasets", "item_share": "test items"}
SDS = ("draw_sd", "dataset_sd", "item_se")


def sensitivity_figure(sensitivity: Frame, metric: str, known: Metrics = OURS) -> "Figure | None":
    """Draw what the variance of one score lies between, as a stacked bar for each method."""
    from calib_sweep.analysis.figures import plots

    own = sensitivity[sensitivity["metric"] == metric]
    own = own[own[list(SOURCES)].notna().any(axis=1)]
    if own.empty:
        return None
    models = list(dict.fromkeys(own["model"]))
    tables = [own[own["model"] == model].head(MAX_ROWS) for model in models]
    heights = [plots.strip_height(len(table)) for table in tables]
    figure, panels = plots.panels([heights[0] + 0.4, *heights[1:]], models)
    with plots.plain_style():
        for table, axes in zip(tables, panels, strict=True):
            for y, row in enumerate(table.to_dict("records")):
                _draw_bar(axes, y, [100 * float(row[name]) for name in SOURCES])
                total = math.sqrt(sum(row[name] ** 2 for name in SDS if math.isfinite(row[name])))
                unit = formatting.unit(metric, known)
                text = f"{formatting.spread(metric, total, known):.2g} {unit}".rstrip()
                axes.text(101.5, y, text, va="center", fontsize=8, clip_on=False)
            plots.name_strips(axes, list(table["method"]))
            axes.set_xlim(0, 100)
            share = f"{formatting.named(metric, known)}: share of the variance, %"
            axes.set_xlabel(f"{share}\nat the end the SD of all of it")
        for place, (share, name) in enumerate(SOURCES.items()):  # each once, in the legend only
            if not own[share].notna().any():
                continue
            face, hatch = plots.COLOURS[place], plots.HATCHES[place]
            panels[0].barh([-9], [0], label=name, edgecolor="white", facecolor=face, hatch=hatch)
        plots.legend_below(figure, panels[0], 3)
    return figure


def _draw_bar(axes: "Axes", y: int, shares: Sequence[float]) -> None:
    from calib_sweep.analysis.figures import plots

    left = 0.0
    for place, share in enumerate(shares):
        if not math.isfinite(share):
            continue
        axes.barh(
            [y],
            [share],
            left=left,
            height=0.7,
            edgecolor="white",
            linewidth=0.5,
            facecolor=plots.COLOURS[place],
            hatch=plots.HATCHES[place],
        )
        left += share


def differences_figure(pairs: Frame, metric: str, known: Metrics = OURS) -> "Figure | None":
    """Draw pairs of methods over all datasets: the difference, its interval, no difference.

    `pairs` have the numbers of claims.csv, and a `winner` where something is claimed. The first
    MAX_PAIRS of each model; `pairs_left_out` says whether there are more.
    """
    from calib_sweep.analysis.figures import plots

    own = _drawn_pairs(pairs, metric)
    if own.empty:
        return None
    models = list(dict.fromkeys(own["model"]))
    tables = [own[own["model"] == model].head(MAX_PAIRS) for model in models]
    figure, panels = plots.panels([plots.strip_height(len(t)) for t in tables], models)
    is_ratio = known.of(metric).is_logged
    with plots.plain_style():
        for table, axes in zip(tables, panels, strict=True):
            for y, row in enumerate(table.to_dict("records")):
                middle, low, high = (
                    formatting.difference(metric, row[k], known) for k in ("estimate", "lo", "hi")
                )
                ends = [row.get(k, math.nan) for k in ("new_lo", "new_hi")]
                if np.isfinite(ends).all():
                    wide = [formatting.difference(metric, end, known) for end in ends]
                    axes.plot(wide, [y, y], color=plots.GREY, linewidth=0.8, zorder=1.5)
                colour = plots.COLOURS[0] if row["winner"] else plots.GREY
                axes.plot([low, high], [y, y], color=colour, linewidth=1.8, zorder=2)
                fill = colour if row["winner"] else "white"
                axes.plot([middle], [y], "o", color=colour, markerfacecolor=fill, zorder=3)
            axes.axvline(1 if is_ratio else 0, color=plots.INK, linewidth=1.0)
            if is_ratio:
                plots.ratio_axis(axes)
            sign = "/" if is_ratio else "-"
            pairs_ab = zip(table["a"], table["b"], strict=True)
            plots.name_strips(axes, [f"{a} {sign} {b}" for a, b in pairs_ab])
            unit = formatting.difference_unit(metric, known)
            what = "ratio" if is_ratio else "difference"
            axes.set_xlabel(
                f"{what} of {formatting.named(metric, known)}{unit and ', '}{unit}\n95 % interval"
            )
    return figure


def pairs_left_out(pairs: Frame, metric: str) -> bool:
    """Tell whether a model has more pairs than its panel shows."""
    own = _drawn_pairs(pairs, metric)
    return bool((own["model"].value_counts() > MAX_PAIRS).any())


def _drawn_pairs(pairs: Frame, metric: str) -> Frame:
    own = pairs[pairs["metric"] == metric]
    ends = own[["lo", "hi"]].astype(float)  # where nothing was compared they are not even numbers
    return own[np.isfinite(ends).all(axis=1)]


def ranks_figure(stability: Frame, metric: str, known: Metrics = OURS) -> "Figure | None":
    """Draw P(same first) and P(same order) of methods against the number of seeds.

    Nothing where all are as good as certain; one line of two methods, whose first is their order.
    """
    from calib_sweep.analysis.figures import plots

    own = stability[(stability["metric"] == metric) & (stability["kind"] == "method")]
    own = own[own["dataset"] == ""]
    if own.empty or (own[["p_top1", "p_order"]] >= CERTAIN).all(axis=None):
        return None
    fields = list(dict.fromkeys(zip(own["model"], own["draw"], strict=True)))[:MAX_CURVES]
    titles = [f"{model} {draw}".rstrip() for model, draw in fields]
    figure, panels = plots.panels([LINE_PANEL_IN] * len(fields), titles)
    curves = RANK_CURVES[:1] if own["p_top1"].equals(own["p_order"]) else RANK_CURVES
    with plots.plain_style():
        for (model, draw), axes in zip(fields, panels, strict=True):
            of_field = own[(own["model"] == model) & (own["draw"] == draw)]
            for place, (column, label, line) in enumerate(curves):
                axes.plot(
                    of_field["num_seeds"],
                    100 * of_field[column],
                    label=label,
                    marker=plots.MARKERS[place],
                    linestyle=line,
                    color=plots.COLOURS[place],
                    markersize=4,
                )
            plots.log_axis(axes, "x")
            axes.set_ylim(0, 103)
            axes.grid(color=plots.PALE, linewidth=0.6)
            axes.set_ylabel("probability, %")
            axes.set_xlabel(f"calibration seeds of a study of {formatting.named(metric, known)}")
        plots.legend_below(figure, panels[0], 2)
    return figure


def profiles_figure(profiles: Frame) -> "Figure | None":
    """Draw the share of all draws and tasks above each share of the dense score."""
    from calib_sweep.analysis.figures import plots

    if profiles.empty:
        return None
    models, methods = (
        list(dict.fromkeys(profiles[name]))[:MAX_CURVES] for name in ("model", "method")
    )
    profiles = profiles[profiles["method"].isin(methods)]
    figure, panels = plots.panels([LINE_PANEL_IN] * len(models), models)
    with plots.plain_style():
        for model, axes in zip(models, panels, strict=True):
            of_model = profiles[profiles["model"] == model]
            for method, own in of_model.groupby("method", sort=False):
                place = methods.index(method)
                colour, line = plots.COLOURS[place % 6], LINES[place % 4]
                columns = (own[name] for name in ("tau", "share", "share_lo", "share_hi"))
                tau, share, low, high = (100 * column.to_numpy(float) for column in columns)
                axes.plot(tau, share, line, color=colour, label=method)
                axes.fill_between(tau, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.set_ylim(0, 103)
            axes.grid(color=plots.PALE, linewidth=0.6)
            axes.set_xlabel("accuracy in a task, % of the dense model's")
            axes.set_ylabel("draws and tasks above it, %")
        plots.legend_below(figure, panels[0], 3)
    return figure


def set_sizes_figure(
    groups: Sequence[Group], metric: str, known: Metrics = OURS
) -> "Figure | None":
    """Draw the SD over draws against samples in a calibration set, pooled over datasets."""
    from calib_sweep.analysis.figures import plots

    own = [g for g in groups if g.metric == metric and g.spread.n > 1 and NUM_SAMPLES in g.settings]
    if len({group.settings[NUM_SAMPLES] for group in own}) < 2:
        return None
    naming, curves = Naming.of_groups(groups), {}
    for group in own:
        curves.setdefault(_without_size(group, naming), []).append(group)
    models, methods = (
        list(dict.fromkeys(names))[:MAX_CURVES] for names in zip(*curves, strict=True)
    )
    figure, panels = plots.panels([LINE_PANEL_IN] * len(models), models)
    with plots.plain_style():
        for model, axes in zip(models, panels, strict=True):
            for index, method in enumerate(methods):
                curve = _pooled(curves.get((model, method), []))
                if curve.size == 0:
                    continue
                size, sd, low, high = curve * [[1], *[[own[0].kind.times]] * 3]
                marker, colour = plots.MARKERS[index % 6], plots.COLOURS[index % 6]
                shifted = size * 1.04 ** (index - len(methods) / 2)
                error = np.vstack([sd - low, high - sd])
                axes.errorbar(
                    shifted,
                    sd,
                    yerr=error,
                    label=method,
                    markersize=4,
                    marker=marker,
                    color=colour,
                )
            plots.log_axis(axes, "x")
            plots.log_axis(axes, "y")
            axes.set_xticks(sorted({_size(group) for group in own}))
            axes.grid(color=plots.PALE, linewidth=0.6)
            unit = " points" if own[0].kind.is_share else ""
            axes.set_ylabel(f"{formatting.named(metric, known)}\nSD over draws{unit and ','}{unit}")
            axes.set_xlabel("samples in a calibration set")
        plots.legend_below(figure, panels[0], 3)
    return figure


def _without_size(group: Group, naming: Naming) -> tuple[str, str]:
    """Return model and method with the settings that tell groups apart, but for the set size."""
    names = naming.of(group)
    size = f"num_samples={group.settings[NUM_SAMPLES]}"
    return names.model, " ".join(word for word in names.method.split() if word != size)


def _size(group: Group) -> float:
    return float(str(group.settings[NUM_SAMPLES]))


def _pooled(groups: Sequence[Group]) -> np.ndarray:
    """Return rows size, SD, and the ends of its interval: root mean square over datasets."""
    columns = []
    for size in sorted({_size(group) for group in groups}):
        alike = [group for group in groups if _size(group) == size]
        df = sum(g.spread.n - 1 for g in alike)
        square = sum((g.spread.n - 1) * g.spread.sd**2 for g in alike)
        sd = math.sqrt(square / df)
        if sd > 0 and math.isfinite(sd):
            square_NE = np.concatenate([(g.value_S - g.value_S.mean()) ** 2 for g in alike])[
                :, None
            ]
            group_N = np.repeat(np.arange(len(alike)), [len(g.value_S) for g in alike])
            low, high = intervals.sd_interval(sd, df + 1.0, inflation(square_NE, group_N)[0])
            columns.append([size, sd, float(low), float(high)])
    return np.array(columns).T
