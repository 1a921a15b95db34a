"""What must hold of a run's files at any moment, and what its results are but for their times."""

import csv
import json
import re
from pathlib import Path

import pyarrow.parquet
from safetensors import safe_open

from budama import files
from budama.networks import checkpoint

TOPS = ("results", "reports")

# --- what is visible is whole ---


def check_whole(folder: Path) -> None:
    """Nothing under its final name is half written."""
    for top in TOPS:
        for path in sorted((folder / top).rglob("*")):
            try:
                _check(path)
            except (FileNotFoundError, files.BudamaError):
                if path.exists():  # else it was taken away meanwhile by a stage that lives on
                    raise


def _check(path: Path) -> None:
    hidden = any(part.startswith(".") for part in path.parts[-4:])
    if hidden:
        return
    if path.name in ("model", "pruned", "export"):
        assert (path / "structure.json").exists() or path.name == "export", f"{path} has no structure.json"
        if path.name == "export":
            assert (path / "export.json").exists(), f"{path} has no export.json"
        elif "unavailable" not in checkpoint.structure(path):
            checkpoint.load(path)  # looks at the digest
    elif path.suffix == ".json":
        files.read_json(path)
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            assert [file.get_tensor(name).shape for name in file.keys()]  # noqa: SIM118
    elif path.suffix == ".csv":
        text = path.read_text()
        assert text.endswith("\n")
        assert all(None not in row.values() for row in csv.DictReader(text.splitlines()))
    elif path.suffix == ".parquet":
        pyarrow.parquet.read_table(path)
    elif path.suffix == ".pdf":
        assert path.read_bytes().rstrip().endswith(b"%%EOF"), path
    elif path.suffix in (".html", ".svg"):
        assert path.read_text().rstrip().endswith(("</html>", "</svg>")), path
    elif path.suffix in (".md", ".onnx", ".pt2"):
        assert path.stat().st_size > 0, path


# --- what a run's results are, but for times ---

TIMES = re.compile(
    r"seconds|date|environment|latency|throughput|timing|clocks|controls|runs|energy|peak_memory|per_second|_ms$|versions"
    r"|^threads$|fewer_threads"  # as many as other work leaves cores for
)


def results(folder: Path) -> dict[str, object]:
    """Every file of a run's results by its path: what it holds, without times, memory and dates."""
    found = {}
    for top in TOPS:
        for path in sorted((folder / top).rglob("*")):
            if path.is_file() and path.name != ".snakemake_timestamp":
                found[path.relative_to(folder).as_posix()] = _content(path)
    return found


def _content(path: Path):
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".csv":
        return [_timeless(row) for row in csv.DictReader(path.read_text().splitlines())]
    if path.suffix == ".parquet":
        return [_timeless(row) for row in pyarrow.parquet.read_table(path).to_pylist()]
    if path.suffix in (".safetensors", ".onnx"):
        return files.sha256(path)
    return "is there"  # reports and figures show latencies


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if not TIMES.search(key)}
    if isinstance(value, list):
        warned = [one for one in value if not (isinstance(one, dict) and TIMES.search(str(one.get("code", ""))))]
        return [_timeless(one) for one in warned]
    return value


def differing(one: Path, other: Path) -> list[str]:
    first, second = results(one), results(other)
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
