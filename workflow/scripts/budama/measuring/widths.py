"""Which channel counts are fast on this machine: latency of a convolution against its width.

Pruning leaves odd widths (230 of 256 channels), for which libraries may have slow kernels or none. Where multiples of 8
or 16 are faster than the widths just below them, rounding up gives speed for nothing: `rounding` chooses.
"""

from __future__ import annotations

import torch
from torch import nn

from budama.measuring import latency

WIDEST, NARROWEST, SIDE, ROUNDS = 128, 95, 14, 15  # three multiples of 16, each with the width below it


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
    layers = {latency.BASELINE: layers.pop(str(widest)), **layers}
    images = torch.zeros(1, 1, 1, 1, device=device)
    run = latency.compare(
        layers, images, rounds=rounds, precision=precision, channels_last=channels_last, limit_seconds=300,
        cuda_graph=images.is_cuda,  # called, a layer takes as long as the CPU takes to start it, whatever its width
    )  # fmt: skip
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
