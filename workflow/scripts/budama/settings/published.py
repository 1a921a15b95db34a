"""Files of published tables: those in the configuration, checked before anything is computed."""

from pathlib import Path

from budama import files
from budama.errors import BudamaError
from budama.settings import schema
from budama.settings.scenarios import at


def find(config_dir: str | Path = "config") -> list[Path]:
    """config/scenarios/recorded/published*.json. Raises BudamaError with a line for every mistake in them."""
    found = sorted((Path(config_dir) / "scenarios/recorded").glob("published*.json"))
    if lines := [line for path in found for line in _mistakes(path)]:
        raise BudamaError(*lines)
    return found


def _mistakes(path: Path) -> list[str]:
    try:
        return [at(path, mistake.line) for mistake in schema.mistakes(files.read_json(path), "published")]
    except RecursionError:
        return [at(path, "is nested too deeply")]
