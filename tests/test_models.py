"""Any vision model by name, with clear errors for what cannot be built."""

import pickle
import subprocess
import sys
import types

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from budama.errors import BudamaError
from budama.networks import models, titles
from budama.pruning import prunability, pruner

SMALL = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8, "width": 4}, "weights": None}


def described(source, name, weights=None, **arguments):
    return {"source": source, "name": name, "arguments": arguments, "weights": weights}


def refused(model, classes=5, input_shape=(3, 32, 32)):
    """The one line of the error that building `model` ends with."""
    with pytest.raises(BudamaError) as told:
        models.build(model, classes, input_shape)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.fixture
def own_models(monkeypatch):
    """A module of the user's with models that budama has never named."""
    module = types.ModuleType("own_models")

    class Tiny(nn.Module):
        def __init__(self, width=6, outputs=7):
            super().__init__()
            self.features = nn.Conv2d(3, width, 3)
            self.last = nn.Linear(width, outputs)

        def forward(self, images):
            return self.last(self.features(images).mean((2, 3)))

    def flat():
        return nn.Flatten()

    module.Tiny, module.flat, module.wrong = Tiny, flat, lambda: "a text"
    monkeypatch.setitem(sys.modules, "own_models", module)
    return module


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_a_cifar_resnet_has_the_asked_depth(depth):
    model = models.build(described("budama", "resnet_cifar", depth=depth), 10, (1, 8, 8))
    weighted = [m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in n]
    assert len(weighted) == depth
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_resnet_20_has_the_parameters_of_the_paper():
    model = models.build(described("budama", "resnet_cifar"), 10, (3, 32, 32))
    projections = 16 * 32 + 32 * 64 + 2 * (32 + 64)  # option B; the paper's 0.27 M are with option A
    assert sum(p.numel() for p in model.parameters()) - projections == 269_722


def test_a_resnet_20_with_padded_shortcuts_has_the_papers_parameters_and_zeros_around_its_shortcut():
    model = models.build(described("budama", "resnet_cifar_padded"), 10, (3, 32, 32)).eval()
    assert sum(p.numel() for p in model.parameters()) == 269_722
    block = model.get_submodule("layer2.0")
    block.bn2.weight.data.zero_()  # nothing but the shortcut is left
    images = torch.rand(2, 16, 8, 8)
    expected = torch.zeros(2, 32, 4, 4)
    expected[:, 8:24] = images[:, :, ::2, ::2]
    assert torch.equal(block(images), expected)


def test_padded_shortcuts_are_pruned_inside_their_blocks():
    model = models.build(described("budama", "resnet_cifar_padded", depth=8, width=8), 10, (3, 8, 8)).eval()
    settings = {"ratio": 0.5, "ignore": ["conv1", "layer?.?.conv2"]}
    done = pruner.prune(model, (3, 8, 8), 10, "magnitude", settings)
    assert sorted(done.kept) == ["layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1"]
    assert done.achieved["channels"] == pytest.approx(28 / (8 + 16 + 32 + 32))  # the stream counts once


