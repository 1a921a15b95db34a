"""Latency, throughput, size and accuracy of a model and of pruned ones in every precision and runtime, several times.

    python benchmarks/deployment.py --dataset dataset.json --baseline MODEL --model wanda/seed-0=MODEL [--runs 5]

Checkpoints are exported in float32, float16 and int8, scored on the whole test split, and timed in interleaved rounds,
`--runs` times anew. It prints which instructions the processor has, then a row a form: milliseconds, the ratio to the
original in float32 in the same runtime (median of the runs, and the least and the greatest), images per second, MiB,
and accuracy. It says of int8 where it is slower than float32 of the same model.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))

from budama import files, machine
from budama.data import batching
from budama.data.dataset import open_data
from budama.measuring import benchmarking
from budama.networks import checkpoint, export, onnx_file, precisions
from budama.results import labels

FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
ASKED = {"precisions": ["float32", "float16", "int8"], "int8_ranges": "minmax", "int8_symmetric": False}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--baseline", required=True)
    parser.add_argument("--model", nargs="*", default=[], metavar="VARIANT/seed-N=DIR")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"], help="PyTorch's")
    args = parser.parse_args()
    data = open_data(files.read_json(args.dataset))
    folders = {"baseline": Path(args.baseline), **labels.paths(args.model, "--model")}
    settings = {
        "batch_size": 1, "throughput_batch_size": 32, "rounds": args.rounds, "warmup_rounds": 3, "compile": False,
        "cuda_graph": False, "precisions": args.precisions, "channels_last": True, "corruptions": False,
        "runtimes": ["onnxruntime", "openvino"],
    }  # fmt: skip
    flags = machine.cpu_flags()
    print(
        machine.cpu(), "has", ", ".join(name for name in FEATURES if name in flags) or "none of", "| threads", end=" "
    )
    print(torch.get_num_threads(), flush=True)
    with tempfile.TemporaryDirectory() as place:
        exported = {label: _exported(Path(place) / str(i), folders[label], data) for i, label in enumerate(folders)}
        runs = [benchmarking.run(folders, data, settings, torch.device("cpu"), exported) for _ in range(args.runs)]
    _print(runs, list(folders))


def _exported(folder: Path, model_folder: Path, data) -> Path:
    folder.mkdir()
    model, recipe = checkpoint.load(model_folder, data=data), checkpoint.structure(model_folder)["recipe"]
    facts = onnx_file.facts_of(recipe)
    told = export.write(folder, model, ["onnx"], data.input_shape, batching.batches(data, "selection", 64), facts)
    told["onnx"]["precisions"] = precisions.of(folder, model, data, {"export": ASKED, "calibration_images": 512}, facts)
    files.write_json(folder / "export.json", {"status": "ok", "formats": told})
    return folder


def _print(runs: list[dict], names: list[str]) -> None:
    print("A/A:", *(f"{run['deployment_runs'][0]['aa']['ratio']:.4f}" for run in runs))
    for label in names:
        every = [run["rows"][label]["deployments"] for run in runs]
        whole: dict[str, float] = {}
        for i, form in enumerate(every[0]):
            name = f"{label:16s} {form['runtime']:12s} {form['precision']:9s}"
            if "latency" not in form:
                print(name, form["reason"])
                continue
            ratios = np.array([one[i]["latency"]["runtime_ratio"] for one in every])
            ms, many = (
                np.median([one[i][kind][key] for one in every])
                for kind, key in (("latency", "median_ms"), ("throughput", "images_per_second"))
            )
            size = "" if form["size_mib"] is None else f"{form['size_mib']:8.2f} MiB"
            ratio = float(np.median(ratios))
            told = f"{ms:8.2f} ms  × {ratio:.3f} [{ratios.min():.3f}, {ratios.max():.3f}]  {many:8.1f} images/s {size}"
            slower = ratio > whole.setdefault(form["runtime"], ratio)
            note = f"  slower than float32 by {100 * (ratio / whole[form['runtime']] - 1):.1f} %" if slower else ""
            print(name, told, f" {form['accuracy_percent']:.2f} %{note}")


if __name__ == "__main__":
    main()
