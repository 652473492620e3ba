"""Plots of `distaim compare`, drawn alike for the same rows, byte for byte."""

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from parties.compare.drawing import (
    colour_of,
    human_bytes,
    human_seconds,
    line_of,
    marker_of,
    spread_apart,
    unit_ticks,
)
from parties.compare.rows import Facts
from parties.compare.statistics import Group
from parties.figures import GREY, Plot

_MAX_COLUMNS = 3
_INTERVALS = "means with 95 % confidence intervals; the tables have the numbers"


def draw_plots(facts: Facts, groups: Sequence[Group], labels: Mapping[str, str]) -> dict[str, Plot]:
    """Draw every plot that the groups have numbers for, by the names of write_plots' files.

    `labels` are the methods' printed names. To be called within plot_style().
    """
    plots = {}
    for name, metric, axis in (
        ("error-epsilon", "error_l1", "mean L1 error over the workload (0 to 2)"),
        ("error-other-epsilon", "error_other_l1", "mean L1 error over other 3-ways (0 to 2)"),
        ("nll-epsilon", "nll", "negative log-likelihood (nats per row)"),
        ("auc-epsilon", "auc", "AUC of a classifier on held-out rows"),
    ):
        if any(group.metrics[metric] for group in groups):
            reference = facts.reference_auc if metric == "auc" else None
            plots[name] = _against_epsilon(groups, labels, metric, axis, reference)
    if sending := [group for group in groups if _mean(group, "bytes_up") > 0]:
        plots["error-bytes"] = _against_bytes(sending, labels)
    bars = [group for group in groups if group.has_bytes]
    sent = {
        "bytes_up": "sent up per holder",
        "bytes_down": "sent down per holder",
        "bytes_servers": "between compute parties, in all",
    }
    shown = {name: title for name, title in sent.items() if any(_mean(g, name) > 0 for g in bars)}
    if shown:
        plots["bytes"] = _bars(bars, labels, shown, human_bytes)
    if any(_mean(group, "seconds") > 0 for group in groups):
        plots["time"] = _bars(groups, labels, {"seconds": "wall time of a run"}, human_seconds)
    return plots


def _mean(group: Group, metric: str) -> float:
    """Return a group's mean, 0 if there is none: such groups have nothing to draw."""
    mean = group.metrics[metric]
    return mean.mean if mean else 0.0


def _against_epsilon(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    metric: str,
    axis: str,
    reference: float | None,
) -> Plot:
    """Draw one line per method with error bars, side by side where they would hide each other."""
    figure = Figure(figsize=(10.2, 4.4), layout="constrained")
    axes = figure.subplots()
    known = [group for group in groups if group.metrics[metric]]
    _epsilon_axis(axes, known)
    is_log = _is_wide([_mean(group, metric) for group in known])
    axes.margins(y=0.1)
    if is_log:
        _log_axis(axes)
    drawn = [method for method in labels if any(g.method == method for g in known)]
    ends = []
    for index, method in enumerate(drawn):
        own = [group for group in known if group.method == method]
        x = [_beside(axes, g.epsilon_value, index - (len(drawn) - 1) / 2) for g in own]
        _error_bars(axes, x, own, metric)
        ends.append((own[-1], (x[-1], _mean(own[-1], metric))))
    if is_log:  # an interval that reaches 0 must not stretch the axis without end
        axes.set_ylim(bottom=min(_mean(group, metric) for group in known) / 2)
    if reference is not None:
        axes.axhline(reference, color=GREY, lw=1, ls=":")
        axes.annotate(
            f"trained on real rows: {reference:.4f}",
            (0.01, reference),
            xycoords=("axes fraction", "data"),
            va="bottom",
        )
    _label_ends(axes, ends, labels)
    axes.set_ylabel(axis)
    axes.grid(axis="y")
    return Plot(figure, f"{axis}, against epsilon, one line per method, {_INTERVALS}")


def _epsilon_axis(axes: Axes, groups: Sequence[Group]) -> None:
    values = {group.epsilon_value: group.epsilon for group in groups}
    low, high = min(values), max(values)
    if _is_wide(list(values)):
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
    else:
        margin = 0.06 * (high - low) or 0.5 * high
        axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(values), list(values.values()))
    axes.set_xlabel("epsilon (more privacy to the left)")


def _is_wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) > 12


def _log_axis(axes: Axes) -> None:
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _beside(axes: Axes, x: float, steps: float) -> float:
    """Move x by a small part of the axis, whatever its scale."""
    to_axes = axes.transScale + axes.transLimits
    along, _ = to_axes.transform((x, 1.0))
    moved, _ = to_axes.inverted().transform((along + 0.006 * steps, 0.5))
    return float(moved)


def _error_bars(axes: Axes, x: Sequence[float], groups: Sequence[Group], metric: str) -> None:
    """Draw the means of one method's groups."""
    means = [mean for group in groups if (mean := group.metrics[metric])]
    axes.errorbar(
        x,
        [mean.mean for mean in means],
        [mean.half_width for mean in means],
        ls=line_of(groups[0]),
        lw=1.4,
        elinewidth=1,
        capsize=2.5,
        **marker_of(groups[0]),
    )


