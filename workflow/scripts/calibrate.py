"""Look at the calibration images once, and keep what every pruning method needs to know of them.

Reads dataset.json and the baseline's checkpoint; writes calibration.safetensors, and calibration.json: what the
readers of each layer would miss at every width.
"""

from budama import files
from budama.jobs import command_line
from budama.progress import log, track


def main() -> None:
    parser = command_line.parser(__doc__)
    command_line.add_settings(parser, "calibrate")
    command_line.add_compute(parser)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the baseline's checkpoint")
    parser.add_argument("--output", required=True, metavar="FILE", help="calibration.safetensors")
    parser.add_argument("--curves", required=True, metavar="FILE", help="calibration.json")
    args = parser.parse_args()
    settings = command_line.settings(args)["calibration"]

    from budama.data.dataset import open_data
    from budama.networks import checkpoint
    from budama.pruning import calibration, curves

    device = command_line.device(args)
    data = open_data(files.read_json(args.dataset))
    batches = calibration.batches(data, settings, device)
    model = checkpoint.load(args.model, device, data)
    statistics = calibration.collect(
        model, track(batches, "calibration", unit="batches"), threshold=settings["coverage_threshold"], device=device
    )
    statistics.save(args.output)
    files.write_json(args.curves, curves.measure(model, data.input_shape, data.classes, batches, statistics))
    log(f"calibration: {statistics.images} images in {statistics.batches} batches")


if __name__ == "__main__":
    command_line.run(main)
