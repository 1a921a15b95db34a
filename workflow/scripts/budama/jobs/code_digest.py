"""What a stage's code is: its script and every project module that it imports, without comments and docstrings.

Snakemake does not see imported modules. A digest of this code in a rule's params makes an edit rerun the stages that
use it, and no others; a comment, a docstring, new line breaks or a file's time rerun nothing.
"""

import ast
import copy
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from budama import files
from budama.errors import BudamaError

PACKAGE = Path(__file__).parents[1]
SCRIPTS = PACKAGE.parent
REMEMBERED = Path(".cache/sources.json")  # below the working directory, wherever the workflow itself lies
MOST_REMEMBERED = 1000

# They decide no result: settings reach a stage checked, in its spec; the others say where it runs, and talk to people.
OUTSIDE = (
    "budama.errors",
    "budama.progress",
    "budama.jobs.command_line",
    "budama.jobs.provenance",
    "budama.settings.stages",
)
# Modules that a stage needs for one value of a setting alone; with another, they decide nothing.
FOR_ONE_VALUE = {
    "budama.pruning.by_time": ("match", "latency"),
    "budama.pruning.merging": ("method", "fold"),
}


def unneeded(settings: Mapping) -> tuple[str, ...]:
    """The modules that a stage imports and, with these settings, does not need."""
    return tuple(name for name, (key, value) in FOR_ONE_VALUE.items() if settings.get(key, value) != value)


@cache
def digest(stage: str, leave_out: tuple[str, ...] = ()) -> str:
    """Hexadecimal digest (16 characters) of the code of a stage, and of the files beside it that it reads.

    `leave_out`: modules that it imports for other settings alone.
    """
    found = hashlib.sha256()
    for path in sorted(modules(stage, (*OUTSIDE, *leave_out))):
        found.update(f"{path.relative_to(SCRIPTS).as_posix()} {_facts(path)['code']}\n".encode())
        for beside in _read(path):
            found.update(f"{beside.relative_to(SCRIPTS).as_posix()} ".encode() + beside.read_bytes())
    return found.hexdigest()[:16]


@cache
def modules(stage: str, leave_out: tuple[str, ...] = OUTSIDE) -> frozenset[Path]:
    """The files of a stage: its script, and the project's modules that it imports, directly or not, at any place."""
    return frozenset(path for path, _ in _reached(stage, leave_out))


@cache
def packages(stage: str, leave_out: tuple[str, ...] = OUTSIDE) -> frozenset[str]:
    """Top-level names of the other people's packages that the files of a stage import."""
    names = {name.partition(".")[0] for reached in _reached(stage, leave_out) for name, _ in _imports(*reached)}
    return frozenset(names - set(sys.stdlib_module_names) - {PACKAGE.name})


def code(path: Path) -> str:
    """Hexadecimal digest of a Python file's code: comments, docstrings and layout do not count."""
    return _code(ast.parse(path.read_bytes(), filename=str(path)))


def of_statements(parts: Mapping[str, list[ast.stmt]]) -> str:
    """Hexadecimal digest of statements by file: comments, docstrings and layout do not count."""
    found = hashlib.sha256()
    for name, body in sorted(parts.items()):
        found.update(f"{name} {_code(ast.Module(copy.deepcopy(body), []))}\n".encode())
    return found.hexdigest()


@cache
def _reached(stage: str, leave_out: tuple[str, ...]) -> frozenset[tuple[Path, bool]]:
    """The files of a stage, and whether all of each may run (True), or of a package what importing it runs."""
    reached, ahead = set(), [(SCRIPTS / f"{stage}.py", True)]
    while ahead:
        file = ahead.pop()
        if file not in reached:
            reached.add(file)
            ahead += [found for name, whole in _imports(*file) for found in _files(name, whole, leave_out)]
    _remember()
    return frozenset(reached)


def _imports(path: Path, whole: bool) -> Iterator[tuple[str, bool]]:
    """The modules that a file may import, and whether all of each may run; where not `whole`, none inside functions.

    A package that does imports in its `__getattr__` does them for names that are not there without.
    """
    for module, names, late in _facts(path)["imports"]:
        if whole or not late:
            package = SCRIPTS.joinpath(*module.split("."), "__init__.py")
            present = names is not None and package.is_file() and {*_facts(package)["names"], *_beside(package)}
            yield module, not (present and present.issuperset(names))
            yield from ((f"{module}.{name}", True) for name in names or ())


