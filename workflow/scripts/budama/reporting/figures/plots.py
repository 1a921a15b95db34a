"""The figures' shapes. Each takes plain series and returns a matplotlib figure; what it means is said in `sections`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from budama.reporting.figures import labels, style
from budama.reporting.figures.style import GRID, INK, MUTED, PAPER


@dataclass(frozen=True)
class Point:
    """A measured value of a method: where, how far it may be off, and each seed's own value."""

    label: str
    method: str | None
    value: float
    interval: tuple[float, float] | None = None
    seeds: list[float] = field(default_factory=list)
    x: float = 0.0
    group: str = ""


@dataclass(frozen=True)
class Line:
    label: str
    method: str | None
    x: Sequence[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None


def forest(
    groups: list[tuple[str, list[Point]]],
    axis: str,
    number: style.Number,
    *,
    reference: tuple[float, str] | None = None,
    band=None,
) -> Figure:
    """A row for every method: value, interval and seeds. `groups` are (heading, points); `reference` a dashed line with
    its name."""
    count = sum(len(points) + bool(heading) for heading, points in groups)
    figure, (axes,) = style.new(0.75 + style.row_height(count) * count)
    ticks, names, row = [], [], 0.0
    if band:
        axes.axvspan(*band, color=GRID, alpha=0.55, linewidth=0, zorder=0)
    if reference:
        axes.axvline(reference[0], color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            reference[1],
            (reference[0], 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=MUTED,
        )
    for heading, points in groups:
        if heading:
            ticks.append(row)
            names.append((heading, True))
            row += 1
        for point in points:
            colour = style.style(point.method)[0]
            if point.interval:
                axes.plot(point.interval, [row, row], color=colour, linewidth=2.2, solid_capstyle="round", zorder=3)
            for seed in point.seeds if len(point.seeds) > 1 else []:
                axes.plot([seed], [row + 0.27], marker="|", markersize=4, color=colour, zorder=3)
            style.mark(axes, point.value, row, point.method)
            ticks.append(row)
            names.append((point.label, False))
            row += 1
    axes.set_ylim(row - 0.4, -0.75)
    axes.set_yticks(ticks, [label for label, _ in names])
    for tick, (_, bold) in zip(axes.get_yticklabels(), names):
        tick.set_fontweight("bold" if bold else "normal")
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    style.finish(axes.xaxis, axis, number)
    axes.margins(x=0.06)
    return figure


def scatter(
    points: list[Point], origin: Point, x_axis: str, y_axis: str, number: style.Number, *, paths: bool, front: str
) -> Figure:
    """Accuracy against cost, with intervals; `paths` joins a method's ratios, and a line named `front` the undominated
    points."""
    figure, (axes,) = style.new(3.7)
    if paths:
        for method in dict.fromkeys(point.method for point in points):
            own = sorted((p for p in [*points, origin] if p.method in (method, None)), key=lambda p: p.x)
            axes.plot(
                [p.x for p in own],
                [p.value for p in own],
                color=style.style(method)[0],
                linewidth=1.1,
                alpha=0.55,
                zorder=2,
            )
    edge = undominated([*points, origin])
    axes.plot(
        [p.x for p in edge],
        [p.value for p in edge],
        color=MUTED,
        linewidth=1,
        linestyle=(0, (1, 2)),
        zorder=1,
        label=front,
        drawstyle="steps-post",
    )
    for point in [*points, origin]:
        if point.interval:
            colour = style.style(point.method)[0] if point.method else INK
            axes.plot(
                [point.x] * 2, point.interval, color=colour, linewidth=1.6, alpha=0.8, zorder=3, solid_capstyle="round"
            )
        if point.method:
            style.mark(axes, point.x, point.value, point.method)
        else:
            axes.plot(
                [point.x],
                [point.value],
                marker="o",
                markersize=7,
                color=PAPER,
                markeredgecolor=INK,
                markeredgewidth=1.6,
                zorder=4,
            )
    style.finish(axes.xaxis, x_axis, number)
    style.finish(axes.yaxis, y_axis, number)
    low, high = min(p.x for p in [*points, origin]), max(p.x for p in [*points, origin])
    span = (high - low) or abs(high) or 1
    axes.set_xlim(
        low - 0.24 * span, high + 0.16 * span
    )  # room for the names on the left and the baseline's on the right
    axes.margins(y=0.1)
    axes.legend(loc="lower right", fontsize=8, labelcolor=MUTED)
    labels.beside_points(figure, axes, labels.outermost(points) if paths else points, origin)
    return figure


def undominated(points: list[Point]) -> list[Point]:
    """The points than which no other is both cheaper and more accurate, the cheapest first."""
    edge: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.value)):
        if not edge or point.value > edge[-1].value:
            edge.append(point)
    return edge


