"""Which channel counts are fast here? Latency of a convolution against its width, as JSON and as a figure.

    python benchmarks/width_latency.py --output widths            # widths.json, widths.svg
    python benchmarks/width_latency.py --device cuda --precision bfloat16 --batch 256 --output widths

What `round_to: auto` measures in a run (budama.measuring.widths), for any layer; the last line says what it would
choose here.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow/scripts"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widest", type=int, default=128, help="channels of the widest layer (default: 128)")
    parser.add_argument("--narrowest", type=int, default=95, help="channels of the narrowest layer (default: 95)")
    parser.add_argument("--side", type=int, default=14, help="height and width of the feature map (default: 14)")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="file name without its ending")
    args = parser.parse_args()
    import torch

    from budama.jobs import provenance
    from budama.measuring import widths
    from budama.pruning import rounding

    if args.threads:
        torch.set_num_threads(args.threads)
    asked = {key: getattr(args, key) for key in ("batch", "precision", "widest", "narrowest", "side", "rounds")}
    measured = {**asked, **widths.measure(args.device, **asked), "environment": provenance.environment()}
    measured["round_to"] = rounding.recommended(measured, args.widest)
    for width, entry in measured["widths"].items():
        low, high = entry["interval"] or (1, 1)
        print(f"{width:>5} channels: {entry['ms']:8.4f} ms, {entry['ratio']:.3f} [{low:.3f}, {high:.3f}]")
    print(f"A/A {measured['aa']['ratio']:.4f}; round_to: {measured['round_to']}")
    if args.output:
        args.output.with_suffix(".json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        draw(measured, args.output.with_suffix(".svg"))


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
