"""How full the layers are: what the readers of each would miss at smaller widths, before any training."""

import numpy as np

from budama.reporting.contract import Curve
from budama.reporting.document import Figure, Section
from budama.reporting.figures.heatmaps import heatmap
from budama.reporting.inline import Inline, to_plain
from budama.reporting.view import Results

REMOVED = (0.1, 0.3, 0.5, 0.7, 0.9)  # shares of a layer's channels
HALF = 0.5


def sections(results: Results) -> list[Section]:
    """One section, where curves were measured."""
    curves = [one for one in results.content["sensitivity"] if len(one["widths"]) > 1]
    if len(curves) < 2:
        return []
    say, language = results.language.say, results.language
    rows = [to_plain(say("sensitivity.removed", share=share)) for share in REMOVED]
    columns = [to_plain(one["name"]) for one in curves]
    values = np.array([[100 * lost(one, share) for one in curves] for share in REMOVED])
    axis = to_plain(say("sensitivity.axis"))

    def draw():
        return heatmap(rows, columns, values, axis, language.number, 0, shares=True)

    items = [
        say("sensitivity.item", layer=one["name"], channels=one["channels"], half=100 * lost(one, HALF))
        for one in curves
    ]
    alternative = Inline("; ".join(items) + ".")
    figure = Figure("sensitivity", say("sensitivity.figure"), _caption(results, curves), alternative, draw, wide=True)
    return [Section("sensitivity", say("sensitivity.title"), [figure])]


def lost(curve: Curve, removed: float) -> float:
    """The share that is missed when so much of a layer is gone, between the measured widths on a line."""
    gone = [1 - width / curve["channels"] for width in curve["widths"]]
    return float(np.interp(removed, gone, curve["lost"]))


def _caption(results: Results, curves: list[Curve]) -> Inline:
    empty, full = (pick(curves, key=lambda one: lost(one, HALF)) for pick in (min, max))
    ends = {
        "empty": empty["name"],
        "low": 100 * lost(empty, HALF),
        "full": full["name"],
        "high": 100 * lost(full, HALF),
    }
    return results.language.say("sensitivity.caption", **ends)
