"""A project's own components: found by reading its files' decorators, imported when first asked for."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
from types import ModuleType

from dlk.errors import PluginError
from dlk.plugin import Component

__all__ = ["import_local", "scan"]

_FILES: dict[str, str] = {}


def scan(source: str) -> list[Component]:
    """Return a row for each class that a file, or the files of a folder, decorate with `register` or `cregister`.

    Nothing is imported: the files are parsed. Names must be plain texts in the decorator.

    Raises:
        PluginError: a file is no valid Python, or one name is defined twice.
    """
    configs: dict[tuple[str, str], tuple[str, str]] = {}
    classes: dict[tuple[str, str], str] = {}
    for path in _python_files(source):
        module = _module_name(source, path)
        try:
            with open(path, encoding="utf-8") as handle:
                tree = ast.parse(handle.read(), path)
        except (SyntaxError, UnicodeDecodeError) as error:
            raise PluginError(f"{path}:{getattr(error, 'lineno', 1)}: not valid Python: {error}") from None
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            for decorator in node.decorator_list:
                found = _names(decorator)
                if found is None:
                    continue
                kind, key = found
                target: dict[tuple[str, str], object] = configs if kind == "cregister" else classes  # type: ignore[assignment]
                if key in target:
                    raise PluginError(f'{path}:{node.lineno}: {key[0]} "{key[1]}" is defined twice in this project')
                address = f"{module}:{node.name}"
                target[key] = (address, ast.get_docstring(node) or "") if kind == "cregister" else address
    rows = []
    for key, (config, doc) in configs.items():
        own = classes.get(key) or classes.get((key[0], key[1].partition("-")[0]), "")
        rows.append(Component(*key, config=config, cls=own, help=doc.split("\n")[0]))
    return rows


def import_local(name: str) -> ModuleType:
    """Import a module that `scan` named."""
    if name in sys.modules:
        return sys.modules[name]
    path = _FILES[name]
    folder = os.path.dirname(path)
    if os.path.exists(os.path.join(folder, "__init__.py")):
        top, parts = folder, [] if os.path.basename(path) == "__init__.py" else [os.path.basename(path)[:-3]]
        while os.path.exists(os.path.join(top, "__init__.py")):
            parts.insert(0, os.path.basename(top))
            top = os.path.dirname(top)
        if top not in sys.path:
            sys.path.insert(0, top)
        module = importlib.import_module(".".join(parts))
        if os.path.realpath(str(module.__file__)) != os.path.realpath(path):
            raise ImportError(f"{'.'.join(parts)} is another module of that name: {module.__file__}", name=parts[0])
    else:
        if folder not in sys.path:
            sys.path.insert(0, folder)
        stem = os.path.basename(path)[:-3]
        known = sys.modules.get(stem)
        if known is None and importlib.util.find_spec(stem) is not None:
            known = importlib.import_module(stem)
        # Under its plain name, so that the project's files can import each other; aside where the name is taken.
        if known is not None and os.path.realpath(str(getattr(known, "__file__", ""))) == os.path.realpath(path):
            module = known
        else:
            module = _import_aside(name, path)
    sys.modules[name] = module
    return module


def _import_aside(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _python_files(source: str) -> list[str]:
    if os.path.isfile(source):
        return [source]
    found = []
    for root, folders, files in os.walk(source):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")) and f not in ("logs", "build", "node_modules"))
        found += [os.path.join(root, f) for f in sorted(files) if f.endswith(".py")]
    return found


def _module_name(source: str, path: str) -> str:
    digest = hashlib.sha256(os.path.abspath(source).encode()).hexdigest()[:8]
    base = source if os.path.isdir(source) else os.path.dirname(source)
    dotted = os.path.relpath(path, base)[:-3].replace(os.sep, "_").replace("-", "_")
    name = f"dlk_local.p{digest}.{dotted}"
    _FILES[name] = os.path.abspath(path)
    return name


def _names(decorator: ast.expr) -> tuple[str, tuple[str, str]] | None:
    if not isinstance(decorator, ast.Call):
        return None
    function = decorator.func
    called = function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    if called not in ("register", "cregister"):
        return None
    values = [a.value for a in decorator.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if len(values) != len(decorator.args) or not 1 <= len(values) <= 2:
        return None
    return called, (values[0], values[1] if len(values) > 1 else "")
