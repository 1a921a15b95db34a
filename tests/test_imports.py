"""What a stage's process imports: seconds a job, so a stage loads what it uses and no more."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest
import torch

from budama import slow_imports
from budama.data.manifest import Manifest
from budama.reporting import contract
from budama.results import contracts

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "workflow/scripts"
BASELINE = """\
baseline: small
model: {source: budama, name: resnet_cifar, arguments: {depth: 8, width: 4}}
data: {name: digits}
calibration: {batches: 1, batch_size: 64}
train: {epochs: 1, max_batches: 2}
"""
SCENARIO = """\
scenario: small
baseline: small
pruning: {methods: [taylor], ratio: 0.3}
finetune: {epochs: 1, max_batches: 2, distill: 0.5, learning_rate: 0.01}
benchmark: {rounds: 3, warmup_rounds: 1}
"""
# Each takes a second or more, and no stage needs one of them for a model of budama's on the digits.
SLOW = ("torch._dynamo", "torch.onnx", "sympy", "scipy", "pandas", "sklearn.datasets", "torchvision", "timm")
OF_BASELINE, OF_SCENARIO = "--baseline config/baselines/small.yaml", "--scenario config/scenarios/small.yaml"
STAGES = {  # in their order, since each needs what those before it wrote
    "dataset": f"{OF_BASELINE} --output dataset.json",
    "baseline": f"{OF_BASELINE} --dataset dataset.json --output model --metrics m.json --history h.csv",
    "calibrate": f"{OF_BASELINE} --dataset dataset.json --model model --output seen.safetensors --curves seen.json",
    "prune": f"{OF_SCENARIO} --variant taylor --dataset dataset.json --model model"
    " --calibration seen.safetensors --output pruned --report p.json",
    "finetune": f"{OF_SCENARIO} --variant taylor --dataset dataset.json --model pruned"
    " --teacher model --output tuned --metrics t.json --history t.csv",
    "benchmark": f"{OF_SCENARIO} --dataset dataset.json --baseline model --model taylor/seed-0=tuned"
    " --output benchmark.json",
}
RUN = """
import atexit, json, runpy
atexit.register(lambda: print(json.dumps([name for name in SLOW if sys.modules.get(name)])))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the stages run, and write what STAGES says."""
    return tmp_path_factory.mktemp("imports")


@pytest.fixture(scope="module")
def loaded(folder) -> dict[str, list[str]]:
    """What of SLOW each stage had loaded when its work was done."""
    found = {}
    for name, text in (("baselines", BASELINE), ("scenarios", SCENARIO)):
        (folder / "config" / name).mkdir(parents=True)
        (folder / "config" / name / "small.yaml").write_text(text)
    for stage, arguments in STAGES.items():
        argv = [str(SCRIPTS / f"{stage}.py"), *arguments.split(), "--threads", "1"]
        code = f"import sys\nSLOW, sys.argv = {SLOW!r}, {argv!r}\nsys.path.insert(0, {str(SCRIPTS)!r})\n{RUN}"
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[stage] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_loads_nothing_that_it_does_not_use(loaded, stage):
    assert loaded[stage] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dataset.json", Manifest),
        ("m.json", contracts.Metrics),
        ("p.json", contracts.Pruned),
        ("t.json", contracts.Metrics),
        ("benchmark.json", contracts.Benchmark),
    ],
)
def test_what_a_stage_writes_has_every_key_of_its_type_and_no_other(loaded, folder, name, kind):
    content = json.loads((folder / name).read_text())
    assert list(contract.missing(content, kind)) == []
    assert set(content) <= set(get_type_hints(kind))


def test_a_package_that_was_kept_away_can_be_imported_afterwards():
    code = """
import sys
from budama.slow_imports import without
with without("timm", "json"):
    import json  # loaded already: it stays
    try:
        import timm
    except ImportError:
        pass
    else:
        sys.exit("timm was imported")
assert "timm" not in sys.modules
"""
    run = "import json\n" + code + "import importlib.util\nassert importlib.util.find_spec('timm')"
    subprocess.run([sys.executable, "-c", run], check=True, env={"PYTHONPATH": str(SCRIPTS)})


def test_a_counter_of_torchs_is_as_it_was_after_running_without_the_compiler():
    from torch.utils import flop_counter

    before = flop_counter._FlopCounterMode.__torch_dispatch__
    with slow_imports.without_compiler(flop_counter._FlopCounterMode):
        assert flop_counter._FlopCounterMode.__torch_dispatch__ is not before
        with flop_counter.FlopCounterMode(display=False) as counter:
            torch.ones(2, 3) @ torch.ones(3, 4)
    assert counter.get_total_flops() == 2 * 2 * 3 * 4
    assert flop_counter._FlopCounterMode.__torch_dispatch__ is before
