"""The source of a user's own model: which definitions of its module it is made of, and which files beside it."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path


def module_file(name: str) -> Path | None:
    """The file of a module, found as `models.build` finds it: the working directory comes last."""
    sys.path.append(os.getcwd())
    try:
        with suppress(ImportError, ValueError, AttributeError):
            found = importlib.util.find_spec(name)
            return Path(found.origin) if found and found.origin and found.origin.endswith(".py") else None
    finally:
        sys.path.remove(os.getcwd())
    return None


def parts(name: str) -> dict[str, list[ast.stmt]]:
    """What the model "package.module:function" is made of: by file, relative to where Python finds the module, those
    statements that the function reaches, and all that is neither a function nor a class. Files that the module imports
    from its own tree count whole. Empty where the module has no source."""
    module, _, function = name.partition(":")
    file = module_file(module)
    if file is None:
        return {}
    root = file.parents[module.count(".") + (file.name == "__init__.py")]
    found: dict[str, list[ast.stmt]] = {}
    _add(found, root, file, [function])
    return found


def _add(found: dict[str, list[ast.stmt]], root: Path, file: Path, names: Sequence[str] | None) -> None:
    shown = file.relative_to(root).as_posix()
    if shown in found:
        return
    tree = ast.parse(file.read_bytes(), filename=str(file))
    found[shown] = tree.body if names is None else _reached(tree.body, names)
    for imported in _imported(found[shown], file, root):
        _add(found, root, imported, None)


def _reached(body: Sequence[ast.stmt], names: Sequence[str]) -> list[ast.stmt]:
    """The statements without the functions and classes that nothing reaches from these names or from the others."""
    defined = {one.name: one for one in body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    others = [one for one in body if one not in defined.values()]
    kept: set[str] = set()
    ahead = [name for name in (*names, *(name for one in others for name in _named(one))) if name in defined]
    while ahead:
        name = ahead.pop()
        if name not in kept:
            kept.add(name)
            ahead += [other for other in _named(defined[name]) if other in defined]
    return [one for one in body if one in others or getattr(one, "name", None) in kept]


def _named(statement: ast.stmt) -> set[str]:
    """Every name that a statement may look up: variables, and texts that are names (getattr, registries)."""
    nodes = list(ast.walk(statement))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def _imported(body: Sequence[ast.stmt], file: Path, root: Path) -> Iterator[Path]:
    """The files of the same tree that these statements import."""
    package = file.relative_to(root).parent.parts
    for node in (node for statement in body for node in ast.walk(statement)):
        modules: list[tuple[str, ...]] = []
        if isinstance(node, ast.Import):
            modules = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = (*above, *(node.module.split(".") if node.module else ()))
            modules = [base, *((*base, alias.name) for alias in node.names)]
        for parts_ in modules:
            for length in range(1, len(parts_) + 1):
                place = root.joinpath(*parts_[:length])
                for candidate in (place.with_suffix(".py"), place / "__init__.py"):
                    if candidate.is_file() and candidate != file:
                        yield candidate
