"""Which channel counts are fast on this machine: latency of a convolution against its width.

Pruning leaves odd widths (230 of 256 channels), for which libraries may have slow kernels or none. Where a multiple of
8 or 16 is faster than the width just below it, rounding up gives speed for nothing; `round_to: auto` does so.
"""

from __future__ import annotations

import statistics

import torch
from torch import nn

from budama import latency

WIDEST, NARROWEST, SIDE, ROUNDS = 128, 96, 14, 15
UNITS = (32, 16, 8, 4, 2)
WORTH = 0.98  # rounding up is worth it where it is at least 2 % faster


class _Layer(nn.Module):
    """A 3 × 3 convolution over images of its own, so that layers of every width take one and the same input."""

    def __init__(self, width: int, side: int, batch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.register_buffer("images", torch.randn(batch, width, side, side))

    def forward(self, _unused: torch.Tensor) -> torch.Tensor:
        return self.conv(self.images)


def measure(
    device: torch.device | str = "cpu",
    *,
    batch: int = 1,
    precision: str = "float32",
    channels_last: bool = True,
    widest: int = WIDEST,
    narrowest: int = NARROWEST,
    side: int = SIDE,
    rounds: int = ROUNDS,
) -> dict:
    """Time a 3 × 3 convolution with as many inputs as outputs at every width, on `side` × `side` feature maps.

    All widths take turns in shuffled rounds, as models do in the `benchmark` stage. The result is JSON: what was asked
    for, `aa` (the widest against its copy), and by width `ms`, `ratio` (its time over the widest's) and `interval`.
    """
    layers = {str(width): _Layer(width, side, batch) for width in range(widest, narrowest - 1, -1)}
    if channels_last:
        for layer in layers.values():
            layer.images = layer.images.contiguous(memory_format=torch.channels_last)
    layers = {latency.BASELINE: layers.pop(str(widest)), **layers}
    images = torch.zeros(1, 1, 1, 1, device=device)
    run = latency.compare(
        layers, images, rounds=rounds, precision=precision, channels_last=channels_last, limit_seconds=300
    )
    timings = {widest: run.timings[latency.BASELINE]}
    timings |= {int(label): timing for label, timing in run.timings.items() if label != latency.BASELINE}
    return {
        "batch": batch,
        "precision": precision,
        "channels_last": channels_last,
        "side": side,
        "threads": run.threads,
        "aa": {"ratio": run.aa.ratio, "interval": run.aa.interval} if run.aa else None,
        "widths": {
            str(width): {"ms": timing.median_ms, "ratio": timing.ratio, "interval": timing.ratio_interval}
            for width, timing in sorted(timings.items())
            if timing.ratio is not None
        },
    }


def recommended(measured: dict) -> int:
    """The largest unit whose multiples are, in the median, clearly faster than the width that is one channel narrower.

    A layer one channel below a multiple is the one that gains most by rounding up; where even it gains nothing, no
    rounding helps, and 1 is returned.
    """
    ratios = {int(width): entry["ratio"] for width, entry in measured["widths"].items()}
    for unit in UNITS:
        gains = [ratios[w] / ratios[w - 1] for w in ratios if w % unit == 0 and w - 1 in ratios]
        finer = [ratios[w] / ratios[w - 1] for w in ratios if w % unit == unit // 2 and w - 1 in ratios]
        gain = statistics.median(gains) if len(gains) >= 2 else 1
        if gain < WORTH and (not finer or gain < WORTH * statistics.median(finer)):
            return unit
    return 1
