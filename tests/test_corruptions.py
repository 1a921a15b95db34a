"""Corrupted test images: what each corruption does, always the same, and accuracies on them as a plain loop's."""

import io

import numpy as np
import pytest
import torch
from array_data import digits
from imagefolders import settings, train_and_val
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from torch import nn

from budama.data import batching
from budama.data.corruptions import PARAMETERS, STRENGTHS, Corruption, every
from budama.data.dataset import open_data
from budama.data.manifest import build_manifest
from budama.measuring import scoring
from budama.measuring.evaluation import evaluate

CPU = torch.device("cpu")
COLOUR = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 32, 24, 3), dtype=np.uint8))
PLACES = np.array([4, 9, 0, 7, 2])


def plain(corruption: Corruption, image: np.ndarray, place: int) -> np.ndarray:
    """One image [H, W, C] after the paper's formulas, in float64."""
    small = max(image.shape[:2]) <= 64
    c = PARAMETERS[corruption.kind][small][STRENGTHS.index(corruption.strength)]
    x = image / 255
    if corruption.kind == "gaussian_noise":
        drawn = np.random.default_rng([place, 3]).standard_normal(image.transpose(2, 0, 1).shape, dtype=np.float32)
        x = x + c * drawn.transpose(1, 2, 0)
    elif corruption.kind == "gaussian_blur":
        x = gaussian_filter1d(gaussian_filter1d(x, c, axis=0, mode="nearest"), c, axis=1, mode="nearest")
    elif corruption.kind == "brightness":
        value = x.max(axis=2, keepdims=True)
        raised = np.clip(value + c, 0, 1)
        x = np.where(value > 0, x * raised / np.where(value > 0, value, 1), raised)
    elif corruption.kind == "contrast":
        mean = x.mean(axis=(0, 1), keepdims=True)
        x = (x - mean) * c + mean
    else:
        buffer = io.BytesIO()
        Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(buffer, "JPEG", quality=c)
        return np.asarray(Image.open(buffer)).reshape(image.shape)
    return np.clip(255 * x, 0, 255)


@pytest.mark.parametrize("corruption", every(), ids=str)
@pytest.mark.parametrize("kind", ["small", "large", "grey"])
def test_each_is_the_papers_formula(corruption, kind):
    images = COLOUR[..., :1] if kind == "grey" else COLOUR.repeat(1, 3, 3, 1) if kind == "large" else COLOUR
    images = images[:2]
    found = corruption(images, PLACES[:2])
    assert (found.dtype, found.shape) == (torch.uint8, images.shape)
    for before, after, place in zip(images.numpy(), found.numpy(), PLACES):
        wanted = plain(corruption, before, int(place))
        assert np.abs(after - wanted).max() < 0.51
        assert (after != before).any()


@pytest.mark.parametrize("corruption", every(), ids=str)
def test_an_image_is_the_same_in_every_batch(corruption):
    together = corruption(COLOUR, PLACES)
    alone = torch.cat([corruption(COLOUR[i : i + 1], PLACES[i : i + 1]) for i in range(len(COLOUR))])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("kind", PARAMETERS)
def test_a_greater_strength_changes_more(kind):
    smooth = torch.from_numpy(gaussian_filter1d(COLOUR.numpy().astype(float), 3, axis=1).astype(np.uint8))
    changes = [(Corruption(kind, s)(smooth, PLACES).float() - smooth.float()).abs().mean().item() for s in STRENGTHS]
    assert changes == sorted(changes)
    assert changes[0] < changes[2]


def test_more_than_three_channels_are_compressed_one_by_one():
    six = torch.cat([COLOUR, COLOUR.flip(0)], dim=3)
    found = Corruption("jpeg_compression", 5)(six, PLACES)
    each = [Corruption("jpeg_compression", 5)(six[..., [c]], PLACES) for c in range(6)]
    assert torch.equal(found, torch.cat(each, dim=3))


@pytest.mark.parametrize("stored", ["arrays", "files"])
def test_batches_hold_the_corrupted_image_normalised(stored, tmp_path):
    if stored == "files":
        train_and_val(tmp_path)
        data = open_data(build_manifest(settings(tmp_path), 1))
    else:
        data = open_data(digits())
    corruption = Corruption("gaussian_noise", 5)
    clean = torch.cat([images for images, _ in batching.batches(data, "test", 4)])
    seen = torch.cat([images for images, _ in batching.batches(data, "test", 4, corruption=corruption)])
    at_once = torch.cat([images for images, _ in batching.batches(data, "test", 100, corruption=corruption)])
    assert torch.equal(seen, at_once)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    pixels = ((clean * std + mean) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    wanted = corruption(pixels, np.arange(len(pixels))).permute(0, 3, 1, 2) / 255
    assert torch.allclose(seen, (wanted - mean) / std, atol=1e-5)


def test_accuracies_and_their_change_are_those_of_a_plain_loop():
    data = open_data(digits())
    torch.manual_seed(0)
    models = {name: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for name in ("baseline", "pruned")}
    hits = scoring.hits_when_corrupted(models, data, CPU)
    found = scoring.robustness(hits["pruned"], hits["baseline"])
    means = []
    for kind in PARAMETERS:
        for place, strength in enumerate(STRENGTHS):
            corrupted = batching.batches(data, "test", 64, corruption=Corruption(kind, strength))
            own, other = (evaluate(models[name], corrupted).hits for name in ("pruned", "baseline"))
            assert found["accuracy_percent"][kind][place] == pytest.approx(100 * own.mean())
            means.append(own.astype(float) - other)
    change = np.mean(means, axis=0)
    assert found["change_points"] == pytest.approx(100 * change.mean())
    assert found["change_error_points"] == pytest.approx(100 * change.std(ddof=1) / len(change) ** 0.5)
    assert found["mean_percent"] == pytest.approx(np.mean([*found["accuracy_percent"].values()]))
    assert scoring.robustness(hits["baseline"], None)["change_points"] is None
