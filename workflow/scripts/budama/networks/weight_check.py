"""A program that says whether a weights file fits its model: `python -m budama.networks.weight_check JSON`.

The argument has `model` and `data` of a baseline, its `seed`, and its `epochs`. It prints what is wrong and exits with
1, and says on the terminal which set of weights was taken. No image is read, but for headers.
"""

import json
import sys

from budama.data.expectation import expected
from budama.errors import BudamaError
from budama.networks import models, weights


def check(settings: dict) -> None:
    """Build the model for the images that are expected, with its weights. Raises BudamaError where they do not fit."""
    shape, classes, known = expected(settings["data"])
    built = models.build(settings["model"], classes, shape, seed=settings["seed"])
    if known and settings["epochs"] == 0:
        weights.check_classifier(settings["model"], built, models.find_classifier(built, classes), classes)


if __name__ == "__main__":
    try:
        check(json.loads(sys.argv[1]))
    except BudamaError as error:
        print(error)
        sys.exit(1)
