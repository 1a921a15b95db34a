"""Names written beside points and lines instead of in a legend, moved apart where they would overlap."""

from matplotlib.figure import Figure

from budama.reporting.figures import style
from budama.reporting.figures.style import GRID


def spread(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Positions moved as little as possible so that neighbours are `gap` apart, between `low` and `high` where they
    fit."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    clusters: list[list] = []  # [members, centre]
    for i in order:
        clusters.append([[i], min(max(positions[i], low), high)])
        while len(clusters) > 1 and _edge(clusters[-1], -gap) < _edge(clusters[-2], gap) + gap:
            upper, lower = clusters.pop(), clusters.pop()
            members = lower[0] + upper[0]
            centre = sum(positions[m] for m in members) / len(members)
            half = gap * (len(members) - 1) / 2
            clusters.append([members, min(max(centre, low + half), max(high - half, low + half))])
    moved = [0.0] * len(positions)
    for members, centre in clusters:
        for rank, member in enumerate(members):
            moved[member] = centre + gap * (rank - (len(members) - 1) / 2)
    return moved


def _edge(cluster: list, gap: float) -> float:
    """Where the outermost member of a cluster [members, centre] lies, on the side of the sign of `gap`."""
    members, centre = cluster
    return centre + gap * (len(members) - 1) / 2


def outermost(points: list) -> list:
    """Of every method the point with the lowest cost: where its path ends."""
    return [
        min((p for p in points if p.method == method), key=lambda p: p.x)
        for method in dict.fromkeys(p.method for p in points)
    ]


def beside_points(figure: Figure, axes, points: list, origin) -> None:
    """Names left of the points, moved apart where they would overlap; the baseline's is on its right."""
    figure.draw_without_rendering()
    axes.annotate(
        origin.label,
        (origin.x, origin.value),
        xytext=(9, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=8.5,
    )
    to_pixels = axes.transData
    low, high = axes.get_window_extent().y0 + 6, axes.get_window_extent().y1 - 6
    gap = 11 * figure.dpi / 72
    for column in _columns(points, to_pixels, 60 * figure.dpi / 72):
        heights = [to_pixels.transform((p.x, p.value))[1] for p in column]
        places = [to_pixels.transform((p.x, p.value))[0] for p in column]
        for point, x, y, height in zip(column, places, heights, spread(heights, gap, low, high)):
            axes.annotate(
                point.label,
                (point.x, point.value),
                xytext=((min(places) - x) * 72 / figure.dpi - 12, (height - y) * 72 / figure.dpi),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8.5,
                color=style.style(point.method)[0],
                annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": GRID, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 4},
            )


def _columns(points: list, to_pixels, width: float) -> list[list]:
    """Points in groups of nearly the same x."""
    groups: list[list] = []
    for point in sorted(points, key=lambda p: p.x):
        x = to_pixels.transform((point.x, 0))[0]
        if groups and x - to_pixels.transform((groups[-1][0].x, 0))[0] < width:
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def at_ends(figure: Figure, axes, ends: list[tuple[float, str, str]]) -> None:
    """Names at the lines' right ends, moved apart where they would overlap."""
    box = axes.get_window_extent()
    heights = [axes.transData.transform((0, y))[1] for y, _, _ in ends]
    gap = 10.5 * figure.dpi / 72
    for (_, label, colour), height in zip(ends, spread(heights, gap, box.y0 + 4, box.y1 - 2)):
        axes.annotate(
            label,
            (1, (height - box.y0) / box.height),
            xycoords="axes fraction",
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
            annotation_clip=False,
        )
