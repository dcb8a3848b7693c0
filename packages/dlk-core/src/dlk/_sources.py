"""Where a ``module:Class`` address leads, found by reading files: nothing is imported for it."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import os
import sys
from dataclasses import dataclass

__all__ = ["Place", "file_of", "place_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file.

    Attributes:
        file: the file; empty where it was not found.
        line: the line, from 1; 0 where it was not found.
        problem: why not.
    """

    file: str = ""
    line: int = 0
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        return f"{self.file}:{self.line}" if self.line else self.file


def file_of(module: str) -> str:
    """Return the file of a module, "" where there is none (or none that has a file).

    Unlike `importlib.util.find_spec`, packages above it are not imported.
    """
    path: list[str] | None = None
    spec: importlib.machinery.ModuleSpec | None = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:count]), path)
        if spec is None:
            return ""
        path = list(spec.submodule_search_locations or ())
        if count < len(parts) and not path:
            return ""
    return spec.origin or "" if spec is not None and spec.has_location else ""


def place_of(address: str) -> Place:
    """Return the line at which the class of ``module:Class`` is defined."""
    module, _, name = address.partition(":")
    from dlk._local import PREFIX, path_of

    if module.startswith(PREFIX):
        return _in_file(path_of(address), name)
    for _ in range(8):  # a name may be imported from a module that imports it …
        file = file_of(module)
        if not file:
            return Place(problem=f"there is no module {module}")
        if not file.endswith(".py"):
            return Place(file)
        found = _in_file(file, name)
        if found.line or not found.problem:
            return found
        further = _imported_from(file, module, name)
        if further is None:
            return found
        module, name = further
    return Place(problem=f"{address} is imported in a circle")


def _spec(name: str, path: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec: importlib.machinery.ModuleSpec | None = find(name, path) if find else None
        except Exception:  # noqa: BLE001, S112  # a finder of some package on this machine
            continue
        if spec is not None:
            return spec
    return None


def _in_file(file: str, name: str) -> Place:
    try:
        tree = _tree(file)
    except (OSError, SyntaxError, ValueError) as error:
        return Place(file, problem=f"{file} cannot be read: {error}")
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return Place(file, node.lineno)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return Place(file, node.lineno)
    return Place(file, problem=f"{file} has no {name}")


def _imported_from(file: str, module: str, name: str) -> tuple[str, str] | None:
    try:
        tree = _tree(file)
    except (OSError, SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                is_package = os.path.basename(file) == "__init__.py"
                above = module if is_package else module.rpartition(".")[0]
                for _ in range(node.level - 1):
                    above = above.rpartition(".")[0]
                parts = [above if node.level else "", node.module or ""]
                return ".".join(filter(None, parts)), alias.name
    return None


def _tree(file: str) -> ast.Module:
    with open(file, "rb") as handle:
        return ast.parse(handle.read(), file)
