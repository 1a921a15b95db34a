"""How figures look, and how they become SVG that a page, a printer and a screen reader can all use.

Text stays text (`svg.fonttype: none`), colours are safe for colour-blind readers and every method also has its own
marker. In a page the colours become CSS variables, so that figures follow light and dark (`inline_svg`).
"""

import hashlib
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import Formatter, MaxNLocator

from budama import methods
from budama.reporting.inline import to_attribute

Number = Callable[[float, int], str]  # a value with so many decimals, in the report's language
INK, MUTED, GRID, PAPER = "#1d2026", "#5a6069", "#d9dde3", "#fdfdfe"
WIDTH = 5.8  # inches; narrow enough that its text can be read on a phone
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"

TOKENS = {INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper"}

plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "budama",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": MUTED,
        "axes.titlecolor": INK,
        "axes.titlesize": 9,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.linewidth": 0.8,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "lines.linewidth": 1.8,
        "lines.markersize": 6.5,
        "axes.unicode_minus": True,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "legend.frameon": False,
    }
)


def style(method: str | None) -> tuple[str, str, str]:
    """(colour on white, colour on black, marker) of a method, the same in every figure."""
    row = methods.find(str(method))
    return *row.colour, row.marker


def palette() -> dict[str, tuple[str, str]]:
    """CSS variable of every method colour: (light, dark)."""
    colours = [*(row.colour for row in methods.METHODS.values()), *(colour for colour, _ in methods.SPARE)]
    return {f"--method-{i}": colour for i, colour in enumerate(colours)}


def new(height: float, columns: int = 1, rows: int = 1, **options) -> tuple[Figure, list]:
    """A figure `WIDTH` inches wide and its axes, in a list."""
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False, layout="constrained", **options)
    return figure, list(axes.flat)


def mark(axes, x: float, y: float, method: str | None, **options) -> None:
    """A method's marker, with a rim in the paper's colour so that overlapping ones can be told apart."""
    colour, _, marker = style(method)
    size = {"*": 11, "^": 8, "v": 8, "<": 8, ">": 8, "P": 8, "X": 8, "p": 8.5, "h": 8}.get(marker, 6.6)
    options = {
        "markersize": size,
        "color": colour,
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.7,
        "zorder": 4,
    } | options
    axes.plot([x], [y], marker=MarkerStyle(marker), linestyle="none", **options)


def save(figure: Figure, title: str, description: str) -> str:
    """The figure as a whole SVG file with its text alternative. The same figure gives the same bytes."""
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the measuring font lacks; the reader's font may have them
        figure.savefig(
            file, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Type": None, "Format": None}
        )
    plt.close(figure)
    svg = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"<!DOCTYPE.*?>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\.(\d{2})\d+(?=[\s\"LMCQz])", r".\1", svg)  # a hundredth of a point is enough
    name = "figure-" + hashlib.sha256(f"{title}{description}".encode()).hexdigest()[:8]
    attributes = f'<svg role="img" aria-labelledby="{name}-title {name}-description" '
    alternative = f'<title id="{name}-title">{to_attribute(title)}</title>'
    alternative += f'<desc id="{name}-description">{to_attribute(description)}</desc>'
    svg = svg.replace("<svg ", attributes, 1)
    return re.sub(r"(<svg [^>]*>)", lambda match: match[1] + alternative, svg, count=1)


def inline_svg(svg: str, prefix: str) -> str:
    """The SVG for the inside of a page: no XML head, identifiers that no other figure has, colours from CSS
    variables."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(
        r'\b(id|aria-labelledby)="([^"]+)"',
        lambda m: f'{m[1]}="{" ".join(f"{prefix}-{n}" for n in m[2].split())}"',
        svg,
    )
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{prefix}-\1"', svg)
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", svg, count=1) if "viewBox" in svg else svg
    variables = TOKENS | {light: name for name, (light, _) in palette().items()}
    return re.sub("|".join(variables), lambda match: f"var({variables[match[0]]})", svg)


def row_height(rows: int) -> float:
    """Inches for a row: so many that three ratios of nine methods still fit on a page."""
    return 0.27 if rows <= 16 else 0.2


class Ticks(Formatter):
    """Numbers with just as many decimals as their distance needs: 2.5 apart takes one, 0.02 apart two."""

    def __init__(self, number: Number):
        self.number = number

    def __call__(self, value: float, position=None) -> str:
        return self.number(value, 2)

    def format_ticks(self, values) -> list[str]:
        step = float(f"{np.diff(values).min():.6g}") if len(values) > 1 else 1.0
        decimals = next((d for d in range(9) if abs(step * 10**d - round(step * 10**d)) < 1e-6 * 10**d * step), 9)
        return [self.number(value, decimals) for value in values]


def finish(axis, label: str, number: Number) -> None:
    """An axis's name and ticks."""
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(Ticks(number))
    axis.set_label_text(label, fontsize=8.5)
