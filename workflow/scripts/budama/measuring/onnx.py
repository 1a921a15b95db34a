"""How fast ONNX Runtime runs an exported model, beside PyTorch."""

from pathlib import Path

from torch import Tensor, nn

from budama.measuring import latency
from budama.networks.onnx_file import OnnxModel


def compare(model: nn.Module, path: str | Path, images: Tensor, rounds: int = 30) -> dict:
    """Time of ONNX Runtime beside PyTorch's on the CPU for `images` `[N, C, H, W]`, in interleaved rounds.

    Both take their images as NCHW and use the same number of threads. `ratio` is ONNX Runtime's time over PyTorch's.
    """
    run = latency.compare(
        {latency.BASELINE: model, "onnx": OnnxModel(path)},
        images,
        rounds=rounds,
        channels_last=False,
        limit_seconds=15,
    )
    ours, theirs = run.timings[latency.BASELINE], run.timings["onnx"]
    return {
        "batch_size": len(images),
        "threads": run.threads,
        "pytorch_ms": ours.median_ms,
        "onnx_ms": theirs.median_ms,
        "ratio": theirs.ratio,
        "ratio_interval": theirs.ratio_interval,
        "aa": run.aa and {"ratio": run.aa.ratio, "interval": run.aa.interval, "within": run.aa.within},
        "rounds": run.rounds,
    }
