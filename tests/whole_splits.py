"""All batches of a split in one."""

import torch

from budama.data.batching import batches


def everything(data, split="train", batch_size=4, **options):
    """Images and labels of the whole split."""
    pairs = list(batches(data, split, batch_size, **options))
    return torch.cat([images for images, _ in pairs]), torch.cat([labels for _, labels in pairs])
