"""Write a fine-tuned model as ONNX and as a torch.export program, check both on real images, and time ONNX Runtime.

Reads dataset.json and a checkpoint; writes a folder with model.onnx, model.pt2 (what `export.formats` asks for),
model.float16.onnx and model.int8.onnx (what `export.precisions` asks for), load_example.py and export.json. The images
are those of the selection split, int8 is calibrated on some of the training split: the test split is not looked at.
"""

from pathlib import Path

from budama import files
from budama.jobs import command_line, provenance


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "export")
    command_line.add_compute(parser)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="checkpoint of the model")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("--images", type=int, default=512, help="real images to compare on, at most (default: 512)")
    parser.add_argument("--rounds", type=int, default=30, help="rounds of timing (default: 30)")
    args = parser.parse_args()
    settings = command_line.settings(args)

    from budama.networks import checkpoint

    structure = checkpoint.structure(args.model)
    with files.folder(args.output) as folder:
        if "unavailable" in structure:
            outcome = {"status": "unavailable", "reason": structure["unavailable"]}
        else:
            outcome = {"status": "ok", "formats": write(args, settings, structure["recipe"], folder)}
        files.write_json(folder / "export.json", {**outcome, "environment": provenance.environment()})


def write(args, settings: dict, recipe: dict, folder: Path) -> dict:
    """Write every format and precision and the example into `folder`; return what is to be said of each format."""
    from budama.data import batching
    from budama.data.dataset import open_data
    from budama.measuring import onnx
    from budama.networks import checkpoint, export, onnx_file, precisions

    command_line.device(args)
    data = open_data(files.read_json(args.dataset))
    model = checkpoint.load(args.model, data=data)
    size = min(64, args.images)
    batches = batching.batches(data, "selection", size, limit=max(1, args.images // size))
    facts = onnx_file.facts_of(recipe)
    written = export.write(folder, model, settings["export"]["formats"], data.input_shape, batches, facts)
    if "onnx" in written:
        written["onnx"]["precisions"] = precisions.of(folder, model, data, settings, facts)
        image = next(iter(batches))[0][:1]
        written["onnx"]["latency"] = onnx.compare(model, folder / written["onnx"]["file"], image, args.rounds)
    export.write_example(folder / "load_example.py", args.model, recipe)
    return written


if __name__ == "__main__":
    command_line.run(main)
