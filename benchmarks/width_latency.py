"""Which channel counts are fast here? Latency of a convolution against its width, as JSON and as a figure.

    python benchmarks/width_latency.py --output widths            # widths.json, widths.svg
    python benchmarks/width_latency.py --device cuda --precision bfloat16 --batch 256 --output widths

Pruning leaves odd widths (230 of 256 channels), for which libraries may have slow kernels or none. A width's time is
held against the widest's in shuffled rounds, as in the `benchmark` stage. Where a multiple of 8 or 16 is faster than
the width just below it, `round_to: 8` or `16` gives speed for nothing; the last line says what was found here.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))

UNITS = (32, 16, 8, 4, 2)
WORTH = 0.98  # rounding up is worth it where it is at least 2 % faster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widest", type=int, default=128, help="channels of the widest layer (default: 128)")
    parser.add_argument("--narrowest", type=int, default=96, help="channels of the narrowest layer (default: 96)")
    parser.add_argument("--side", type=int, default=14, help="height and width of the feature map (default: 14)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="file name without its ending")
    args = parser.parse_args()
    measured = measure(args)
    for width, entry in measured["widths"].items():
        low, high = entry["interval"] or (1, 1)
        print(f"{width:>5} channels: {entry['ms']:8.4f} ms, {entry['ratio']:.3f} [{low:.3f}, {high:.3f}]")
    print(f"A/A {measured['aa']['ratio']:.4f}; round_to: {recommended(measured)}")
    if args.output:
        measured["round_to"] = recommended(measured)
        args.output.with_suffix(".json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        draw(measured, args.output.with_suffix(".svg"))


def measure(args) -> dict:
    """Time a 3 × 3 convolution with as many inputs as outputs at every width."""
    import torch
    from torch import nn

    from budama import latency, provenance

    if args.threads:
        torch.set_num_threads(args.threads)
    widths = list(range(args.widest, args.narrowest - 1, -1))

    class Layer(nn.Module):
        """Takes the same images at every width, and uses as many of their channels as it has."""

        def __init__(self, width: int):
            super().__init__()
            self.width, self.conv = width, nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.register_buffer("images", torch.randn(args.batch, width, args.side, args.side))

        def forward(self, unused):
            return self.conv(self.images)

    models = {str(width): Layer(width) for width in widths}
    layers = {latency.BASELINE: models.pop(str(args.widest)), **models}
    images = torch.zeros(1, 1, 1, 1, device=args.device)
    run = latency.compare(layers, images, rounds=args.rounds, precision=args.precision, limit_seconds=300)
    timings = {args.widest: run.timings[latency.BASELINE], **{int(w): run.timings[w] for w in models}}
    return {
        **{key: value for key, value in vars(args).items() if key != "output"},
        "threads": torch.get_num_threads(),
        "environment": provenance.environment(),
        "aa": {"ratio": run.aa.ratio, "interval": run.aa.interval},
        "widths": {
            width: {"ms": timing.median_ms, "ratio": timing.ratio, "interval": timing.ratio_interval}
            for width, timing in sorted(timings.items())
        },
    }


def recommended(measured: dict) -> int | None:
    """The largest unit whose multiples are, in the median, clearly faster than the width that is one channel narrower.

    A layer one channel below a multiple is the one that gains most by rounding up; where even it gains nothing, no
    rounding helps, and None is returned.
    """
    from statistics import median

    ratios = {int(width): entry["ratio"] for width, entry in measured["widths"].items()}
    for unit in UNITS:
        gains = [ratios[w] / ratios[w - 1] for w in ratios if w % unit == 0 and w - 1 in ratios]
        finer = [ratios[w] / ratios[w - 1] for w in ratios if w % unit == unit // 2 and w - 1 in ratios]
        if len(gains) >= 2 and median(gains) < WORTH and (not finer or median(gains) < WORTH * median(finer)):
            return unit
    return None


def draw(measured: dict, path: Path) -> None:
    """Ratio against width with intervals; multiples of 8 are marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    widths = [int(width) for width in measured["widths"]]
    entries = list(measured["widths"].values())
    ratios = [entry["ratio"] for entry in entries]
    ends = [entry["interval"] or (entry["ratio"], entry["ratio"]) for entry in entries]
    figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    axes.fill_between(widths, [low for low, _ in ends], [high for _, high in ends], alpha=0.2, linewidth=0)
    axes.plot(widths, ratios, linewidth=1)
    eights = [i for i, width in enumerate(widths) if width % 8 == 0]
    axes.plot([widths[i] for i in eights], [ratios[i] for i in eights], "o", label="multiple of 8")
    squares = [(width / measured["widest"]) ** 2 for width in widths]
    axes.plot(widths, squares, ":", color="gray", label="in proportion to MACs")
    axes.set(xlabel="channels", ylabel=f"time, {measured['widest']} channels = 1")
    axes.legend(frameon=False)
    axes.set_title(
        f"3 × 3 convolution at {measured['side']} × {measured['side']}, batch {measured['batch']}, "
        f"{measured['precision']}, {measured['environment']['gpu'] or measured['environment']['cpu']}",
        fontsize=9,
    )
    figure.savefig(path)


if __name__ == "__main__":
    main()
