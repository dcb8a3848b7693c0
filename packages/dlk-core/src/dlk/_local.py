"""A project's own components: found by reading its files' decorators, imported when asked for."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass, field
from types import ModuleType

from dlk.plugin import Component

__all__ = ["PREFIX", "Scan", "import_local", "loaded_sources", "path_of", "python_files", "scan"]

PREFIX = "dlk_local."
_FILES: dict[str, str] = {}
_SKIPPED = ("logs", "build", "node_modules", "site-packages")


@dataclass(slots=True)
class Scan:
    """What a source defines.

    Attributes:
        components: a row for each config class and its component.
        broken: file and reason for each file that is no valid Python.
    """

    components: list[Component] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)


def scan(source: str) -> Scan:
    """Find the classes that a file, or a folder's files, decorate with `register` and `cregister`.

    Nothing is imported: the files are parsed. Names must be plain texts in the decorator. A name
    that two files define gives two rows; the registry tells.
    """
    found = Scan()
    configs: list[tuple[tuple[str, str], str, str]] = []
    classes: dict[tuple[str, str], str] = {}
    for path in python_files(source):
        try:
            with open(path, "rb") as handle:
                tree = ast.parse(handle.read(), path)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            found.broken[path] = f"{path}:{line}: {getattr(error, 'msg', error)}"
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            for called, key in filter(None, map(_names, node.decorator_list)):
                address = f"{_module_name(path)}:{node.name}"
                if called == "cregister":
                    configs.append((key, address, ast.get_docstring(node) or ""))
                else:
                    classes[key] = address
    for key, address, text in configs:
        own = classes.get(key) or classes.get((key[0], key[1].partition("-")[0]), "")
        help_line = text.partition("\n")[0]
        found.components.append(Component(*key, config=address, cls=own, help=help_line))
    return found


def path_of(address: str) -> str:
    """Return the file of a ``module:Class`` address that `scan` gave."""
    return _FILES.get(address.partition(":")[0], address)


def import_local(name: str) -> ModuleType:
    """Import a module that `scan` named.

    A file is imported under the name by which the project's other files import it, so that both
    get the same classes: ``package.file`` in a package, ``file`` in a plain folder. Its folder goes
    to the end of ``sys.path``, where it hides nothing; a file whose name is taken by an installed
    module is imported under `name` alone.
    """
    if name in sys.modules:
        return sys.modules[name]
    path = _FILES[name]
    top, parts = os.path.split(path)
    dotted = [] if parts == "__init__.py" else [parts.removesuffix(".py")]
    while os.path.exists(os.path.join(top, "__init__.py")):
        top, folder = os.path.split(top)
        dotted.insert(0, folder)
    if top not in sys.path:
        sys.path.append(top)
        importlib.invalidate_caches()
    if _is_free(dotted[0], os.path.join(top, dotted[0])):
        module = importlib.import_module(".".join(dotted))
    elif len(dotted) == 1:
        module = _import_aside(name, path)
    else:
        message = f"the package {dotted[0]} of {path} has the name of an installed one; rename it"
        raise ImportError(message)
    sys.modules[name] = module
    return module


def loaded_sources() -> dict[str, str]:
    """Return the SHA-256 of each file of a project that is loaded, by the name of its module.

    Files with components, and what lies in or below their folders and was imported beside them.
    """
    from dlk.io import sha256_of

    folders = {os.path.dirname(os.path.realpath(_FILES[n])) for n in _FILES if n in sys.modules}
    found: dict[str, str] = {}
    if not folders:
        return found
    real = functools.cache(os.path.realpath)  # thousands of modules lie in hundreds of folders
    for module in list(sys.modules.values()):
        top, name = os.path.split(getattr(module, "__file__", None) or "")
        file = os.path.join(real(top), name) if name else ""
        file = os.path.realpath(file) if os.path.islink(file) else file
        if any(_is_below(file, f) and not _is_installed(file, f) for f in folders):
            with contextlib.suppress(OSError):  # gone since
                found[module.__name__] = sha256_of(file)
    return dict(sorted(found.items()))


def _is_installed(file: str, folder: str) -> bool:
    """Return whether a file is one of an environment that lies in the folder."""
    prefix = os.path.realpath(sys.prefix)
    return _is_below(prefix, folder) and _is_below(file, prefix)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)


def _is_free(name: str, location: str) -> bool:
    """Return whether importing a top-level name gives the file or folder at `location`."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module without a spec, such as __main__
        return False
    if spec is None or spec.origin is None:
        return False
    given = os.path.realpath(spec.origin)
    wanted = os.path.realpath(location)
    return given in (f"{wanted}.py", os.path.join(wanted, "__init__.py"))


def _import_aside(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a file that ends in .py has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def python_files(source: str) -> list[str]:
    """Return a source's Python files, absolute; logs, builds and environments are left out."""
    if os.path.isfile(source):
        return [os.path.abspath(source)]
    found: list[str] = []
    for root, folders, files in os.walk(os.path.abspath(source)):
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith((".", "__"))
            and f not in _SKIPPED
            and not os.path.exists(os.path.join(root, f, "pyvenv.cfg"))
        )
        found += [os.path.join(root, f) for f in sorted(files) if f.endswith(".py")]
    return found


def _module_name(path: str) -> str:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    stem = os.path.basename(path).removesuffix(".py").replace("-", "_").replace(".", "_")
    name = f"{PREFIX}{stem}_{digest}"
    _FILES[name] = path
    return name


def _names(decorator: ast.expr) -> tuple[str, tuple[str, str]] | None:
    """Return decorator and names of ``@register("type", "name")``, None for any other decorator."""
    if not isinstance(decorator, ast.Call) or decorator.keywords:
        return None
    function = decorator.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    values = [a.value for a in decorator.args if isinstance(a, ast.Constant)]
    texts = [value for value in values if isinstance(value, str)]
    if called not in ("register", "cregister") or len(texts) != len(decorator.args):
        return None
    if not 1 <= len(texts) <= 2:
        return None
    return called, (texts[0], texts[1] if len(texts) > 1 else "")
