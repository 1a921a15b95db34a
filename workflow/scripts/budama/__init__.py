"""budama: structured channel pruning of vision models, benchmarked."""

__version__ = "0.2.0"


def load(folder, device="cpu"):
    """The model of a checkpoint: a plain `torch.nn.Module` in eval mode on `device`, equal bit for bit to the one saved.

    `folder` holds model.safetensors and structure.json. Needs torch and safetensors, and the package that the
    architecture comes from (torchvision, timm, or the user's own module). Raises budama.errors.BudamaError, one line,
    for a damaged or foreign folder.
    """
    from budama.networks import checkpoint

    return checkpoint.load(folder, device)