def test_the_seed_alone_decides_the_weights_and_the_callers_random_state_stays():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = models.build(SMALL, 5, (1, 8, 8), seed=3)
    torch.rand(5)
    second = models.build(SMALL, 5, (1, 8, 8), seed=3)
    other = models.build(SMALL, 5, (1, 8, 8), seed=4)
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    torch.manual_seed(7)
    models.build(SMALL, 5, (1, 8, 8), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_of_budama_needs_no_torchvision():
    code = (
        "import sys; from budama.networks import models, checkpoint; models.build(" + repr(SMALL) + ", 5, (1, 8, 8)); "
    )
    code += "assert not {'torchvision', 'timm', 'torch_pruning'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "workflow/scripts"})


@pytest.mark.parametrize(
    ("name", "classifier"),
    [
        ("resnet18", "fc"),
        ("mobilenet_v3_small", "classifier.3"),
        ("squeezenet1_1", "classifier.1"),
        ("googlenet", "fc"),
    ],
)
def test_the_classifier_of_torchvisions_models_has_the_asked_classes(name, classifier):
    model = models.build(described("torchvision", name), 7, (3, 64, 64))
    assert models.find_classifier(model, 7) == classifier
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_a_timm_model_has_the_asked_classes_and_channels():
    model = models.build(described("timm", "mobilenetv3_small_050"), 7, (1, 64, 64))
    assert models.find_classifier(model, 7) == "classifier"
    assert model(torch.zeros(1, 1, 64, 64)).shape == (1, 7)


def test_a_python_callable_is_a_model_and_its_classifier_is_replaced(own_models):
    model = models.build(described("python", "own_models:Tiny", width=9), 4, (3, 16, 16))
    assert (model.last.in_features, model.last.out_features) == (9, 4)


def test_a_callable_in_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert models.build(described("python", "mine_here:net"), 3, (3, 2, 2))(torch.zeros(1, 3, 2, 2)).shape == (1, 3)


def test_grey_images_get_a_first_layer_of_their_own():
    model = models.build(described("torchvision", "resnet18"), 10, (1, 32, 32))
    assert model.conv1.in_channels == 1
    assert model(torch.zeros(1, 1, 32, 32)).shape == (1, 10)


def test_grey_images_do_not_fit_pretrained_weights(tmp_path):
    state = models.build(described("torchvision", "resnet18"), 10, (3, 32, 32)).state_dict()
    torch.save(state, tmp_path / "w.pth")
    told = refused(described("torchvision", "resnet18", str(tmp_path / "w.pth")), 10, (1, 32, 32))
    assert told.startswith("data.channels: the images have 1, but ResNet18 takes 3")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", "-ddp.pt"])
def test_weights_are_read_from_a_file(tmp_path, suffix):
    state = models.build(SMALL, 5, (1, 8, 8), seed=9).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    elif suffix == ".pth":
        torch.save(state, path)
    else:
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, path)
    model = models.build({**SMALL, "weights": str(path)}, 5, (1, 8, 8))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_weights_for_other_classes_keep_all_but_the_classifier(tmp_path):
    state = models.build(SMALL, 9, (1, 8, 8), seed=9).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    model = models.build({**SMALL, "weights": str(tmp_path / "w.safetensors")}, 5, (1, 8, 8))
    assert torch.equal(model.conv1.weight, state["conv1.weight"])
    assert model.fc.out_features == 5


class Payload:
    def __reduce__(self):
        return (open, ("/tmp/budama-payload-was-run", "w"))


def test_a_pickle_with_a_payload_is_refused_and_not_run(tmp_path):
    import os

    for writer in (lambda f: torch.save({"a": Payload()}, f), lambda f: f.write(pickle.dumps(Payload()))):
        with open(tmp_path / "evil.pth", "wb") as file:
            writer(file)
        told = refused({**SMALL, "weights": str(tmp_path / "evil.pth")}, 5, (1, 8, 8))
        assert "evil.pth" in told
        assert "state_dict" in told
        assert not os.path.exists("/tmp/budama-payload-was-run")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "cannot be read"),
        (b"not a model at all", "refused"),
        (b"PK\x03\x04 cut off", "cannot be read: it is cut off"),
    ],
)
def test_a_damaged_weights_file_is_one_line(tmp_path, content, expected):
    (tmp_path / "w.pth").write_bytes(content)
    assert "w.pth" in (told := refused({**SMALL, "weights": str(tmp_path / "w.pth")}, 5, (1, 8, 8)))
    assert expected in told


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(models.build(SMALL, 5, (1, 8, 8)), tmp_path / "whole.pth")
    assert "torch.save(model.state_dict()" in refused({**SMALL, "weights": str(tmp_path / "whole.pth")}, 5, (1, 8, 8))


