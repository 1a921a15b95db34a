"""What a stage's code is: its script and every project module that it imports, without comments and docstrings.

Snakemake does not see imported modules. A digest of this code in a rule's params makes an edit rerun the stages that
use it, and no others; a comment, a docstring, new line breaks or a file's time rerun nothing.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
SCRIPTS = PACKAGE.parent
REPORT = SCRIPTS.parent / "report"

# They decide no result: settings reach a stage checked, in its spec; the others say where it runs, and talk to people.
OUTSIDE = ("budama.cli", "budama.config", "budama.errors", "budama.progress", "budama.provenance")
# Files beside the code that a stage reads: `workflow/report` without the captions of `snakemake --report`.
TEMPLATES = {"report": (REPORT,), "index": (REPORT,)}


@cache
def digest(stage: str) -> str:
    """Hexadecimal digest (16 characters) of the code of a stage, and of its templates."""
    found = hashlib.sha256()
    for path in sorted(modules(stage)):
        found.update(f"{path.relative_to(SCRIPTS).as_posix()} {code(path)}\n".encode())
    for path in _templates(stage):
        found.update(f"{path.relative_to(SCRIPTS.parent).as_posix()} ".encode() + path.read_bytes())
    return found.hexdigest()[:16]


@cache
def modules(stage: str, leave_out: tuple[str, ...] = OUTSIDE) -> frozenset[Path]:
    """The files of a stage: its script, and the project's modules that it imports, directly or not, at any place."""
    reached, ahead = set(), [SCRIPTS / f"{stage}.py"]
    while ahead:
        path = ahead.pop()
        if path not in reached:
            reached.add(path)
            ahead += [file for name in _imports(path) if name not in leave_out for file in _files(name)]
    return frozenset(reached)


@cache
def packages(stage: str, leave_out: tuple[str, ...] = OUTSIDE) -> frozenset[str]:
    """Top-level names of the other people's packages that the files of a stage import."""
    names = {name.partition(".")[0] for path in modules(stage, leave_out) for name in _imports(path)}
    return frozenset(names - set(sys.stdlib_module_names) - {"budama"})


@cache
def code(path: Path) -> str:
    """The digest of a file's code: comments, docstrings and layout do not count."""
    tree = _parse(path)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [statement for statement in body if not _is_text(statement)] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Every module that a file may import, inside functions too: `a.b` for `import a.b` and for `from a import b`."""
    return tuple(name for node in ast.walk(_parse(path)) for name in _imported(node, path))


def _imported(node: ast.AST, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = ".".join([*_parent(path, node.level), *([node.module] if node.module else [])])
        yield module
        yield from (f"{module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "find_spec")) and node.args:
        name = node.args[0]  # a computed name is the user's own module, or none of ours
        if isinstance(name, ast.Constant):
            yield str(name.value)


def _parent(path: Path, level: int) -> list[str]:
    """The package that `level` dots of a relative import stand for."""
    return list(path.relative_to(SCRIPTS).parent.parts[: len(path.relative_to(SCRIPTS).parts) - level]) if level else []


def _files(name: str) -> Iterator[Path]:
    """The project's files that importing `name` runs: its packages, and the module."""
    parts = name.split(".")
    if parts[0] == PACKAGE.name:
        for length in range(1, len(parts) + 1):
            place = SCRIPTS.joinpath(*parts[:length])
            yield from (file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())


def _templates(stage: str) -> list[Path]:
    files = [path for folder in TEMPLATES.get(stage, ()) for path in sorted(folder.rglob("*"))]
    return [path for path in files if path.is_file() and path.suffix != ".rst" and not path.name.startswith(".")]


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