def _files(name: str, whole: bool, leave_out: tuple[str, ...]) -> Iterator[tuple[Path, bool]]:
    """The project's files that importing `name` runs, its packages and the module; of `a.b.*`, all modules in a.b."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name or any(name == left or name.startswith(f"{left}.") for left in leave_out):
        return
    if parts[-1] == "*":
        yield from ((file, True) for file in SCRIPTS.joinpath(*parts[:-1]).glob("*.py"))
    for length in range(1, len(parts) + 1):
        place = SCRIPTS.joinpath(*parts[:length])
        if (place / "__init__.py").is_file():
            yield place / "__init__.py", whole and length == len(parts)
        elif place.with_suffix(".py").is_file():
            yield place.with_suffix(".py"), True


def _beside(package: Path) -> set[str]:
    return {file.stem for file in package.parent.iterdir()}


def _read(module: Path) -> list[Path]:
    """The files beside a module that it reads: `Path(__file__).with_name("NAME")` names one, or a folder of them."""
    named = [module.with_name(name) for name in _facts(module)["beside"]]
    found = [path for place in named for path in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


# --- a file's facts, remembered by its content, since parsing all files takes a second of every plan ---


@cache
def _facts(path: Path) -> dict:
    """`code`: digest; `names`: bound when it is imported; `imports`: [module, names or null, inside a function];
    `beside`: names of files and folders beside it that it reads."""
    content = path.read_bytes()
    key = hashlib.sha256(f"{path.relative_to(SCRIPTS)} {_reader()} ".encode() + content).hexdigest()
    if key not in _known():
        tree = ast.parse(content, filename=str(path))
        imports = list(_found(tree, path.relative_to(SCRIPTS).parts, late=False))
        _known()[key] = {"imports": imports, "names": sorted(_bound(tree)), "beside": list(_beside_named(tree))}
        _known()[key]["code"] = _code(tree)
        _new.append(key)
    return _known()[key]


@cache
def _known() -> dict:
    with suppress(BudamaError):
        return files.read_json(REMEMBERED)
    return {}


_new: list[str] = []


def _remember() -> None:
    if _new:
        _new.clear()
        latest = dict(list(_known().items())[-MOST_REMEMBERED:])
        with suppress(BudamaError, OSError):  # a folder that cannot be written costs time, not the run
            files.write_text(REMEMBERED, json.dumps(latest))


@cache
def _reader() -> str:
    """What else decides the facts: this file, and Python's own grammar."""
    return f"{sys.version_info[:2]} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"


def _found(node: ast.AST, parts: tuple[str, ...], late: bool) -> Iterator[list]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return  # what is imported for type checkers alone never runs
    if isinstance(node, ast.Import):
        yield from ([alias.name, None, late] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        parent = parts[: len(parts) - node.level] if node.level else ()
        yield [".".join([*parent, *filter(None, [node.module])]), [alias.name for alias in node.names], late]
    elif isinstance(node, ast.Call) and node.args and _called(node) in ("import_module", "find_spec"):
        yield from ([name, None, late] for name in _computed(node.args[0]))
    late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(node):
        yield from _found(child, parts, late)


def _beside_named(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Path(__file__).with_name":
            yield ast.literal_eval(node.args[0])


def _called(node: ast.Call) -> str | None:
    return getattr(node.func, "attr", getattr(node.func, "id", None))


def _computed(name: ast.expr) -> Iterator[str]:
    """The argument of import_module: a name, or `package.*` for an f-string that begins with a package.

    A name that is computed as a whole is a user's own module.
    """
    if isinstance(name, ast.Constant):
        yield str(name.value)
    elif isinstance(name, ast.JoinedStr) and isinstance(name.values[0], ast.Constant):
        yield f"{str(name.values[0].value).rpartition('.')[0]}.*"


def _bound(tree: ast.Module) -> Iterator[str]:
    """The names that running a module's top level binds."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _code(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [statement for statement in body if not _is_text(statement)] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)