def test_weights_of_another_model_name_what_does_not_fit(tmp_path):
    save_file({"other.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    told = refused({**SMALL, "weights": str(tmp_path / "w.safetensors")}, 5, (1, 8, 8))
    assert "does not fit the model: it lacks conv1.weight" in told
    wider = models.build(described("budama", "resnet_cifar", depth=8, width=8), 5, (1, 8, 8)).state_dict()
    save_file(wider, tmp_path / "w.safetensors")
    assert "is [8, 1, 3, 3], not [4, 1, 3, 3]" in refused(
        {**SMALL, "weights": str(tmp_path / "w.safetensors")}, 5, (1, 8, 8)
    )


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (described("keras", "resnet50"), "model.source"),
        (described("torchvision", "resnet5"), "did you mean resnet50"),
        (described("timm", "efficientnet_b00"), "did you mean"),
        (described("budama", "resnet"), "it has resnet_cifar"),
        (described("budama", "resnet_cifar", depth=9), "6n + 2"),
        (described("budama", "resnet_cifar", depht=8), "depht"),
        (described("torchvision", "resnet18", width=8), "width"),
        (described("torchvision", "resnet50", "IMAGENET1K_V9"), "IMAGENET1K_V2"),
        (described("timm", "resnet50", "nonsense_in1k"), "a1_in1k"),
        (described("budama", "resnet_cifar", "DEFAULT"), "null or a file"),
        (described("torchvision", "resnet18", "no/such/file.pth"), "no file no/such/file.pth"),
        (described("python", "no_colon"), "package.module:function"),
        (described("python", "no_such_module_here:net"), "cannot be imported"),
        (described("python", "own_models:tiny"), "did you mean Tiny"),
        (described("python", "own_models:wrong"), "it must give a torch.nn.Module"),
        (described("python", "own_models:flat"), "1x1 convolution with 3072 outputs"),
        (described("python", "own_models:Tiny", depth=3), "depth"),
    ],
)
def test_a_model_that_cannot_be_built_is_one_clear_line(model, expected, own_models):
    assert expected in refused(model)


def test_weights_that_cannot_be_downloaded_say_where_a_file_can_be_put(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    told = refused(described("torchvision", "squeezenet1_1", "DEFAULT"), 1000)
    assert "cannot be downloaded" in told
    assert str(tmp_path / "checkpoints" / "squeezenet1_1") in told


def test_ignored_layers_are_named_by_name_or_pattern():
    model = models.build(SMALL, 5, (1, 8, 8))
    named = {module: name for name, module in model.named_modules()}
    found = [named[m] for m in prunability.ignored(model, ["stage1.0.conv1", "*.shortcut.0"], 5)]
    assert found == ["fc", "stage1.0.conv1", "stage2.0.shortcut.0", "stage3.0.shortcut.0"]


def test_an_ignore_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(BudamaError, match=r"did you mean .*stage1\.0\.conv1"):
        prunability.ignored(models.build(SMALL, 5, (1, 8, 8)), ["stage1.0.conv"], 5)


@pytest.mark.parametrize(
    ("source", "name", "arguments", "title"),
    [
        ("torchvision", "resnet50", {}, "ResNet50"),
        ("torchvision", "efficientnet_b4", {}, "EfficientNet-B4"),
        ("torchvision", "vgg16_bn", {}, "VGG16-BN"),
        ("torchvision", "wide_resnet50_2", {}, "Wide-ResNet50-2"),
        ("torchvision", "mobilenet_v2", {}, "MobileNetV2"),
        ("torchvision", "vit_b_16", {}, "ViT-B/16"),
        ("torchvision", "swin_t", {}, "Swin-T"),
        ("torchvision", "convnext_tiny", {}, "ConvNeXt-tiny"),
        ("timm", "resnet50.a1_in1k", {}, "ResNet50"),
        ("budama", "resnet_cifar", {"depth": 56}, "ResNet56"),
        ("budama", "resnet_cifar", {}, "ResNet20"),
        ("budama", "resnet_cifar_padded", {}, "ResNet20"),
        ("budama", "resnet_cifar_padded", {"depth": 56}, "ResNet56"),
        ("python", "package.module:MyNet", {}, "MyNet"),
    ],
)
def test_models_have_titles_for_people(source, name, arguments, title):
    assert titles.title({"source": source, "name": name, "arguments": arguments}) == title
