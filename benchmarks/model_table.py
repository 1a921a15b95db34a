"""Which architectures can be pruned: every one is built with random weights, pruned, saved, loaded again and exported.

    python benchmarks/model_table.py [NAME ...] [--ratio 0.3] [--methods magnitude wanda] [--no-onnx] > docs/models.md

Prints docs/models.md, a row an architecture: the input, how many layers lost channels, and for each method what is left
of the parameters and MACs and whether the checkpoint gives bit-equal outputs after loading; and for the last method's
model the greatest difference between ONNX Runtime's logits and PyTorch's, relative to the greatest logit. Where a layer
stands in the way, pruning names it; the row is then of a second attempt that leaves it out.
"""

import argparse
import datetime
import multiprocessing
import re
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow" / "scripts"))

import torch

from budama.errors import BudamaError
from budama.measuring import complexity
from budama.networks import checkpoint, export, models, onnx_file
from budama.pruning import calibration, pruner

CLASSES = 10
TORCHVISION = {
    "resnet18": 64, "resnet34": 64, "resnet50": 64, "resnet101": 64, "resnext50_32x4d": 64, "wide_resnet50_2": 64,
    "vgg16_bn": 64, "densenet121": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64, "mobilenet_v3_large": 64,
    "efficientnet_b0": 64, "efficientnet_b4": 96, "regnet_x_400mf": 64, "regnet_y_400mf": 64,
    "shufflenet_v2_x1_0": 64, "squeezenet1_1": 64, "googlenet": 64, "inception_v3": 96, "convnext_tiny": 64,
    "vit_b_16": 64, "swin_t": 64, "swin_v2_t": 64, "vgg11_bn": 64, "mnasnet1_0": 64,
}  # fmt: skip
TIMM = {
    "resnet50": 64, "seresnet50": 64, "resnest14d": 64, "repvgg_a0": 64, "mobilenetv3_large_100": 64,
    "mobilenetv4_conv_small": 64, "efficientnet_b0": 64, "tf_efficientnetv2_s": 64, "regnety_004": 64,
    "convnext_atto": 64, "convnextv2_atto": 64, "ghostnet_100": 64, "dla34": 64, "hrnet_w18_small": 64,
    "mobilevit_s": 64, "vit_tiny_patch16_224": 64, "deit_tiny_patch16_224": 64, "deit3_small_patch16_224": 64,
    "swin_tiny_patch4_window7_224": 224, "cspdarknet53": 64,
    "resnet10t": 64, "resnet14t": 64, "lcnet_100": 64, "mobilenetv2_100": 64, "mnasnet_100": 64, "fbnetc_100": 64,
    "spnasnet_100": 64, "tinynet_e": 64, "hardcorenas_a": 64, "resnet26d": 64,
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
PACKAGES = ("torch", "torchvision", "timm", "torch-pruning", "onnx", "onnxruntime")
PAGE = """\
# Models that are known to work

Made by `python benchmarks/model_table.py > docs/models.md` on {date}
with {versions};
`pytest -m long tests/test_model_table.py` asks the same of every row.

Each model was built with random weights and {classes} classes, pruned by {percent:g} % of its channels layer by layer,
saved, loaded again and, as the last method left it, written as ONNX.

- *Layers pruned*: what the dependency graph cannot follow through a reshape keeps its width, and the rest is pruned.
  timm's ViT, DeiT, Swin and MobileViT lose whole heads (`qkv` is cut in three alike, tables of position biases follow);
  of three heads 30 % is one, so a layer may keep all of them for the whole to meet its ratio. In torchvision's Swin and
  in nn.MultiheadAttention heads are slices of the embedding, and each loses the same number of its channels.
- *Reload*: the loaded model's logits equal the saved model's bit for bit.
- *ONNX*: the greatest difference of ONNX Runtime's logits from PyTorch's, as a share of the greatest logit.
- *Left out*: the layers that pruning named as standing in its way at a first attempt; `pruning.ignore` left them out at
  the second.

Where layers share channels in a way that the search for them cannot end (second-order pooling: a map times its own
transpose), it stops by count and names the layer to leave out with `pruning.ignore`. timm's `ecaresnet26t`, whose
attention runs a convolution over the channels, is pruned inside its blocks; what that attention reads keeps its width.

Two kinds of layers compute something else after pruning than the original would with the removed channels at zero, by
their nature: a normalisation over channels (LayerNorm, GroupNorm, ConvNeXt V2's global response) takes its mean over
fewer channels, and attention whose heads become narrower divides its scores by the root of the new width.

Other models of these families, and a class of your own, go the same way: [from a folder of images to the
report](own_images.md). Before anything is trained, `snakemake results/scenarios/NAME/preview.json` says what a scenario
gives."""


@dataclass
class Row:
    """What came of one architecture. `left`: by method, the shares of parameters and MACs, and whether it reloads."""

    layers: int
    pruned: int = 0
    left: dict[str, tuple[float, float, bool]] = field(default_factory=dict)
    onnx: float | str | None = None
    ignored: list[str] = field(default_factory=list)

    def cells(self) -> str:
        cells = [f"{self.pruned} of {self.layers}"]
        for parameters, gmacs, equal in self.left.values():
            cells += [f"{100 * parameters:.1f} %", f"{100 * gmacs:.1f} %", "equal" if equal else "**differs**"]
        cells.append(f"{self.onnx:.0e}" if isinstance(self.onnx, float) else self.onnx or "–")
        return " | ".join([*cells, ", ".join(f"`{name}`" for name in self.ignored)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these alone (default: all)")
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--methods", nargs="+", default=["magnitude", "wanda"])
    parser.add_argument("--no-onnx", action="store_true")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one architecture")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    percent = 100 * arguments.ratio
    print(PAGE.format(date=datetime.date.today(), versions=versions, classes=CLASSES, percent=percent))
    print(f"\n{heading(arguments.methods)}", flush=True)
    for source, table in ("torchvision", TORCHVISION), ("timm", {**TIMM, **SLOW}):
        for name, size in table.items():
            asked = {name, f"{source}/{name}"} & set(arguments.names) or (not arguments.names and name not in SLOW)
            if not asked:
                continue
            start = time.perf_counter()
            case = (source, name, size, arguments.ratio, arguments.methods, not arguments.no_onnx)
            cells = within(arguments.timeout, case)
            print(f"| {source}/{name} | {size} | {cells} |", flush=True)
            print(f"{source}/{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)


def within(seconds: float, case: tuple) -> str:
    """The cells of `attempt(*case)`, or why there are none. A process of its own makes them and is killed when its time
    is over: what runs in it may catch every exception, and be in the middle of a library's call."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_told, args=(theirs, case))
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(seconds) else f"**no**: not done in {seconds:g} s"
    except EOFError:
        process.join()
        return f"**no**: the process ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()


def _told(pipe, case: tuple) -> None:
    try:
        cells = attempt(*case).cells()
    except Exception as error:
        cells = f"**no**: {' '.join(str(error).split())[:300]}"
    pipe.send(cells)


def heading(methods: list[str]) -> str:
    """The table's first two lines."""
    cells = "".join(f" {method}: parameters left | MACs left | reload |" for method in methods)
    return f"| model | input | layers pruned |{cells} ONNX | left out |\n|{'---|' * (3 * len(methods) + 5)}"


def attempt(source: str, name: str, size: int, ratio: float, methods: list[str], onnx: bool = True) -> Row:
    """The row of one architecture, without the layers that pruning says stand in its way."""
    try:
        return row(source, name, size, ratio, methods, onnx=onnx)
    except BudamaError as error:
        advice = re.search(r"pruning\.ignore: \[(.+)\]", str(error))
        if not advice:
            raise
        return row(source, name, size, ratio, methods, onnx=onnx, ignore=advice[1].split(", "))


def row(source: str, name: str, size: int, ratio: float, methods: list[str], *, onnx=True, ignore=()) -> Row:
    """The row of one architecture. Raises what goes wrong."""
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
    settings = {"ratio": ratio, "scope": "layerwise", "ignore": list(ignore)}
    found = None
    for method in methods:
        pruned = pruner.prune(model, shape, CLASSES, method, settings, statistics)
        after = complexity.measure(pruned.model, shape)
        images = batches[0][0]
        with torch.no_grad():
            logits = pruned.model(images)
        if logits.shape != (8, CLASSES):
            raise BudamaError(f"logits are {list(logits.shape)}")
        changed = sum(layer["after"] < layer["before"] for layer in pruned.layers)
        found = found or Row(len(pruned.layers), changed, ignored=list(ignore))
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            checkpoint.save(f"{folder}/model", pruned.model, recipe=recipe, kept=pruned.kept)
            loaded = checkpoint.load(f"{folder}/model")
            equal = torch.equal(loaded(images), logits)
        found.left[method] = (after.parameters / before.parameters, after.gmacs / before.gmacs, equal)
    found.onnx = onnx_difference(loaded, images, logits) if onnx else None
    return found


def _noise(shape, generator: torch.Generator) -> list:
    return [(torch.randn(8, *shape, generator=generator), None) for _ in range(2)]


def onnx_difference(model: torch.nn.Module, images: torch.Tensor, logits: torch.Tensor) -> float | str:
    """Greatest difference of the logits between ONNX Runtime and PyTorch, relative to the greatest logit."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            export.to_onnx(model, images.shape[1:], f"{folder}/model.onnx")
            found = onnx_file.OnnxModel(f"{folder}/model.onnx")(images)
    except BudamaError as error:
        return f"no: {str(error)[:100]}"
    return float((found - logits).abs().max() / logits.abs().max())


if __name__ == "__main__":
    main()
