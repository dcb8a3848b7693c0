"""What identifies the code of a step: its sources, the versions of what they import, its values."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import re
import sys
import time
from collections.abc import Iterator

from dlk._installed import all_brought
from dlk.data.processor._values import told

__all__ = ["code_of"]

# parts that say what a step is called and where it stands, not what it makes of rows
_PLUMBING = (
    "dlk.cli", "dlk.components", "dlk.config", "dlk.context", "dlk.errors", "dlk.io", "dlk.plugin",
    "dlk.registry", "dlk.testing", "dlk.nlp.components", "dlk.data.inputs", "dlk.data.processor",
    "dlk.data.store",
)  # fmt: skip
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)|import[ \t]+([^\n#;]+))",
    re.MULTILINE,
)
_WORD = re.compile(rb"[\w.]+(?:[ \t]+as[ \t]+\w+)?")


def _started() -> float:
    """Return when this process began, in seconds since the epoch."""
    try:
        with open("/proc/self/stat", encoding="utf-8") as handle:
            ticks = int(handle.read().rpartition(")")[2].split()[19])
        with open("/proc/stat", encoding="utf-8") as handle:
            booted = next(int(line.split()[1]) for line in handle if line.startswith("btime"))
        return booted + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, StopIteration):  # not Linux
        return _IMPORTED


_IMPORTED = time.time()


@functools.cache
def code_of(cls: type) -> str | None:
    """Return a digest of the code that a class runs.

    It covers the modules of the class and of its bases, those of the same project that they import
    and those that no distribution brings, the versions of other distributions that are imported
    there, and Python's; and the values of a project's own class that its source does not tell: what
    its functions hold from around them, the module's constants that they name, such as one read
    from the environment, its attributes.

    Returns:
        None where a class has no source file, such as one typed into a session, where it holds
        values of which nobody can tell what they are, or where a file is younger than this process:
        what runs may not be what is written there.
    """
    starts = {base.__module__ for base in cls.__mro__ if base.__module__ not in {"builtins", "abc"}}
    files: dict[str, bytes] = {}
    foreign: set[str] = set()
    for module in sorted(starts - {"typing", "collections.abc"}):
        file = getattr(sys.modules.get(module), "__file__", None)
        if not file or not file.endswith(".py") or not os.path.isfile(file):
            return None
        _gather(module, file, files, foreign)
    values = told(cls, files)
    if values is None or any(_changed(file) > _started() + 1 for file in files):
        return None
    digest = hashlib.sha256(f"{cls.__qualname__} python {sys.version_info[:2]}".encode())
    for file_digest in sorted(files.values()):
        digest.update(file_digest)
    for name in sorted(foreign):
        digest.update(f"{name} {_version(name)}\n".encode())
    digest.update(values)
    return digest.hexdigest()


def _changed(file: str) -> float:
    """Return when a file last changed: a copy that keeps the time of its source is newer, too."""
    about = os.stat(file)
    return max(about.st_mtime, about.st_ctime)


def _gather(module: str, file: str, files: dict[str, bytes], foreign: set[str]) -> None:
    """Add the digests of a file and of those of the same project that it imports."""
    waiting = [(module, file)]
    while waiting:
        module, file = waiting.pop()
        if file in files:
            continue
        with open(file, "rb") as handle:
            text = handle.read()
        files[file] = hashlib.sha256(text).digest()
        package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
        for written in _imported(text):
            name = _absolute(written, package)
            if any(name == part or name.startswith(f"{part}.") for part in _PLUMBING):
                continue
            found = _file_of(name, module, file)
            if found:
                waiting.append((name, found))
            elif (top := name.partition(".")[0]) not in {"dlk", *sys.stdlib_module_names}:
                if own := _own_file(name):
                    waiting.append((name, own))
                elif not _file_of(top, module, file) and not _own_file(top):
                    foreign.add(top)


def _absolute(name: str, package: str) -> str:
    """Return the full name of a module that is written as ``.x`` in a package."""
    bare = name.lstrip(".")
    if bare == name:
        return name
    parts = package.split(".")
    above = parts[: len(parts) - (len(name) - len(bare) - 1)]
    return ".".join([*above, bare]).strip(".")


def _imported(text: bytes) -> Iterator[str]:
    """Yield the modules that a source may import: also names which might be modules."""
    for source, names, plain in _IMPORT.findall(text):
        if source:
            top = source.decode()
            if top.strip("."):
                yield top
            joint = "" if top.endswith(".") else "."
            for word in _WORD.findall(names):
                yield f"{top}{joint}{word.split()[0].decode()}"
        else:
            for word in _WORD.findall(plain):
                yield word.split()[0].decode()


def _file_of(name: str, module: str, file: str) -> str:
    """Return the file of a module of the same project; empty for any other."""
    parts = name.split(".")
    roots: list[str] = []
    if parts[0] == "dlk":
        roots = list(getattr(sys.modules.get("dlk"), "__path__", ()))
        parts = parts[1:]
    elif not module.startswith("dlk."):
        top = os.path.dirname(file)
        while os.path.exists(os.path.join(top, "__init__.py")):
            top = os.path.dirname(top)
        roots = [top] if "site-packages" not in top or parts[0] == module.partition(".")[0] else []
    for root in roots:
        path = os.path.join(root, *parts)
        for found in (f"{path}.py", os.path.join(path, "__init__.py")):
            if os.path.isfile(found):
                return found
    return ""


def _own_file(name: str) -> str:
    """Return the file of a module that was imported from no installed distribution, else nothing.

    Such as one on ``PYTHONPATH``, or of a distribution that is installed as editable: its version
    stays while its files change.
    """
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    is_installed = {"site-packages", "dist-packages"}.intersection(file.split(os.sep))
    return file if file.endswith(".py") and not is_installed else ""


@functools.cache
def _version(name: str) -> str:
    """Return the version of the distribution that brings a module, whatever it is called."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        said = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(said, str):  # faster than looking through all distributions
            return said
        return " ".join(
            f"{each} {importlib.metadata.version(each)}"
            for each in sorted(set(all_brought().get(name, ())))
        )