def _label_ends(
    axes: Axes, ends: Sequence[tuple[Group, tuple[float, float]]], labels: Mapping[str, str]
) -> None:
    """Write each method's name right of its last point, spread so that no name hides another."""
    axes.autoscale_view()  # limits are settled lazily, and heights below are parts of the axes
    to_axes = axes.transScale + axes.transLimits
    ordered = sorted(ends, key=lambda end: end[1][1])
    heights = spread_apart([float(to_axes.transform(end)[1]) for _, end in ordered], 0.065)
    for (group, end), height in zip(ordered, heights, strict=True):
        axes.annotate(
            labels[group.method],
            end,
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour_of(group),
                "lw": 0.8,
                "alpha": 0.7,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


def _against_bytes(groups: Sequence[Group], labels: Mapping[str, str]) -> Plot:
    """Draw one panel per epsilon, one point per method: error over what a holder sends up."""
    epsilons = sorted({group.epsilon_value: group.epsilon for group in groups}.items())
    n_columns = min(_MAX_COLUMNS, len(epsilons))
    n_rows = math.ceil(len(epsilons) / n_columns)
    figure = Figure(figsize=(max(6.5, 3.4 * n_columns), 3.0 * n_rows + 0.7), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True).ravel()
    panels[0].set_xscale("log")
    # before anything is drawn: a single point leaves autoscaling nothing to scale to
    sent = [_mean(group, "bytes_up") for group in groups]
    room = max(2.0, (max(sent) / min(sent)) ** 0.12)
    panels[0].set_xlim(min(sent) / room, max(sent) * room)
    if _is_wide([_mean(group, "error_l1") for group in groups]):
        _log_axis(panels[0])
    for axes, (epsilon, text) in zip(panels, epsilons, strict=False):
        for group in groups:
            if group.epsilon_value == epsilon:
                _error_bars(axes, [_mean(group, "bytes_up")], [group], "error_l1")
        axes.set_title(f"epsilon = {text}")
        axes.grid()
    for spare in panels[len(epsilons) :]:
        spare.set_axis_off()
    panels[0].xaxis.set_major_formatter(unit_ticks(human_bytes))
    figure.supxlabel("bytes sent up per holder, mean over holders (log scale)", fontsize=9)
    figure.supylabel("mean L1 error (0 to 2)", fontsize=9)
    _legend(figure, groups, labels)
    return Plot(
        figure,
        "Mean L1 error over the workload against bytes sent up per holder on a log scale, a panel "
        f"per epsilon, a point per method; {_INTERVALS}",
    )


def _legend(figure: Figure, groups: Sequence[Group], labels: Mapping[str, str]) -> None:
    one_each = {group.method: group for group in groups}
    handles = [
        Line2D([], [], ls="none", label=labels[method], **marker_of(group))
        for method, group in one_each.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)


def _bars(
    groups: Sequence[Group],
    labels: Mapping[str, str],
    metrics: Mapping[str, str],
    human: Callable[[float], str],
) -> Plot:
    """Draw a panel of bars per metric on a log scale: a bar per method and epsilon, labelled."""
    epsilons = sorted({group.epsilon_value for group in groups})
    methods = [method for method in labels if any(g.method == method for g in groups)]
    height = 0.6 + len(methods) * (0.12 + 0.17 * len(epsilons))
    figure = Figure(figsize=(10.2, max(1.5, height)), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True).ravel()
    width = 0.85 / len(epsilons)
    for axes, (metric, title) in zip(panels, metrics.items(), strict=True):
        positive = [value for group in groups if (value := _mean(group, metric)) > 0]
        low = 10 ** math.floor(math.log10(min(positive)) - 0.3)
        axes.set_xscale("log")
        axes.set_xlim(low, max(positive) * (max(positive) / low) ** (0.25 * len(metrics)))
        for group in groups:
            order = epsilons.index(group.epsilon_value)
            y = methods.index(group.method) + (order - (len(epsilons) - 1) / 2) * width
            _bar(axes, y, width, low, group, metric, human)
        axes.set_title(title)
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_major_formatter(unit_ticks(human))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(methods)), [labels[method] for method in methods])
    panels[0].invert_yaxis()
    shown = ", ".join(metrics.values())
    return Plot(figure, f"Bars on a log scale, one per method and epsilon: {shown}")


def _bar(
    axes: Axes,
    y: float,
    width: float,
    low: float,
    group: Group,
    metric: str,
    human: Callable[[float], str],
) -> None:
    value = _mean(group, metric)
    if value > 0:
        axes.barh(y, value - low, width * 0.9, left=low, color=colour_of(group), alpha=0.75)
    text = human(value) if value > 0 else "none"
    axes.annotate(
        f"{text} (ε = {group.epsilon})",
        (max(value, low), y),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
    )
