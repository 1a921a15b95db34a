"""All that is known about each pruning method, one row a method; its score alone stands in `pruning/criteria`.

The configuration's schema, the statistics, the sentences and the figures read it here. A new method is a row, its class
in `pruning/criteria`, which names the row, and its sentence under `methods` in each of `reporting/templates/*.yaml`.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """A pruning method, or a control: what a method must beat to have shown anything.

    Attributes:
        name: as in a scenario file.
        needs: what its score reads; moments are of the inputs of all layers, which prune collects itself.
        paper: where it comes from.
        colour: in figures, on a light and on a dark page.
        marker: in figures, one of matplotlib's.
        family: what the report compares, where it does.
        seeded: whether the seed decides which channels go, or the weights of those that stay.
        control: whether it is one; the others are judged, a control is not.
        reference: whether it is the control that the others' choice of channels is tested against.
        new_weights: whether the pruned structure is trained from new weights.
        merges: whether channels that are alike become one, where others remove channels.
        unpruned: whether nothing is removed: the original itself, which goes through all else that pruned models do.
    """

    name: str
    needs: Literal["weights", "activations", "gradients", "moments"]
    paper: str
    colour: tuple[str, str]
    marker: str
    family: Literal["classic", "modern"] | None = None
    seeded: bool = False
    control: bool = False
    reference: bool = False
    new_weights: bool = False
    merges: bool = False
    unpruned: bool = False


# Colours are dark enough for text on white (WCAG 4.5:1), hues after Okabe and Ito 2008 and Tol 2021.
# fmt: off
COVERAGE = Method("coverage", "activations", "Pei et al. 2017, section 4.1; Hu et al. 2016, eq. 1",
                  ("#8c3a8c", "#da8fda"), "D", family="modern")
WANDA = Method("wanda", "activations", "Sun et al. 2024, eq. 1, summed to channels",
               ("#00795a", "#3fcf9f"), "^", family="modern")
MAGNITUDE = Method("magnitude", "weights", "Li et al. 2017; Fang et al. 2023, eq. 5",
                   ("#0065a8", "#5db4f0"), "o", family="classic")
TAYLOR = Method("taylor", "gradients", "Molchanov et al. 2019, eq. 8",
                ("#c24a00", "#ff9a5c"), "s", family="classic")
RANDOM = Method("random", "weights", "Blalock et al. 2020, section 4.5",
                ("#63676e", "#b3b8c0"), "h", seeded=True, control=True, reference=True)
FPGM = Method("fpgm", "weights", "He et al. 2019, eq. 4", ("#8a6500", "#e0b94a"), "v")
BN_SCALE = Method("bn_scale", "weights", "Liu et al. 2017, section 3", ("#00788c", "#57cfe3"), "p")
LAMP = Method("lamp", "weights", "Lee et al. 2021, eq. 3", ("#8a2f3c", "#f08a97"), "P")
L1 = Method("l1", "weights", "Li et al. 2017, section 3.1", ("#3a6b1f", "#98d46f"), "<")
FLAP = Method("flap", "activations", "An et al. 2024, summed to channels", ("#a8326e", "#f58ec2"), ">")
OBS = Method("obs", "moments", "Hassibi and Stork 1993; Kurtic et al. 2023", ("#35506b", "#9cc3ea"), "d")
FOLD = Method("fold", "weights", "Wang et al. 2025", ("#7a2fb0", "#cf9cf7"), "$\u25a3$", merges=True)
HESSIAN = Method("hessian", "gradients", "LeCun et al. 1990, eq. 5", ("#4b4fa8", "#a5a8ff"), "X")
SCRATCH = Method("scratch", "weights", "Liu et al. 2019, section 3",
                 ("#7a5f4a", "#d3b49c"), "*", seeded=True, control=True, new_weights=True)
ORIGINAL_FT = Method("original_ft", "weights", "Wang et al. 2023, section 3",
                     ("#4d5a12", "#c9d86a"), "H", control=True, unpruned=True)
# fmt: on

# Messages, pages and registries list the methods in this order.
METHODS = {
    row.name: row
    for row in (
        *(COVERAGE, WANDA, MAGNITUDE, TAYLOR, RANDOM, FPGM, BN_SCALE, LAMP),
        *(L1, FLAP, OBS, FOLD, HESSIAN, SCRATCH, ORIGINAL_FT),
    )
}

SPARE = (  # (colour, marker) for methods that the table lacks
    (("#6b5d00", "#d6c85a"), "8"),
    (("#5a3d8f", "#c3a6f5"), "$\u25c6$"),
    (("#1d6a5a", "#6fd6c0"), "$\u25a0$"),
)


def find(name: str) -> Method:
    """The row of a method. Results of another version may name one that the table lacks: it gets a spare colour, and
    nothing is known about it."""
    if name in METHODS:
        return METHODS[name]
    colour, marker = SPARE[int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(SPARE)]
    return Method(name, "weights", "", colour, marker)
