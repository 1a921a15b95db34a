"""Which architectures can be pruned: every one is built with random weights, pruned, saved, loaded again and exported.

    python benchmarks/model_table.py [NAME ...] [--ratio 0.3] [--methods magnitude wanda] [--no-onnx]

Prints a Markdown table, a row an architecture: the input, and for each method what is left of the parameters and MACs,
whether the checkpoint gives bit-equal outputs after loading; and for the last method's model the greatest difference
between ONNX Runtime's logits and PyTorch's, relative to the greatest logit.
"""

import argparse
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import torch

from budama import calibration, checkpoint, complexity, export, models, pruning
from budama.errors import BudamaError

CLASSES = 10
TORCHVISION = {
    "resnet18": 64, "resnet34": 64, "resnet50": 64, "resnet101": 64, "resnext50_32x4d": 64, "wide_resnet50_2": 64,
    "vgg16_bn": 64, "densenet121": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64, "mobilenet_v3_large": 64,
    "efficientnet_b0": 64, "efficientnet_b4": 96, "regnet_x_400mf": 64, "regnet_y_400mf": 64,
    "shufflenet_v2_x1_0": 64, "squeezenet1_1": 64, "googlenet": 64, "inception_v3": 96, "convnext_tiny": 64,
    "vit_b_16": 64, "swin_t": 64,
}  # fmt: skip
TIMM = {
    "resnet50": 64, "seresnet50": 64, "resnest14d": 64, "repvgg_a0": 64, "mobilenetv3_large_100": 64,
    "mobilenetv4_conv_small": 64, "efficientnet_b0": 64, "tf_efficientnetv2_s": 64, "regnety_004": 64,
    "convnext_atto": 64, "convnextv2_atto": 64, "ghostnet_100": 64, "dla34": 64, "hrnet_w18_small": 64,
    "mobilevit_s": 64, "vit_tiny_patch16_224": 64, "deit_tiny_patch16_224": 64, "deit3_small_patch16_224": 64,
    "swin_tiny_patch4_window7_224": 224, "cspdarknet53": 64,
}  # fmt: skip
# By name only: the dependency graph takes minutes over these, or does not follow them.
SLOW = {
    "rexnet_100": 64,
    "mixnet_s": 64,
    "nfnet_f0": 64,
    "efficientformerv2_s0": 64,
    "fastvit_t8": 64,
    "edgenext_small": 64,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these alone (default: all)")
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--methods", nargs="+", default=["magnitude", "wanda"])
    parser.add_argument("--no-onnx", action="store_true")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one architecture")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    signal.signal(signal.SIGALRM, _too_long)
    headings = "".join(f" {method}: parameters | MACs | reload |" for method in arguments.methods)
    print(f"| model | input | layers pruned |{headings} ONNX | seconds |")
    print("|---|---|---|" + "---|---|---|" * len(arguments.methods) + "---|---|", flush=True)
    for source, table in ("torchvision", TORCHVISION), ("timm", {**TIMM, **SLOW}):
        for name, size in table.items():
            asked = {name, f"{source}/{name}"} & set(arguments.names) or (not arguments.names and name not in SLOW)
            if not asked:
                continue
            start = time.perf_counter()
            signal.alarm(arguments.timeout)
            try:
                cells = row(source, name, size, arguments)
            except Exception as error:
                text = " ".join(str(error).split())[:300]
                cells = f" **no**: {type(error).__name__}: {text} |"
            finally:
                signal.alarm(0)
            print(f"| {source}/{name} | {size} |{cells} {time.perf_counter() - start:.0f} |", flush=True)


def row(source: str, name: str, size: int, arguments) -> str:
    """The cells of one architecture. Raises what goes wrong."""
    shape = (3, size, size)
    description = {"source": source, "name": name, "arguments": {}, "weights": None}
    model = models.build(description, CLASSES, shape)
    before = complexity.measure(model, shape)
    generator = torch.Generator().manual_seed(1)
    head = model.get_submodule(models.find_classifier(model, CLASSES)).weight  # vision transformers start it at zero
    head.data.normal_(std=head[0].numel() ** -0.5, generator=generator)
    calibration.reestimate_batchnorm(model, _noise(shape, generator))  # else logits fade out over the untrained layers
    batches = [(torch.randn(8, *shape, generator=generator), torch.arange(8) % CLASSES) for _ in range(2)]
    statistics = calibration.collect(model, batches, threshold=0.25, device="cpu")
    recipe = {"model": description, "classes": CLASSES, "input_shape": list(shape)}
    settings = {"ratio": arguments.ratio, "scope": "layerwise", "ignore": []}
    cells = ""
    for method in arguments.methods:
        pruned = pruning.prune(model, shape, CLASSES, method, settings, statistics)
        after = complexity.measure(pruned.model, shape)
        images = batches[0][0]
        with torch.no_grad():
            logits = pruned.model(images)
        if logits.shape != (8, CLASSES):
            raise BudamaError(f"logits are {list(logits.shape)}")
        if not cells:
            changed = sum(layer["after"] < layer["before"] for layer in pruned.layers)
            cells += f" {changed} of {len(pruned.layers)} |"
        cells += f" {100 * after.parameters / before.parameters:.1f} % | {100 * after.gmacs / before.gmacs:.1f} % |"
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            checkpoint.save(f"{folder}/model", pruned.model, recipe=recipe, kept=pruned.kept)
            loaded = checkpoint.load(f"{folder}/model")
            cells += f" {'equal' if torch.equal(loaded(images), logits) else '**differs**'} |"
    return cells + (" – |" if arguments.no_onnx else f" {onnx_difference(loaded, images, logits)} |")


def _noise(shape, generator: torch.Generator) -> list:
    return [(torch.randn(8, *shape, generator=generator), None) for _ in range(2)]


def onnx_difference(model: torch.nn.Module, images: torch.Tensor, logits: torch.Tensor) -> str:
    """Greatest difference of the logits between ONNX Runtime and PyTorch, relative to the greatest logit."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            export.to_onnx(model, images.shape[1:], f"{folder}/model.onnx")
            found = export.OnnxModel(f"{folder}/model.onnx")(images)
    except BudamaError as error:
        return f"no: {str(error)[:100]}"
    return f"{float((found - logits).abs().max() / logits.abs().max()):.0e}"


def _too_long(*_) -> None:
    raise TimeoutError("takes too long")


if __name__ == "__main__":
    main()
