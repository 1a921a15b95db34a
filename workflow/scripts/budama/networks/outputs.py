"""What a model returns."""

from torch import Tensor


def logits(output) -> Tensor:
    """A classifier's logits `[N, classes]`, from models that return a tuple or an object too."""
    if isinstance(output, Tensor):
        return output
    return output.logits if hasattr(output, "logits") else output[0]
