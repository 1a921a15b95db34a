"""Reads scenario and baseline files: checked against their schemas, defaults filled in, all mistakes told at once."""

import os
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from budama import files
from budama.errors import BudamaError, did_you_mean
from budama.settings import contradictions, schema, yamlfile


@dataclass(frozen=True)
class Baseline:
    """A baseline file with its defaults; the sections are as in schemas/baseline.schema.yaml."""

    path: Path
    name: str
    title: str | None
    model: dict
    data: dict
    calibration: dict
    train: dict
    seed: int


@dataclass(frozen=True)
class Scenario:
    """A scenario file with its defaults; the sections are as in schemas/scenario.schema.yaml.

    Where results are `recorded` (the content of the JSON file), nothing runs: `baseline`, `baseline_path`, `pruning`
    and `finetune` are None and there are no `seeds`.
    """

    path: Path
    name: str
    title: str | None
    baseline: str | None
    baseline_path: Path | None
    pruning: dict | None
    finetune: dict | None
    seeds: tuple[int, ...]
    benchmark: dict
    export: dict
    report: dict
    recorded: dict | None


def load_scenario(path: str | Path) -> Scenario:
    """The scenario in a YAML file. Raises BudamaError with a line for every mistake in it."""
    path = Path(path)
    document, lines = _checked(path, "scenario", _stamp(path))
    lines = [*lines, *_misnamed(path, document)]
    recorded, more = _recorded(path, document)
    if lines or more:
        raise BudamaError(*(at(path, line) for line in lines), *more)
    values = schema.complete(document, schema.load("scenario"))
    runs = recorded is None
    return Scenario(
        path=path,
        name=values["scenario"],
        title=values["title"],
        baseline=values.get("baseline"),
        baseline_path=_baselines(path) / f"{values['baseline']}.yaml" if runs else None,
        pruning=values["pruning"] if runs else None,
        finetune=_with_sorted_rates(values["finetune"]) if runs else None,
        seeds=tuple(values["seeds"]) if runs else (),
        benchmark=values["benchmark"],
        export=values["export"],
        report=values["report"],
        recorded=recorded,
    )


def _with_sorted_rates(finetune: dict) -> dict:
    """`finetune` with its learning rates in ascending order, so that their order decides nothing; a list of one is that
    one."""
    rates = finetune["learning_rate"]
    if isinstance(rates, list):
        return {**finetune, "learning_rate": sorted(rates) if len(rates) > 1 else rates[0]}
    return finetune


def load_baseline(path: str | Path) -> Baseline:
    """The baseline in a YAML file. Raises BudamaError with a line for every mistake in it."""
    path = Path(path)
    document, lines = _checked(path, "baseline", _stamp(path))
    name = document.get("baseline")
    if isinstance(name, str) and name != path.stem:
        lines = [*lines, f"baseline is {schema.show(name)}; it must be the file's name, {path.stem}"]
    if lines:
        raise BudamaError(*(at(path, line) for line in lines))
    values = schema.complete(document, schema.load("baseline"))
    return Baseline(path=path, name=values.pop("baseline"), **values)


def find_scenarios(config_dir: str | Path = "config") -> dict[str, Path]:
    """The scenarios in `config_dir`/scenarios, by name. A file that names none stands under its file's name, so that
    loading it tells what is wrong. Raises BudamaError where two files have one name."""
    return _scenarios_in(Path(config_dir) / "scenarios")


def at(path: Path, line: str) -> str:
    """A line of an error with its file in front."""
    return f"{files.shown(path)}: {line}"


@lru_cache(maxsize=4096)
def _checked(path: Path, name: str, stamp: tuple) -> tuple[dict, list[str]]:
    """The content of a file and the lines that tell its mistakes; read anew when its `stamp` changes."""
    document = schema.open_sections(yamlfile.read(path), schema.load(name))
    mistakes = schema.mistakes(document, name)
    lines = [mistake.line for mistake in mistakes]
    return document, [*lines, *contradictions.find(document, name, mistakes)]


def _stamp(path: Path) -> tuple:
    """Changes with the file's content; a file that is not there is told by reading it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _misnamed(path: Path, document: dict) -> list[str]:
    """Names in a scenario of files that are not there."""
    lines = []
    baseline, report = document.get("baseline"), document.get("report")
    if isinstance(baseline, str) and document.get("recorded") is None:
        known = [file.stem for file in sorted(_baselines(path).glob("*.yaml"))]
        if baseline not in known:
            lines.append(f"baseline is {schema.show(baseline)}, which no file has; {did_you_mean(baseline, known)}")
    others = report.get("compare_with") if isinstance(report, dict) else None
    if isinstance(others, list) and others:
        known = [name for name in _scenarios_in(path.parent) if name != document.get("scenario")]
        for name in others:  # itself is told as a contradiction
            if isinstance(name, str) and name not in known and name != document.get("scenario"):
                near = did_you_mean(name, known)
                lines.append(f"report.compare_with has {schema.show(name)}, which no file has; {near}")
    return lines


def _recorded(path: Path, document: dict) -> tuple[dict | None, list[str]]:
    """The results that a scenario names under `recorded`, and the lines that tell their mistakes."""
    name = document.get("recorded")
    if not isinstance(name, str) or not name:
        return None, []
    file = path.parent / name
    beside = [key for key in ("baseline", "pruning", "finetune", "seeds", "benchmark", "export") if key in document]
    lines = [at(path, f"{key} stands beside recorded, which runs nothing; leave one of them out") for key in beside]
    try:
        value = files.read_json(file)
        lines += [at(file, mistake.line) for mistake in schema.mistakes(value, "recorded")]
    except BudamaError as error:
        return None, [*lines, at(path, f"recorded is {schema.show(name)}; {error}")]
    except RecursionError:
        return None, [*lines, at(file, "is nested too deeply")]
    return (None if lines else schema.complete(value, schema.load("recorded"))), lines


def _scenarios_in(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    unnamed: dict[str, Path] = {}
    for path in sorted(folder.glob("*.yaml")):
        name = _name_in(path, _stamp(path))
        if name is None:
            unnamed[path.stem] = path
        elif name in found:
            raise BudamaError(
                at(path, f"scenario is {name}, as in {files.shown(found[name])}; it must be another name")
            )
        else:
            found[name] = path
    return {**unnamed, **found}


@cache
def _name_in(path: Path, stamp: tuple) -> str | None:
    try:
        name = yamlfile.read(path).get("scenario")
    except BudamaError:
        return None
    return name if isinstance(name, str) else None


def _baselines(scenario: Path) -> Path:
    """The folder of the baselines: config/baselines beside config/scenarios, or beside the scenario file itself."""
    beside = scenario.parent / "baselines"
    return beside if beside.is_dir() else scenario.parent.parent / "baselines"
