"""The report before it has a form: sections of paragraphs, lists, tables, figures and notes, their text being
`inline.Inline`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from budama.reporting.inline import Inline, to_plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure


NOTHING = Inline("")


@dataclass(frozen=True)
class Paragraph:
    text: Inline
    kind: str = "paragraph"


@dataclass(frozen=True)
class Facts:
    """Label and value, a line each."""

    items: list[tuple[Inline, Inline]]
    kind: str = "facts"


@dataclass(frozen=True)
class Bullets:
    """A list; `marks` stand before its items instead of bullets (the places of a ranking)."""

    items: list[Inline]
    ordered: bool = False
    marks: list[str] = field(default_factory=list)
    kind: str = "bullets"


@dataclass(frozen=True)
class Callout:
    """A warning (`tone` "warning") or a remark ("note")."""

    title: Inline
    text: Inline
    tone: str = "warning"
    kind: str = "callout"


@dataclass(frozen=True)
class Tile:
    """One answer of the summary: for what, what, and how far."""

    label: Inline
    value: Inline
    detail: Inline


@dataclass(frozen=True)
class Tiles:
    items: list[Tile]
    kind: str = "tiles"


@dataclass(frozen=True)
class Column:
    title: Inline
    numeric: bool = True


@dataclass(frozen=True)
class Cell:
    """What a cell shows, the small print below it (an interval), and what it sorts by."""

    text: Inline
    detail: Inline = NOTHING
    sort: float | str | None = None


@dataclass(frozen=True)
class TableRow:
    """`tone`: "" or "baseline" (stays on top when sorted), "best", "unavailable"."""

    cells: list[Cell]
    tone: str = ""


@dataclass(frozen=True)
class Table:
    name: str
    caption: Inline
    columns: list[Column]
    rows: list[TableRow]
    notes: list[Inline] = field(default_factory=list)
    kind: str = "table"


@dataclass(frozen=True)
class Figure:
    """`draw` makes the matplotlib figure; `caption` says what to see in it, `alternative` tells who cannot see it
    everything."""

    name: str
    title: Inline
    caption: Inline
    alternative: Inline
    draw: Callable[[], "MatplotlibFigure"]
    wide: bool = False
    number: int = 0
    kind: str = "figure"

    @cached_property
    def svg(self) -> str:
        """A whole SVG file, drawn when it is first asked for."""
        from budama.reporting.figures import style

        return style.save(self.draw(), to_plain(self.title), to_plain(self.alternative))


@dataclass(frozen=True)
class Code:
    """Text as it is, folded where the form can: the configuration."""

    title: Inline
    text: str
    language: str = "json"
    kind: str = "code"


@dataclass(frozen=True)
class Explorer:
    """The figure that answers when touched, for forms that can; `board` is what board.py gives."""

    title: Inline
    text: Inline
    board: dict
    kind: str = "explorer"


Block = Paragraph | Facts | Bullets | Callout | Tiles | Table | Figure | Code | Explorer


@dataclass(frozen=True)
class Section:
    name: str
    title: Inline
    blocks: Sequence[Block]
    level: int = 2
    kind: str = "section"


@dataclass(frozen=True)
class Document:
    """`summary` and `warnings` stand before the sections; `facts` is the line under the title."""

    language: str
    title: Inline
    subtitle: Inline
    facts: list[Inline]
    summary: Sequence[Block]
    sections: list[Section]
    date: str = ""
    footer: Inline = NOTHING  # how the page ends, where it is not a report

    @property
    def figures(self) -> list[Figure]:
        """Every figure, in order."""
        blocks = [block for section in self.sections for block in section.blocks]
        return [block for block in blocks if isinstance(block, Figure)]
