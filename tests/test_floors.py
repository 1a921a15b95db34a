"""The plan of the library: which room stands on which. Imports run downward, in no circle; some rooms need no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "workflow/scripts/budama"
GROUND = ("errors", "files", "machine", "methods", "progress", "slow_imports")
FLOORS = (
    GROUND,
    ("data", "significance"),
    ("settings", "networks", "reporting"),
    ("jobs", "results"),
    ("measuring",),
    ("pruning", "training"),
)
WITHOUT_TORCH = ("significance", "settings", "reporting", "results", "jobs")
MODULES = sorted(path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py")


def name(path):
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


def imported(path):
    """The project's modules that a module imports, at its head or in a function; not those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_checkers = [
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    ]
    for node in ast.walk(tree):
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "budama"
        if ours and node not in for_checkers:
            below = node.module.removeprefix("budama").lstrip(".")
            for alias in node.names:
                whole = f"{below}.{alias.name}".lstrip(".")
                yield whole if is_module(whole) else below


def is_module(dotted):
    place = LIBRARY.joinpath(*dotted.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def floor(module):
    room = module.partition(".")[0]
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_run_downward(path):
    room = name(path).partition(".")[0]
    for other in imported(path):
        same_room = other.partition(".")[0] == room
        on_the_ground = {room, other} <= set(GROUND)
        assert same_room or on_the_ground or floor(other) < floor(name(path)), f"{name(path)} imports {other}"


def test_no_module_imports_itself_by_way_of_others():
    graph = {name(path): set(imported(path)) for path in MODULES}
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, " → ".join([*open_[open_.index(module) :], module])
        if module not in done:
            open_.append(module)
            for other in graph.get(module, ()):
                visit(other)
            done.add(open_.pop())

    for module in graph:
        visit(module)


def test_every_module_stands_in_a_room_of_the_plan():
    assert {name(path).partition(".")[0] for path in MODULES} == {room for rooms in FLOORS for room in rooms}


def test_packages_say_nothing_of_their_own():
    """Callers name the module: `data.manifest`, `training.loop`."""
    spoken = [path.parent.name for path in LIBRARY.rglob("__init__.py") if path.read_text().strip()]
    assert sorted(spoken) == ["budama", "criteria"]


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_what_only_reads_and_writes_needs_no_torch(room):
    names = [f"budama.{name(path)}" for path in MODULES if name(path).startswith(f"{room}.")]
    program = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=LIBRARY.parent)