def lines(
    panels: list[tuple[str, list[Line]]],
    x_axis: str,
    y_axis: str,
    number: style.Number,
    *,
    stages=None,
    reference=None,
    marks: list[int] | None = None,
) -> Figure:
    """A panel for every ratio, in which every method has a line with its name at the end. `stages` names the x
    positions; `marks` are where the x axis has its numbers."""
    height = {1: 2.9, 2: 2.5}.get(len(panels), 2.2)
    figure, axes = style.new(0.3 + height * len(panels), 1, len(panels), sharey=True, sharex=not stages)
    for axis, (title, series) in zip(axes, panels):
        if title:
            axis.set_title(title)
        for line in series:
            colour, _, marker = style.style(line.method) if line.method else (INK, "", "o")
            if line.low and line.high:
                axis.fill_between(line.x, line.low, line.high, color=colour, alpha=0.13, linewidth=0)
            few = len(line.x) <= 12
            axis.plot(
                line.x,
                line.y,
                color=colour,
                marker=marker if few else None,
                markersize=5,
                markeredgecolor=PAPER,
                markeredgewidth=0.7,
                linestyle="-" if line.method else (0, (4, 3)),
                zorder=3,
            )
        if reference:
            axis.axhline(reference[0], color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        last = max((line.x[-1] for line in series), default=1)
        first = min((line.x[0] for line in series), default=0)
        axis.set_xlim(first - 0.03 * (last - first or 1), last + 0.03 * (last - first or 1))
        style.finish(axis.yaxis, y_axis, number)
        if stages:
            axis.set_xticks(range(len(stages)), [stage.replace(" ", "\n") for stage in stages], fontsize=8)
        else:
            axis.xaxis.set_major_locator(FixedLocator(marks) if marks else MaxNLocator(8, integer=True))
            axis.set_xlabel(x_axis if axis is axes[-1] else "")
        axis.grid(bool(stages), axis="x")
    figure.draw_without_rendering()
    for axis, (_, series) in zip(axes, panels):
        ends = [(line.y[-1], line.label, style.style(line.method)[0] if line.method else INK) for line in series]
        if reference:
            ends.append((reference[0], reference[1], INK))
        labels.at_ends(figure, axis, ends)
    return figure


def dumbbell(
    rows: list[tuple[str, str, float, float]], names: tuple[str, str], axis: str, number: style.Number
) -> Figure:
    """(label, method, here, there) a row: a filled marker for this scenario, a hollow one for the other."""
    figure, (axes,) = style.new(1.0 + 0.3 * len(rows))
    for i, (_, method, here, there) in enumerate(rows):
        colour, _, marker = style.style(method)
        axes.plot([there, here], [i, i], color=colour, linewidth=2, alpha=0.45, zorder=2)
        axes.plot(
            [there],
            [i],
            marker=marker,
            markersize=6.2,
            color=PAPER,
            markeredgecolor=colour,
            markeredgewidth=1.5,
            zorder=3,
        )
        style.mark(axes, here, i, method)
    axes.plot([], [], marker="o", linestyle="none", color=MUTED, label=names[0])
    axes.plot(
        [], [], marker="o", linestyle="none", color=PAPER, markeredgecolor=MUTED, markeredgewidth=1.5, label=names[1]
    )
    axes.set_yticks(range(len(rows)), [label for label, *_ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    style.finish(axes.xaxis, axis, number)
    axes.margins(x=0.06)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8, borderaxespad=0.2, handletextpad=0.2)
    return figure
