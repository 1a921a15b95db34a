"""A preview needs neither data nor weights, and says what it could not know."""

import pytest

from budama.errors import BudamaError
from budama.networks import models
from budama.pruning import preview, pruner
from budama.settings import stages

MODEL = {"source": "budama", "name": "resnet_cifar", "arguments": {"depth": 8}, "weights": None}
PRUNING = {"methods": ["wanda"], "ratio": 0.5, "scope": "layerwise", "match": "channels", "steps": 1, "max_ratio": 0.95}


def data(**others):
    return {"name": "cifar10", "root": None, "image_size": None, "channels": None, **others}


def test_the_figures_are_those_of_the_run():
    shown = preview.preview(MODEL, data(), PRUNING)
    model = models.build(MODEL, 10, (3, 32, 32), seed=4)
    pruned = pruner.prune(model, (3, 32, 32), 10, "random", {**PRUNING, "seed": 1})
    (after,) = shown["after"]
    assert (after["parameters"], after["size_mib"], after["gmacs"]) == (
        pruned.after.parameters,
        pruned.after.size_mib,
        pruned.after.gmacs,
    )
    assert after["size_change_percent"] == pytest.approx(100 * (pruned.after.size_mib / pruned.before.size_mib - 1))
    assert not after["estimate"]


def test_every_ratio_has_its_figures():
    after = preview.preview(MODEL, data(), {**PRUNING, "ratio": [0.2, 0.5], "match": "macs"})["after"]
    assert [row["ratio"] for row in after] == [0.2, 0.5]
    assert [row["gmacs_change_percent"] for row in after] == pytest.approx([-20, -50], abs=0.5)


def test_global_pruning_is_marked_as_an_estimate():
    shown = preview.preview(MODEL, data(), {**PRUNING, "scope": "global"})
    assert shown["criterion"] == "magnitude of random weights"
    assert shown["after"][0]["estimate"]


def test_a_folder_that_is_not_there_yet_gives_an_estimate(tmp_path):
    shape, classes, known = preview.expected(data(name="image_folder", root=str(tmp_path / "none"), image_size=64))
    assert (shape, classes, known) == ((3, 64, 64), 1000, False)
    for name in ("cat", "dog", "emu"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "val" / name).mkdir(parents=True)
    assert preview.expected(data(name="image_folder", root=str(tmp_path)))[1:] == (3, True)


def test_ts5_gives_what_its_published_table_says():
    """EfficientNet-B4, 10 % of every layer's channels: 18.8 % of the parameters, and 18.7 % of the MiB, which hold
    BatchNorm's buffers too. The MACs of that table (4.61 G) count 0.03 G more than ptflops 0.7.5 does (4.58 G)."""
    scenario = stages.load_scenario("config/scenarios/ts5.yaml")
    shown = preview.preview(*stages.stage_settings("preview", scenario).values())
    (after,) = shown["after"]
    assert (shown["classes"], shown["input_shape"]) == (101, [3, 380, 380])
    assert (round(shown["before"]["size_mib"], 2), round(after["size_mib"], 2)) == (68.11, 55.34)
    assert after["size_change_percent"] == pytest.approx(-18.747, abs=0.001)
    assert after["parameters_change_percent"] == pytest.approx(-18.808, abs=0.001)
    assert (round(shown["before"]["gmacs"], 2), round(after["gmacs"], 2)) == (4.58, 3.73)


@pytest.mark.parametrize(
    ("before", "key", "expected"),
    [
        (4.13, "gmacs", "G"),
        (0.00168, "gmacs", "M"),
        (0.000004, "gmacs", "k"),
        (97.7, "size_mib", "MiB"),
        (39.25 / 1024, "size_mib", "KiB"),
    ],
)
def test_small_nets_are_told_in_units_that_show_them(before, key, expected):
    import preview as stage

    assert stage.unit_of(before, stage.UNITS[key]) == expected


def test_the_table_has_the_figures_of_every_ratio_in_columns():
    import preview as stage

    shown = preview.preview(MODEL, data(), {**PRUNING, "ratio": [0.2, 0.5]})
    head, before, *after = stage.table(shown)
    assert head.split() == ["ResNet8", "parameters", "size", "(MiB)", "MACs", "(M)", "channels"]
    assert before.split() == ["before", "78,042", "0.30", f"{1000 * shown['before']['gmacs']:.2f}"]
    for line, row in zip(after, shown["after"]):
        assert line.startswith(f"ratio {row['ratio']:g} ")
        assert f"{row['parameters']:,} ({row['parameters_change_percent']:+.1f} %)" in line
        assert f"{1000 * row['gmacs']:.2f} ({row['gmacs_change_percent']:+.1f} %)" in line
    assert len({len(line) for line in (head, *after)}) == 1, "columns are aligned"


def test_a_model_of_ones_own_is_tried_as_training_uses_it():
    """Its in-place operation overwrites what the gradient needs: a preview that passed was followed by a traceback."""
    mine = {"source": "python", "name": "refused_models:InPlace", "arguments": {}, "weights": None}
    with pytest.raises(BudamaError, match="the model refused_models:InPlace cannot be trained: RuntimeError"):
        preview.preview(mine, data(), PRUNING)
