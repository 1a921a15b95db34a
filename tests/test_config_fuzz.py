"""Whatever stands in a configuration file, reading it ends in success or in clear lines."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from configurations import BASELINE, SCENARIO
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budama.errors import BudamaError
from budama.settings import stages

ROOT = Path(__file__).parents[1]

# Valid files with anything put, renamed or left out anywhere, as YAML or as raw text.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([10**30, "1e3", "../x", 0.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.sampled_from([SCENARIO, BASELINE]) | st.sampled_from(
    [path.read_text("utf-8") for path in sorted((ROOT / "config").glob("*/*.yaml"))]
)


def paths(value, path=()):
    yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from paths(value[key], (*path, key))


@st.composite
def mutated(draw) -> bytes:
    text = draw(TEXTS)
    if draw(st.integers(0, 3)) == 0:  # raw text: cut, insert
        data = text.encode()
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 20))
        return (
            data[:at]
            + draw(st.binary(max_size=6) | st.sampled_from([b"\t", b"[", b"&a ", b"*a", b": ", b"\n"]))
            + data[at + length :]
        )
    document = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(document))))
        if not path:
            document = draw(VALUES) if draw(st.integers(0, 9)) == 0 else document
            continue
        place = document
        for key in path[:-1]:
            place = place[key]
        what = draw(st.sampled_from(["set", "set", "drop", "rename", "add"]))
        if what == "set":
            place[path[-1]] = draw(VALUES)
        elif what == "drop":
            del place[path[-1]]
        elif isinstance(place, dict):
            place[draw(st.text(max_size=8) | st.sampled_from(["seeds", "recorded", "test", "std"]))] = (
                place.pop(path[-1]) if what == "rename" else draw(VALUES)
            )
    as_json = draw(st.booleans())
    text = json.dumps(document) if as_json else yaml.safe_dump(document, allow_unicode=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def fuzz_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "config/baselines/small.yaml").write_text(BASELINE)
    return folder


@settings(max_examples=2000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(content=mutated())
def test_no_mutation_of_a_file_ends_in_anything_but_success_or_clear_lines(fuzz_folder, content):
    scenario, baseline = fuzz_folder / "config/scenarios/fuzz.yaml", fuzz_folder / "config/baselines/fuzz.yaml"
    scenario.write_bytes(content)
    baseline.write_bytes(content)
    for load, path in ((stages.load_scenario, scenario), (stages.load_baseline, baseline)):
        loaded = read(load, path)
        if isinstance(loaded, list):
            assert loaded
            assert all(line.startswith(str(fuzz_folder)) and line.isprintable() and len(line) < 600 for line in loaded)
        else:
            check_settings(loaded)


def read(load, path):
    """What is loaded, or the lines that refuse it."""
    try:
        return load(path)
    except BudamaError as error:
        return error.lines


def check_settings(loaded):
    """Whatever is accepted gives every stage settings that JSON can carry."""
    if isinstance(loaded, stages.Baseline):
        for stage in stages.BASELINE_STAGES:
            json.dumps(stages.stage_settings(stage, baseline=loaded), allow_nan=False)
    elif loaded.recorded is None:
        for variant in stages.variants(loaded):
            json.dumps(stages.stage_settings("prune", loaded, variant=variant), allow_nan=False)
            assert Path(variant.name).name == variant.name
