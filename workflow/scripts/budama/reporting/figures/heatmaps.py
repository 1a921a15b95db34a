"""Tables of numbers as colours: channels kept by layer, accuracy gained and lost by class."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from budama.reporting.figures import style
from budama.reporting.figures.style import MUTED, PAPER

KEPT = LinearSegmentedColormap.from_list("kept", ["#5b1e66", "#a63d77", "#de7a6c", "#f6c08a", "#f7f1e3"], N=48)
SHARE = LinearSegmentedColormap.from_list("share", ["#f6f4f1", "#7fb2da", "#0a4f86"], N=48)
CHANGE = LinearSegmentedColormap.from_list("change", ["#9c3f00", "#e59a5c", "#f6f4f1", "#7fb2da", "#0a4f86"], N=48)


def heatmap(
    rows: list[str],
    columns: list[str],
    values: np.ndarray,
    colour_axis: str,
    number: style.Number,
    decimals: int,
    *,
    diverging=False,
    shares=False,
) -> Figure:
    """A cell for every row and column; the value is written into the cell where there is room for it.

    `diverging`: gains and losses about 0; `shares`: parts of 100, of which most are near 0.
    """
    count = len(columns)
    rotated = count > 6
    longest = max((len(name) for name in columns), default=1)
    figure, (axes,) = style.new(
        1.15 + style.row_height(len(rows)) * len(rows) + (min(0.065 * longest, 1.6) if rotated else 0.1)
    )
    if diverging:
        bound = max(float(np.nanmax(np.abs(values))), 1e-9)
        image = axes.pcolormesh(
            values, cmap=CHANGE, norm=TwoSlopeNorm(0, -bound, bound), edgecolors=PAPER, linewidth=0.8
        )
    else:
        low = 0.0 if shares else min(float(np.nanmin(values)), 50.0)
        image = axes.pcolormesh(
            values,
            cmap=SHARE if shares else KEPT,
            vmin=low,
            vmax=100,
            edgecolors=PAPER,
            linewidth=0.8 if count < 80 else 0,
        )
    axes.invert_yaxis()
    step = max(1, -(-count // 34))
    shown = list(range(0, count, step))
    axes.set_xticks(
        [i + 0.5 for i in shown], [_shorten(columns[i]) for i in shown], rotation=90 if rotated else 0, fontsize=7.5
    )
    axes.set_yticks([i + 0.5 for i in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if count <= 15:
        _write_cells(axes, image, values, lambda value: number(value, decimals))
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", shrink=0.45, aspect=32, pad=0.02, anchor=(0, 1))
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8)
    bar.ax.grid(False)
    bar.set_label(colour_axis, fontsize=8, color=MUTED, loc="left")
    bar.ax.xaxis.set_major_locator(MaxNLocator(5))
    bar.ax.xaxis.set_major_formatter(style.Ticks(number))
    return figure


def _write_cells(axes, image, values: np.ndarray, number) -> None:
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5
        axes.text(
            column + 0.5,
            row + 0.5,
            number(value),
            ha="center",
            va="center",
            fontsize=7.5,
            color="#ffffff" if dark else "#111111",
        )


def _shorten(name: str) -> str:
    return name if len(name) <= 22 else name[:10] + "…" + name[-11:]
