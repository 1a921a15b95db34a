"""Look at the calibration images once, and keep what every pruning method needs to know of them.

Reads dataset.json and the baseline's checkpoint; writes calibration.safetensors.
"""

from budama import cli, files
from budama.progress import log, track


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, "calibrate")
    cli.add_compute(parser)
    parser.add_argument("--dataset", required=True, metavar="FILE", help="dataset.json")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the baseline's checkpoint")
    parser.add_argument("--output", required=True, metavar="FILE", help="calibration.safetensors")
    args = parser.parse_args()
    settings = cli.settings(args)["calibration"]

    from budama import calibration, checkpoint, datasets

    device = cli.device(args)
    data = datasets.open_data(files.read_json(args.dataset))
    batches = calibration.batches(data, settings, device)
    model = checkpoint.load(args.model, device, data)
    statistics = calibration.collect(
        model, track(batches, "calibration", unit="batches"), threshold=settings["coverage_threshold"], device=device
    )
    statistics.save(args.output)
    log(f"calibration: {statistics.images} images in {statistics.batches} batches")


if __name__ == "__main__":
    cli.run(main)
