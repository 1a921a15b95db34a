"""The multiple that channel counts are kept to, chosen by how long a layer takes at every width."""

import statistics

UNITS = (32, 16, 8, 4, 2)
WORTH = 0.98  # rounding up is worth it where it is at least 2 % faster
MOSTLY = 0.75  # of a unit's multiples must be faster at all: one fast width makes no rule
SHARE = 4  # a unit is at most this part of the narrowest layer, of which rounding would else remove all or nothing


def recommended(measured: dict, narrowest: int) -> int:
    """The largest unit whose multiples are clearly faster than the width that is one channel narrower; 1 for none.

    `measured` is what `widths.measure` gives, `narrowest` the channels of the narrowest layer that is pruned. A layer
    one channel below a multiple is the one that gains most by rounding up; where even it gains nothing, no rounding
    helps. A unit must also gain more than the widths halfway between its multiples do.
    """
    ratios = {int(width): entry["ratio"] for width, entry in measured["widths"].items()}
    steps = {width: ratios[width] / ratios[width - 1] for width in ratios if width - 1 in ratios}
    for unit in (unit for unit in UNITS if SHARE * unit <= narrowest):
        gains = [gain for width, gain in steps.items() if width % unit == 0]
        halfway = [gain for width, gain in steps.items() if width % unit == unit // 2]
        if len(gains) < 2 or sum(gain < 1 for gain in gains) < MOSTLY * len(gains):
            continue
        gain = statistics.median(gains)
        if gain < WORTH and (not halfway or gain < WORTH * statistics.median(halfway)):
            return unit
    return 1
